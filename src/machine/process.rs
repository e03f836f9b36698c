//! A process that outlives the command that started it, told apart from a later one that got
//! the same number.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// A process of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot: field 22 of proc(5)'s `/proc/PID/stat`.
    pub start: u64,
    /// `/proc/sys/kernel/random/boot_id` when it started.
    pub boot: String,
}

impl Process {
    /// The process with this id, if it lives.
    pub fn of(pid: u32) -> Option<Process> {
        let stat = parse_stat(&read_stat(pid)?)?;
        // A first thread that has ended waits as a zombie for the others: they still hold
        // files and ports.
        let gone = matches!(stat.state, 'Z' | 'X' | 'x') && stat.threads <= 1;
        (!gone).then(|| Process {
            pid,
            start: stat.start,
            boot: boot_id(),
        })
    }

    /// Whether this very process still lives: a zombie does not, nor does a stranger that
    /// was given the same id.
    pub fn alive(&self) -> bool {
        Process::of(self.pid).as_ref() == Some(self)
    }
}

/// Identifies the running boot of this computer.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn read_stat(pid: u32) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()
}

/// What is read of a stat line.
#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    threads: u64,
    start: u64,
}

/// Fields 3, 20 and 22. The name in parentheses before them may hold anything.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.get(line.rfind(')')? + 1..)?.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        threads: fields.nth(16)?.parse().ok()?,
        start: fields.nth(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_confuse_the_stat_line() {
        let line = "42 (a) S 1) R 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 98765 1000 200";
        let stat = Stat {
            state: 'R',
            threads: 3,
            start: 98765,
        };
        assert_eq!(parse_stat(line), Some(stat));
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn this_process_lives_and_a_reused_id_is_a_stranger() {
        let me = Process::of(std::process::id()).expect("I live");
        assert!(me.alive());
        assert!(
            !Process {
                start: me.start + 1,
                ..me.clone()
            }
            .alive()
        );
        assert!(
            !Process {
                boot: "another boot".into(),
                ..me
            }
            .alive()
        );
    }

    #[test]
    fn a_zombie_does_not_live() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("true runs");
        let pid = child.id();
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Process::of(pid).is_none()
        });
        assert!(gone, "a zombie counts as gone");
        assert!(child.wait().expect("reaped").success());
    }
}
