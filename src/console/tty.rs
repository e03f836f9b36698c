//! One terminal: opened without waiting for a modem, read byte by byte, put back as it was.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    ControlFlags, FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices,
    Termios, tcflush, tcgetattr, tcsetattr,
};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Where a person reads and types.
pub trait Terminal {
    /// Waits for one byte that they type.
    fn byte(&mut self) -> io::Result<u8>;
    /// Shows them these bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Milliseconds a line may take nothing. Linux says that there is room again when the 4096
/// bytes of a serial port's buffer are nearly sent, which takes 8 s at 4800 baud.
const PATIENCE: u16 = 10_000;

/// A terminal in raw mode. Dropping it restores echo and the rest.
#[derive(Debug)]
pub struct Tty {
    name: String,
    file: File,
    before: Termios,
}

impl Tty {
    /// Opens a terminal device; its name is the last part of the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            // Without O_NONBLOCK, a serial line without carrier would block right here.
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC)
            .open(path)?;
        let before = tcgetattr(&file)?;
        let mut raw = before.clone();
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        // Every byte as it comes, whatever was set before; of the output only line ends change.
        raw.input_flags = InputFlags::IGNBRK;
        raw.output_flags = OutputFlags::OPOST | OutputFlags::ONLCR;
        raw.control_flags
            .insert(ControlFlags::CLOCAL | ControlFlags::CREAD);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&file, SetArg::TCSANOW, &raw)?;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        Ok(Tty { name, file, before })
    }

    /// `ttyS0`, `tty1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for one byte. An end of file or a hangup is an error: nobody is there any more.
    pub fn byte(&mut self) -> io::Result<u8> {
        loop {
            if let Some(byte) = self.byte_now()? {
                return Ok(byte);
            }
            wait(&[&*self], None)?;
        }
    }

    /// One byte if there is one.
    pub fn byte_now(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match self.file.read(&mut byte) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the terminal hung up",
            )),
            Ok(_) => Ok(Some(byte[0])),
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes all of it, unless the line takes nothing for [`PATIENCE`]: a stuck console must
    /// not hold up the host.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut fds, PollTimeout::from(PATIENCE)) {
                        Ok(0) => return Err(ErrorKind::TimedOut.into()),
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forgets what was typed and not yet read.
    pub fn forget_input(&self) {
        // Without this the next program reads a few stray keys, no more.
        tcflush(&self.file, FlushArg::TCIFLUSH).ok();
    }
}

impl Terminal for Tty {
    fn byte(&mut self) -> io::Result<u8> {
        Tty::byte(self)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        Tty::send(self, bytes)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // A terminal that is gone has no settings to restore. Not TCSADRAIN: on a stuck line it
        // waits for ever.
        tcsetattr(&self.file, SetArg::TCSANOW, &self.before).ok();
    }
}

/// Waits until one of the terminals has something to read, or the time is over; their
/// places in the list.
pub fn wait(ttys: &[&Tty], limit: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> = ttys
        .iter()
        .map(|tty| PollFd::new(tty.file.as_fd(), PollFlags::POLLIN))
        .collect();
    let limit = match limit {
        None => PollTimeout::NONE,
        Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
    };
    match poll(&mut fds, limit) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    Ok(fds
        .iter()
        .enumerate()
        .filter(|(_, fd)| ready(fd))
        .map(|(place, _)| place)
        .collect())
}

/// The terminals a person may sit at: `/sys/class/tty/console/active` lists where the
/// kernel's console goes; `tty0` there means the screen, whose first terminal is `tty1`.
pub fn consoles(active: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in active.split_whitespace() {
        let name = if name == "tty0" { "tty1" } else { name };
        if !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_and_the_serial_lines_are_consoles() {
        assert_eq!(consoles("tty0 ttyS0\n"), ["tty1", "ttyS0"]);
        assert_eq!(consoles("ttyS1"), ["ttyS1"]);
        assert_eq!(consoles("tty1 tty0"), ["tty1"]);
        assert!(consoles("\n").is_empty());
    }
}
