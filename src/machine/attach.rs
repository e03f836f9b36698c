//! A person's terminal on a machine's serial console: raw, Ctrl-] leaves, and the terminal is
//! as it was on every way out.

use super::follow::last_lines;
use super::{Folder, Machine, MachineError, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{self, SetArg, Termios};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Stdin, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ctrl-], as telnet and virsh have it.
const LEAVE: u8 = 0x1d;
/// Lines of the log that are shown to who attaches.
const RECENT: usize = 20;

/// How long the last words typed may take to arrive, and to be answered.
const LINGER: Duration = Duration::from_secs(1);

/// Why the terminal was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The person pressed Ctrl-], or standard input ended.
    ByPerson,
    /// The machine went away.
    MachineGone,
    /// This program was told to end.
    Signalled,
}

/// Attaches standard input and output to `console` until one of them has enough.
pub fn attach(folder: &Folder, machine: &Machine, console: UnixStream) -> Result<Left> {
    let place = folder.role(&machine.role);
    let _alone = alone(&place, machine)?;
    let stdin = io::stdin();
    let failed = MachineError::io("relay the console of", &place);
    if stdin.is_terminal() {
        let from = machine.run.as_ref().map_or(0, |run| run.serial_from);
        // A prompt that waits is not printed again; and a log must not ask this terminal
        // anything, whose answer would be typed to the guest.
        let recent = last_lines(&place.join("serial.log"), from, RECENT);
        let mut stdout = io::stdout().lock();
        write!(stdout, "{recent}")
            .and_then(|()| stdout.flush())
            .map_err(MachineError::io("show the console of", &place))?;
    }
    relay(&stdin, console).map_err(failed)
}

/// QEMU serves one client of a console; a second would wait in silence.
fn alone(place: &Path, machine: &Machine) -> Result<Flock<File>> {
    let path = place.join("console.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(MachineError::io("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => MachineError::ConsoleTaken {
            role: machine.role.clone(),
            log: place.join("serial.log"),
        },
        errno => MachineError::io("lock", &path)(errno.into()),
    })
}

/// Puts the terminal back when dropped.
struct Raw<'a> {
    stdin: &'a Stdin,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Raw<'a>> {
        if !stdin.is_terminal() {
            return Ok(Raw {
                stdin,
                before: None,
            });
        }
        let before = termios::tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw)?;
        Ok(Raw {
            stdin,
            before: Some(before),
        })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing is left to try when the terminal itself is gone.
            let _ = termios::tcsetattr(self.stdin.as_fd(), SetArg::TCSADRAIN, before);
        }
    }
}

fn relay(stdin: &Stdin, mut console: UnixStream) -> io::Result<Left> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let told = SignalFd::new(&signals)?;
    let raw = Raw::new(stdin)?;
    let mut input = File::from(stdin.as_fd().try_clone_to_owned()?);
    let mut stdout = io::stdout().lock();
    let mut buffer = [0u8; 4096];
    let mut end: Option<Instant> = None;
    let left = loop {
        let mut sources = vec![
            PollFd::new(told.as_fd(), PollFlags::POLLIN),
            PollFd::new(console.as_fd(), PollFlags::POLLIN),
        ];
        let patience = match end {
            None => {
                sources.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
                PollTimeout::NONE
            }
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now()).as_millis();
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
            }
        };
        match poll(&mut sources, patience) {
            Err(Errno::EINTR) => continue,
            other => drop(other?),
        }
        let ready: Vec<bool> = sources
            .iter()
            .map(|source| source.any().unwrap_or(false))
            .collect();
        if ready[0] {
            break Left::Signalled;
        }
        if ready[1] {
            let count = console.read(&mut buffer)?;
            if count == 0 {
                break Left::MachineGone;
            }
            stdout.write_all(&buffer[..count])?;
            stdout.flush()?;
        }
        if ready.get(2) == Some(&true) {
            let count = input.read(&mut buffer)?;
            let typed = &buffer[..count];
            let leave = typed.iter().position(|byte| *byte == LEAVE);
            console.write_all(&typed[..leave.unwrap_or(count)])?;
            match leave {
                Some(0) => break Left::ByPerson,
                None if count > 0 => {}
                // QEMU drops what it has not read yet when the line is cut.
                _ => end = Some(Instant::now() + LINGER),
            }
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break Left::ByPerson;
        }
    };
    drop(raw);
    signals.thread_unblock()?;
    Ok(left)
}
