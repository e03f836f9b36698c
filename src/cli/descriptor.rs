//! A descriptor that whoever started this program opened for it, by its number.

#![allow(unsafe_code)] // A number on the command line becomes a descriptor; nothing safe does that.

use miette::{IntoDiagnostic, WrapErr};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// A second handle of an inherited descriptor. The children of this program do not get it:
/// one that outlives this program would keep the reader waiting for the end.
#[derive(Debug, Clone)]
pub struct Descriptor {
    number: RawFd,
    own: Arc<OwnedFd>,
}

impl Descriptor {
    /// The open, writable descriptor of this number. Called before this program opens anything.
    ///
    /// # Errors
    /// What is wrong with it, and how to open one in a shell.
    pub fn inherited(text: &str) -> Result<Descriptor, String> {
        let hint = "in a shell, open one with: --progress-fd 3 3>progress.jsonl";
        let number: RawFd = text
            .parse()
            .ok()
            .filter(|number| *number >= 0)
            .ok_or_else(|| format!("this is not the number of a descriptor; {hint}"))?;
        if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            return Err(format!("descriptor {number} is not open; {hint}"));
        }
        // SAFETY: it is open, as was just seen, and nothing here ever closes it.
        let inherited = unsafe { BorrowedFd::borrow_raw(number) };
        let broken = |error: std::io::Error| format!("descriptor {number} is of no use: {error}");
        let flags = fcntl(inherited, FcntlArg::F_GETFL).map_err(|error| broken(error.into()))?;
        let access = OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE;
        if access == OFlag::O_RDONLY {
            return Err(format!(
                "descriptor {number} is open for reading only; {hint}"
            ));
        }
        let own = inherited.try_clone_to_owned().map_err(broken)?;
        let descriptor = Descriptor {
            number,
            own: Arc::new(own),
        };
        descriptor.lend(false).map_err(broken)?;
        Ok(descriptor)
    }

    /// Its number, as on the command line.
    pub fn number(&self) -> RawFd {
        self.number
    }

    /// Writes to it.
    ///
    /// # Errors
    /// This program has too many files open.
    pub fn file(&self) -> miette::Result<File> {
        self.own
            .as_fd()
            .try_clone_to_owned()
            .map(File::from)
            .into_diagnostic()
            .wrap_err_with(|| format!("descriptor {} cannot be used", self.number))
    }

    /// Whether children started from now on get it, under its number.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lend(&self, lent: bool) -> std::io::Result<()> {
        // Standard streams always go to children.
        if self.number > 2 {
            // SAFETY: it was open at the start, and nothing here ever closes it.
            let inherited = unsafe { BorrowedFd::borrow_raw(self.number) };
            let flag = match lent {
                true => FdFlag::empty(),
                false => FdFlag::FD_CLOEXEC,
            };
            fcntl(inherited, FcntlArg::F_SETFD(flag))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::process::Command;

    #[test]
    fn only_children_it_is_lent_to_get_it() {
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        let number = writer.as_raw_fd();
        let descriptor = Descriptor::inherited(&number.to_string()).expect("it is open");
        let child_has_it = || {
            let test = format!("test -e /proc/self/fd/{number}");
            let status = Command::new("sh").args(["-c", &test]).status();
            status.expect("a shell").success()
        };
        assert!(!child_has_it());
        descriptor.lend(true).expect("lent");
        assert!(child_has_it());
        descriptor.lend(false).expect("kept");
        assert!(!child_has_it());
    }
}
