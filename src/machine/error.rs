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
    #[diagnostic(help("start anew with: muster down {stack} --purge && muster up {stack}"))]
    ImageChanged {
        /// Stack.
        stack: String,
        /// Role.
        role: String,
        /// The image.
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
    #[diagnostic(help("see how full it is: df -h {}; remove old machines: muster down STACK --purge", path.display()))]
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
    #[error("--purge deletes the machines of {stack} for good and needs --yes")]
    #[diagnostic(help("say it with: muster down {stack} --purge --yes"))]
    NeedsYes {
        /// Stack.
        stack: String,
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
    #[diagnostic(help("give the machines up with: muster down {stack} --purge"))]
    Damaged {
        /// Stack.
        stack: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The image is none.
    #[error("{} is not a disk image: {why}", path.display())]
    #[diagnostic(help("images are made by: muster build STACK"))]
    NotAnImage {
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
    #[error("cannot {what} {}: {source}", path.display())]
    #[diagnostic(help("see what stands there: ls -ld {}", path.display()))]
    Io {
        /// A verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl MachineError {
    /// For `map_err` on file system calls: a full disk is told apart from the rest.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MachineError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                MachineError::DiskFull { path }
            }
            _ => MachineError::Io { what, path, source },
        }
    }
}
