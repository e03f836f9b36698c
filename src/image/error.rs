//! What can go wrong while an image is made, in the words a person reads.

use super::artifact;
use super::ordinary::Obstacle;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the workstation or of the work directory.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `cannot write`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A pinned file is not in the cache.
    #[error("{package} is not in the cache")]
    NotCached {
        /// Package key of the lock.
        package: String,
    },
    /// A cached file is not what the lock pins.
    #[error("{package}: the cached file has SHA-256 {found}, the lock pins {wanted}")]
    Digest {
        /// Package key of the lock.
        package: String,
        /// Digest of the file.
        found: String,
        /// Digest in the lock.
        wanted: String,
    },
    /// A package file is damaged or not a Debian package.
    #[error("{package}: {reason}")]
    Package {
        /// Package key of the lock.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member of a package that must not be unpacked.
    #[error("{package}: refused to unpack {member}: {refusal}")]
    Refused {
        /// Package name.
        package: String,
        /// Path as written in the package.
        member: String,
        /// Why.
        refusal: Refusal,
    },
    /// What is excluded takes from a package what it needs for what stays.
    #[error("{path} of {package} {what}, which `[exclude]` leaves out")]
    Excluded {
        /// Package name.
        package: String,
        /// What stays: its path in the image.
        path: String,
        /// How it needs what does not.
        what: String,
    },
    /// Two packages ship the same file and neither may replace the other's.
    #[error("{first} and {second} both ship {path}, and neither replaces the other")]
    Conflict {
        /// Path in the image.
        path: String,
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
    /// An artifact cannot be read, or holds nothing that is asked for.
    #[error("the artifact {artifact}: {reason}")]
    Artifact {
        /// `service/name`.
        artifact: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member of an artifact that must not be placed.
    #[error("the artifact {artifact}: refused to place {member}: {refusal}")]
    Member {
        /// `service/name`.
        artifact: String,
        /// Its path, as written in the archive or as it would be in the image.
        member: String,
        /// Why.
        refusal: artifact::Refusal,
    },
    /// There is nobody whom an artifact could belong to.
    #[error("the artifact {artifact} is to belong to {owner}: {reason}")]
    Owner {
        /// `service/name`.
        artifact: String,
        /// `user:group`.
        owner: String,
        /// Who there is not.
        reason: String,
    },
    /// The lock names a package it does not describe.
    #[error("the lock's role {role} names {key}, which the lock does not describe")]
    Unlocked {
        /// Role.
        role: String,
        /// Package key.
        key: String,
    },
    /// A program in the new root failed.
    #[error("{what} failed: {status}")]
    Program {
        /// What was being done.
        what: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        tail: String,
    },
    /// Accounts appeared that the lock's table does not have.
    #[error("the packages of {role} make system accounts without fixed ids: {names}")]
    Accounts {
        /// Role.
        role: String,
        /// Names, with the package where it is known.
        names: String,
        /// Lines for the base that would fix them.
        lines: String,
    },
    /// An account has other ids than the lock's table says.
    #[error("{name} was made with id {found}, the lock's table says {wanted}")]
    AccountId {
        /// Login or group name.
        name: String,
        /// Id in the new root.
        found: u32,
        /// Id in the table.
        wanted: u32,
    },
    /// A system call on the namespace.
    #[error("{doing}: {source}")]
    Namespace {
        /// What was tried.
        doing: String,
        /// Why not.
        source: nix::Error,
    },
    /// Root may not enter namespaces.
    #[error("making an image needs namespaces of its own, which are forbidden here even to root")]
    NotPermitted,
    /// The caller is not root, and lacks what an ordinary user needs.
    #[error(transparent)]
    Ordinary(Obstacle),
    /// The folder of the images cannot be written.
    #[error("images go to {}, which cannot be written: {source}", path.display())]
    Out {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The layout, the boot loader or the tree does not fit.
    #[error("{0}")]
    Layout(String),
    /// The program given as the agent cannot run in the image.
    #[error("{} cannot be the agent: {reason}", path.display())]
    Agent {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What the build process inside the namespace reported.
    #[error("{message}")]
    Worker {
        /// Its message.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// Another build of the same role is at work in the same folder.
    #[error("another build of {role} is running in {}", path.display())]
    Busy {
        /// Role.
        role: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A role that the stack does not have.
    #[error("the stack {stack} has no role {role}")]
    NoRole {
        /// Stack.
        stack: String,
        /// What was asked for.
        role: String,
        /// Roles it has.
        known: Vec<String>,
    },
    /// The same image, made again, is another one.
    #[error(
        "two builds of {role} from the same inputs differ:\n  {}",
        shown(differences)
    )]
    Unlike {
        /// Role.
        role: String,
        /// Where, each in words.
        differences: Vec<String>,
    },
    /// The build was stopped by a signal.
    #[error("stopped; nothing was written")]
    Interrupted,
}

/// The first of many differences.
fn shown(differences: &[String]) -> String {
    let mut lines: Vec<String> = differences.iter().take(20).cloned().collect();
    if differences.len() > lines.len() {
        lines.push(format!("and {} more", differences.len() - lines.len()));
    }
    lines.join("\n  ")
}

/// What to do where a file cannot be read or written.
fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: see where with df -h, make room and build again, which goes on from the cache; or build elsewhere with --out DIR"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "build into a folder of yours with --out DIR"
        }
        _ => "",
    }
}

/// Why a member of a package was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `..` in the path.
    #[error("its path climbs out of the tree with `..`")]
    Traversal,
    /// Absolute path.
    #[error("its path is absolute")]
    Absolute,
    /// Hard link to something that this package did not unpack.
    #[error("it is a hard link to {0}, which the package does not ship")]
    HardLink(String),
    /// A link that the package itself ships is one of its parents.
    #[error("its path leads through {0}, which is a link in the same package")]
    OwnLink(String),
    /// A link among its parents leads to nothing in the tree.
    #[error("its path leads through the link {0} to {1}, which is no directory of the tree")]
    DeadLink(String, String),
    /// Device node where packages have none.
    #[error("it is a device node outside /dev")]
    Device,
    /// Something tar knows and packages do not use.
    #[error("its tar type `{0}` has no place in a package")]
    Type(char),
    /// A directory stands where a file should go.
    #[error("a directory is in its place")]
    Occupied,
}

impl Error {
    /// For `map_err` on file operations.
    pub fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            doing,
            path,
            source,
        }
    }

    /// For `map_err` on system calls without a path of their own.
    pub fn namespace(doing: impl Into<String>) -> impl FnOnce(nix::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Namespace { doing, source }
    }

    /// What a person can do about it; empty when there is nothing to say.
    pub fn hint(&self) -> String {
        match self {
            Error::NotCached { .. } => "run `muster fetch`, or build without --offline".into(),
            Error::Digest { .. } => {
                "the cached file is damaged: `muster cache verify` removes it, and `muster fetch` fetches it again".into()
            }
            Error::Package { .. } | Error::Refused { .. } => {
                "the file is the one that the archive's index names, so the archive itself is wrong: leave the package out, or pin another version of it with `muster lock STACK --update`, and tell whoever publishes the archive".into()
            }
            Error::Artifact { .. } => {
                "the file is the one that the profile pins: look at what is in it (tar -tvf, unzip -l), change `strip`, `only`, `except` or `setuid`, or pin another version".into()
            }
            Error::Member { refusal, .. } => match refusal {
                artifact::Refusal::SetId => {
                    "if it is meant to have the rights of its owner, name it under `setuid`; else leave it out with `except`".into()
                }
                artifact::Refusal::Occupied(_) => {
                    "artifacts replace nothing: choose another `to`, or leave it out with `except`; a file of an overlay is no obstacle, and wins".into()
                }
                _ => "leave it out with `except` if nobody needs it, and tell its publisher".into(),
            },
            Error::Owner { .. } => {
                "accounts are made by packages, or by sysusers.d(5) in an overlay with an [[account]] in the base; or take another `owner`".into()
            }
            Error::Unlocked { .. } => {
                "take the lock from version control, or remove it and run `muster lock STACK`".into()
            }
            Error::Excluded { .. } => {
                "dpkg on the host could not unpack it: exclude both in the base, or keep both".into()
            }
            Error::Conflict { .. } => "leave one of the two packages out of the role".into(),
            Error::Program { tail, .. } => tail.clone(),
            Error::Accounts { lines, .. } => {
                format!("add them to the base's file and lock again:\n\n{lines}")
            }
            Error::AccountId { .. } => {
                "another package took the id first; choose ids from the table's free range".into()
            }
            Error::Worker { hint, .. } => hint.clone(),
            Error::Busy { .. } => "wait for it, or give another --out".into(),
            Error::NoRole { known, .. } => format!("its roles are {}", known.join(", ")),
            Error::Agent { .. } => {
                "give a static binary for the image's architecture with --agent FILE".into()
            }
            Error::Unlike { .. } => {
                "something that is not among the inputs went into it: the clock, chance, or this computer; find what writes these paths in the log beside the image".into()
            }
            Error::Ordinary(obstacle) => obstacle.hint(),
            Error::NotPermitted => {
                "inside a container, start it with the capability SYS_ADMIN, or build outside".into()
            }
            Error::Out { source, .. } => match io_hint(source) {
                "" => "build into another folder with --out DIR".into(),
                hint => hint.into(),
            },
            Error::Io { source, .. } => io_hint(source).into(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of what needs a broken workstation or a lock that lies; the others are met
    /// in tests/image and tests/surface.
    #[test]
    fn what_stops_a_build_is_described_with_the_way_on() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let reads_only = || io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let no_room = "the disk is full: see where with df -h, make room and build again, which \
                       goes on from the cache; or build elsewhere with --out DIR";
        let elsewhere = "build into a folder of yours with --out DIR";
        let package = || "nginx:amd64=1".to_owned();
        let cases = [
            (
                Error::io("cannot write", "out/office.raw")(full()),
                "cannot write out/office.raw: no storage space",
                no_room,
            ),
            (
                Error::io("cannot make", "out")(reads_only()),
                "cannot make out: read-only filesystem or storage medium",
                elsewhere,
            ),
            (
                Error::Out {
                    path: "out".into(),
                    source: full(),
                },
                "images go to out, which cannot be written: no storage space",
                no_room,
            ),
            (
                Error::Out {
                    path: "out".into(),
                    source: io::ErrorKind::NotADirectory.into(),
                },
                "images go to out, which cannot be written: not a directory",
                "build into another folder with --out DIR",
            ),
            (
                Error::NotPermitted,
                "making an image needs namespaces of its own, which are forbidden here even to \
                 root",
                "inside a container, start it with the capability SYS_ADMIN, or build outside",
            ),
            (
                Error::NotCached { package: package() },
                "nginx:amd64=1 is not in the cache",
                "run `muster fetch`, or build without --offline",
            ),
            (
                Error::Unlocked {
                    role: "office".into(),
                    key: package(),
                },
                "the lock's role office names nginx:amd64=1, which the lock does not describe",
                "take the lock from version control, or remove it and run `muster lock STACK`",
            ),
            (Error::Interrupted, "stopped; nothing was written", ""),
        ];
        for (error, words, hint) in cases {
            assert_eq!(
                (error.to_string().as_str(), error.hint().as_str()),
                (words, hint)
            );
        }
        assert_eq!(
            Refusal::Type('D').to_string(),
            "its tar type `D` has no place in a package"
        );
    }
}
