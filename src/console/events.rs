//! Events for whoever started the machine: one JSON object per line on a virtio port.
//!
//! On bare metal there is no such port and nothing changes. The port takes one opener at a
//! time (Linux, `drivers/char/virtio_console.c`), so a program keeps one [`Events`] and
//! drops it before the next program opens its own.

pub use crate::machine::events::{Event, Moment, Outcome};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

/// Where the port appears in a guest.
pub const PORT: &str = "/dev/virtio-ports/org.muster.events";

/// Events kept while the other side does not read; older ones are dropped first.
const KEPT: usize = 4096;

/// The channel. Writing to it never blocks and never fails the caller.
#[derive(Debug)]
pub struct Events {
    channel: Option<Mutex<Channel>>,
}

#[derive(Debug)]
struct Channel {
    port: File,
    /// Lines not yet written; the first may be the rest of one.
    pending: VecDeque<Vec<u8>>,
    /// Whether the first of `pending` has been written in part, so that it must stay.
    torn: bool,
}

impl Events {
    /// Opens the port of this guest; without one, every event is dropped.
    pub fn open() -> Self {
        Self::open_at(Path::new(PORT))
    }

    /// Opens another port, or a file that stands for it in tests.
    pub fn open_at(path: &Path) -> Self {
        let port = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC)
            .open(path);
        Events {
            channel: port.ok().map(|port| {
                Mutex::new(Channel {
                    port,
                    pending: VecDeque::new(),
                    torn: false,
                })
            }),
        }
    }

    /// A channel that drops everything.
    pub fn none() -> Self {
        Events { channel: None }
    }

    /// Sends one event. What the other side does not take now is sent before the next one.
    pub fn emit(&self, event: &Event) {
        let Some(channel) = &self.channel else { return };
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        let mut channel = channel
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        channel.pending.push_back(line);
        channel.flush();
    }
}

impl Channel {
    fn flush(&mut self) {
        while let Some(line) = self.pending.front_mut() {
            match self.port.write(line) {
                Ok(written) if written >= line.len() => {
                    self.pending.pop_front();
                    self.torn = false;
                }
                Ok(0) => break,
                Ok(written) => {
                    line.drain(..written);
                    self.torn = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        while self.pending.len() > KEPT {
            // Never drop the rest of a line whose start has been sent.
            self.pending.remove(usize::from(self.torn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn without_a_port_nothing_happens() {
        let events = Events::open_at(Path::new("/nonexistent/port"));
        events.emit(&Event::Phase {
            name: "data".into(),
        });
        assert!(events.channel.is_none());
    }

    #[test]
    fn a_reader_that_stalls_neither_blocks_the_agent_nor_tears_a_line() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("port");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let mut reader = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .expect("the reading end");
        let events = Events::open_at(&path);
        for number in 0..3000 {
            events.emit(&Event::Phase {
                name: format!("{number}-{}", "x".repeat(50)),
            });
        }
        let mut seen = Vec::new();
        for _ in 0..100 {
            let mut chunk = vec![0; 65536];
            if let Ok(read) = reader.read(&mut chunk) {
                seen.extend_from_slice(&chunk[..read]);
            }
            events.emit(&Event::Phase {
                name: "more".into(),
            });
        }
        let text = String::from_utf8(seen).expect("text");
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Event>(line).ok())
            .collect();
        assert!(names.len() >= 3000, "{} whole lines", names.len());
        assert_eq!(names.len(), text.lines().count());
    }
}
