//! Silence on the console while a person answers: kernel messages and systemd's status
//! lines would run through the questions.

use std::process::{Command, Stdio};

const PRINTK: &str = "/proc/sys/kernel/printk";
/// systemd(1), "Signals": SIGRTMIN+20 shows status messages, SIGRTMIN+21 hides them.
/// SIGRTMIN is 34 in every Linux C library that has reserved two for its threads.
const SHOW: i32 = 34 + 20;
const HIDE: i32 = 34 + 21;

/// While it lives, the console belongs to the person.
#[derive(Debug)]
pub struct Quiet {
    printk: Option<String>,
}

impl Quiet {
    /// Silences both. Where that is not possible, the questions are asked all the same.
    pub fn begin() -> Self {
        let printk = std::fs::read_to_string(PRINTK).ok();
        // Level 1: only what halts the machine.
        std::fs::write(PRINTK, "1").ok();
        tell_systemd(HIDE);
        Quiet { printk }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(level) = self
            .printk
            .as_deref()
            .and_then(|text| text.split_whitespace().next())
        {
            std::fs::write(PRINTK, level).ok();
        }
        tell_systemd(SHOW);
    }
}

/// nix knows no real-time signals; every shell has a `kill` that takes numbers.
fn tell_systemd(signal: i32) {
    let command = format!("kill -{signal} 1");
    let child = Command::new("sh")
        .args(["-c", &command])
        .stderr(Stdio::null())
        .status();
    // Without a shell the status lines stay: a blemish, not a failure.
    child.ok();
}
