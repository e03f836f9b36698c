//! What can go wrong with a machine, with the next thing to do.

use miette::Diagnostic;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Result of everything in this room.
pub type Result<T> = std::result::Result<T, MachineError>;

/// An error of the machine room.
#[derive(Debug, Error, Diagnostic)]
pub enum MachineError {
    /// A host program is not there.
    #[error("{program} is not installed")]
    #[diagnostic(help("it is in the package {package}: apt install {package}"))]
    MissingProgram {
        /// Name searched in PATH.
        program: String,
        /// Debian package that has it.
        package: String,
    },
    /// Firmware is not there.
    #[error("there is no UEFI firmware: {} does not exist", path.display())]
    #[diagnostic(help(
        "it is in the package {package}: apt install {package}; or leave --firmware away"
    ))]
    MissingFirmware {
        /// Where it was looked for.
        path: PathBuf,
        /// Debian package that has it.
        package: String,
    },
    /// The disk asked for has no room for the image.
    #[error("a disk of {asked} MiB is smaller than the image of {role}, which has {image} MiB")]
    #[diagnostic(help("leave --disk away, or ask for {image} or more"))]
    DiskTooSmall {
        /// Role.
        role: String,
        /// MiB asked for.
        asked: u32,
        /// MiB of the image.
        image: u64,
    },
    /// The accelerator asked for does not work here.
    #[error("--accel kvm cannot work here: {reason}")]
    #[diagnostic(help("leave --accel away, or say --accel tcg (slower, works everywhere)"))]
    KvmUnusable {
        /// What was found.
        reason: String,
    },
    /// A forwarded port is in use.
    #[error("port {port} on 127.0.0.1, which leads to port {guest} of {role}, is taken")]
    #[diagnostic(help(
        "see who has it: ss -ltnp 'sport = :{port}'; or move it: muster up {stack} --forward {guest}=PORT"
    ))]
    PortTaken {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// Port of the workstation.
        port: u16,
        /// Port of the guest.
        guest: u16,
    },
    /// No image to boot.
    #[error("there is no image of {role}: {} does not exist", path.display())]
    #[diagnostic(help("make it with: muster build {stack} --role {role}"))]
    ImageMissing {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The image under a machine's disk is not the one the disk was made on.
    #[error("the image of {role} was changed under its disk: {}", path.display())]
    #[diagnostic(help(
        "bring the old file back; or start anew, without what the machine has stored: muster down {stack} --purge && muster up {stack}"
    ))]
    ImageChanged {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// The image.
        path: PathBuf,
    },
    /// The image under a machine's disk, or the disk itself, is not there any more.
    #[error("the {what} of {role} is gone: {} does not exist", path.display())]
    #[diagnostic(help(
        "bring that file back; or start anew, without what the machine has stored: muster down {stack} --purge && muster up {stack}"
    ))]
    DiskGone {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// `disk`, or the image below it.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A disk that a guest has written to, and nothing is known of its machine.
    #[error("{} holds what a machine has stored, and the record of that machine is gone", path.display())]
    #[diagnostic(help(
        "bring machine.json back beside it; or start anew, without what it stored: muster down {stack} --purge && muster up {stack}"
    ))]
    RecordGone {
        /// Stack.
        stack: String,
        /// The disk.
        path: PathBuf,
    },
    /// The state folder cannot be written.
    #[error("machines keep their state in {}, which cannot be written: {why}", path.display())]
    #[diagnostic(help("set XDG_STATE_HOME to a folder of yours"))]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// No space left.
    #[error("the disk is full: {} could not be written", path.display())]
    #[diagnostic(help("see how full it is: df -h {}; remove old machines: muster down STACK --purge", folder(path).display()))]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// Somebody else works on the same stack.
    #[error("another muster is starting or stopping the machines of {stack}")]
    #[diagnostic(help(
        "wait for it to end, then try again; muster ps {stack} shows how far it is"
    ))]
    Busy {
        /// Stack.
        stack: String,
    },
    /// No machine was ever made for this name.
    #[error("there are no machines of a stack named {stack}")]
    #[diagnostic(help("{hint}"))]
    UnknownStack {
        /// The name given.
        stack: String,
        /// What there is instead.
        hint: String,
    },
    /// The stack has no such role.
    #[error("{stack} has no machine named {role}")]
    #[diagnostic(help("its machines: {known}"))]
    UnknownRole {
        /// Stack.
        stack: String,
        /// The name given.
        role: String,
        /// Roles, comma separated.
        known: String,
    },
    /// Disks are deleted only when somebody says so.
    #[error("--purge deletes {what} for good and needs --yes")]
    #[diagnostic(help("say it with: muster down {stack} --purge --yes"))]
    NeedsYes {
        /// Stack, and the roles that are meant, as a person gave them.
        stack: String,
        /// What is deleted, for people.
        what: String,
    },
    /// The machine is off.
    #[error("{role} does not run")]
    #[diagnostic(help("start it with: muster up {stack}"))]
    NotRunning {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
    },
    /// QEMU refused.
    #[error("{role} did not start: {why}")]
    #[diagnostic(help("the command was: {command}"))]
    StartRefused {
        /// Role.
        role: String,
        /// QEMU's words.
        why: String,
        /// To paste and run again.
        command: String,
    },
    /// The machine went away while somebody waited for it.
    #[error("{role} stopped before its bring-up ended; its last words were:\n{tail}")]
    #[diagnostic(help("read {}, then resume with: muster up {stack} --wait", log.display()))]
    Died {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// Last lines of the serial console.
        tail: String,
        /// The serial log.
        log: PathBuf,
    },
    /// QEMU paused the guest because it could not write its disk.
    #[error("{role} is paused: {why}")]
    #[diagnostic(help("make room, then: muster up {stack}"))]
    Paused {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// QEMU's run state in words.
        why: String,
    },
    /// The machine's control socket gave nonsense, or nothing.
    #[error("{role} does not answer on its control socket: {why}")]
    #[diagnostic(help("stop it with: muster down {stack}"))]
    Control {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// What happened.
        why: String,
    },
    /// The console is in use.
    #[error("another terminal is attached to the console of {role}")]
    #[diagnostic(help("leave it there with Ctrl-], or just watch: tail -f {}", log.display()))]
    ConsoleTaken {
        /// Role.
        role: String,
        /// The serial log.
        log: PathBuf,
    },
    /// ssh cannot be trusted yet.
    #[error("{role} has not told its ssh host key yet")]
    #[diagnostic(help(
        "it does so at its first boot; watch it with: muster console {stack} {role}"
    ))]
    NoHostKey {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
    },
    /// A program of the host failed.
    #[error("{program} failed: {why}")]
    #[diagnostic(help("try it by hand: {command}"))]
    ProgramFailed {
        /// Program.
        program: String,
        /// Its standard error.
        why: String,
        /// To paste.
        command: String,
    },
    /// A file this room wrote makes no sense any more.
    #[error("{} is damaged: {why}", path.display())]
    #[diagnostic(help(
        "bring it back from a backup; or give the machines up, with all they have stored: muster down {stack} --purge"
    ))]
    Damaged {
        /// Stack.
        stack: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of another muster.
    #[error("{} has format version {found}, made by another muster: this one reads version {known}", path.display())]
    #[diagnostic(help("use the muster that made it; its machines run on meanwhile"))]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        known: u32,
    },
    /// The image is none.
    #[error("{} is not a whole disk image: {why}", path.display())]
    #[diagnostic(help("make it again with: muster build {stack} --role {role}"))]
    NotAnImage {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// `qemu/*.toml` is wrong.
    #[error("the machine description is wrong: {why}")]
    #[diagnostic(help("it is qemu/machine.toml of this program's source"))]
    Description {
        /// toml's words.
        why: String,
    },
    /// Anything else of the file system.
    #[error("cannot {what} {}: {reason}", path.display())]
    #[diagnostic(help("see what stands there: ls -ld {}", path.display()))]
    Io {
        /// A verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
}

/// The folder a file would stand in: df(1) knows nothing of files that are not there.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl MachineError {
    /// A role that the stack does not have, but these.
    pub fn unknown_role<'a>(
        stack: &str,
        role: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> MachineError {
        MachineError::UnknownRole {
            stack: stack.into(),
            role: role.into(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    }

    /// For `map_err` on file system calls: a full disk is told apart from the rest.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MachineError {
        let path = path.to_owned();
        move |reason| match reason.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                MachineError::DiskFull { path }
            }
            _ => MachineError::Io { what, path, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of what only a machine in trouble brings about; the others are met in
    /// tests/machine_commands.
    #[test]
    fn a_machine_in_trouble_is_described_with_the_next_command() {
        let (stack, role) = ("starter".to_owned(), "office".to_owned());
        let (path, why) = (PathBuf::from("/s/office/serial.log"), "a reason".to_owned());
        let cases = [
            (
                MachineError::Paused {
                    stack: stack.clone(),
                    role: role.clone(),
                    why: why.clone(),
                },
                "office is paused: a reason",
                "make room, then: muster up starter",
            ),
            (
                MachineError::Control {
                    stack,
                    role: role.clone(),
                    why: why.clone(),
                },
                "office does not answer on its control socket: a reason",
                "stop it with: muster down starter",
            ),
            (
                MachineError::ConsoleTaken {
                    role: role.clone(),
                    log: path.clone(),
                },
                "another terminal is attached to the console of office",
                "leave it there with Ctrl-], or just watch: tail -f /s/office/serial.log",
            ),
            (
                MachineError::StartRefused {
                    role,
                    why: why.clone(),
                    command: "qemu -m 1".into(),
                },
                "office did not start: a reason",
                "the command was: qemu -m 1",
            ),
            (
                MachineError::Description { why: why.clone() },
                "the machine description is wrong: a reason",
                "it is qemu/machine.toml of this program's source",
            ),
            (
                MachineError::ProgramFailed {
                    program: "ssh-keygen".into(),
                    why,
                    command: "ssh-keygen -q".into(),
                },
                "ssh-keygen failed: a reason",
                "try it by hand: ssh-keygen -q",
            ),
            (
                MachineError::io("write", &path)(io::ErrorKind::StorageFull.into()),
                "the disk is full: /s/office/serial.log could not be written",
                "see how full it is: df -h /s/office; remove old machines: muster down STACK \
                 --purge",
            ),
        ];
        for (error, words, help) in cases {
            assert_eq!(error.to_string(), words);
            let said = Diagnostic::help(&error).map(|help| help.to_string());
            assert_eq!(said.as_deref(), Some(help));
        }
    }
}
