//! A person at the serial console: reads what is on it, types, and is patient.

use crate::site::{Site, wait};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Somebody who has run `muster console`.
pub struct Person {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    read: usize,
}

impl Person {
    /// Sits down at the serial console of the lead.
    pub fn at(site: &Site) -> Person {
        let mut child = site
            .command(&["console", "starter"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("muster console starts");
        let keyboard = child.stdin.take().expect("piped");
        let mut output = child.stdout.take().expect("piped");
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
