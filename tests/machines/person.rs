//! A person at a terminal: reads what is on it, types, and is patient.

use crate::site::wait;
use nix::pty::{OpenptyResult, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Somebody who runs `muster` in a terminal.
pub struct Person {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    read: usize,
}

impl Person {
    /// Sits down, and starts this command.
    pub fn starts(mut command: Command) -> Person {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal");
        let same = || slave.try_clone().expect("another handle");
        let child = command
            .stdin(same())
            .stdout(same())
            .stderr(same())
            .spawn()
            .expect("muster starts");
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("another handle");
        let screen = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                shared.lock().expect("not poisoned").push_str(&text);
            }
        });
        Person {
            child,
            keyboard,
            screen,
            read: 0,
        }
    }

    /// Waits until `text` appears after what was read so far.
    pub fn reads(&mut self, text: &str, limit: Duration) {
        let (screen, from) = (Arc::clone(&self.screen), self.read);
        let end = wait(&format!("{text:?} on the console"), limit, || {
            let screen = screen.lock().expect("not poisoned");
            screen[from..].find(text).map(|at| from + at + text.len())
        });
        self.read = end;
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.keyboard
            .write_all(format!("{line}\r").as_bytes())
            .and_then(|()| self.keyboard.flush())
            .expect("the console takes what is typed");
    }

    /// Reads a prompt, then types a line.
    pub fn answers(&mut self, prompt: &str, line: &str) {
        self.reads(prompt, Duration::from_secs(60));
        self.types(line);
    }

    /// Presses Ctrl-], and waits until the command has ended.
    pub fn leaves(&mut self) {
        self.keyboard.write_all(&[0x1d]).expect("a key is taken");
        self.reads("left the console", Duration::from_secs(30));
        assert!(self.child.wait().expect("it ends").success());
    }

    /// Everything that was on the console.
    pub fn seen(&self) -> String {
        self.screen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("console:\n{}", self.seen());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
