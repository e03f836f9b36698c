//! What an ordinary user needs to make images: subordinate ids for the files of a root
//! (subuid(5), subgid(5)), the programs that hand them out (newuidmap(1), newgidmap(1)), and a
//! kernel that lets ordinary users make user namespaces (user_namespaces(7)).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many subordinate ids a build uses, as ids 1 and on; 0 is the user.
pub const IDS: u32 = 65_535;
/// Where ranges of new users begin (login.defs(5), SUB_UID_MIN).
const FIRST: u32 = 100_000;
/// How long they are (login.defs(5), SUB_UID_COUNT).
const RANGE: u32 = 65_536;
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// What keeps an ordinary user from making images.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Too few subordinate ids.
    #[error("{}", too_few(user, lacking))]
    Ids {
        /// Login name.
        user: String,
        /// Files without a range that is long enough, and how many ids their longest has.
        lacking: Vec<(&'static str, u32)>,
        /// A range that nobody has.
        free: (u32, u32),
    },
    /// A file of ranges cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A program is not there.
    #[error("{0} is not installed, and a build without root needs it")]
    Missing(&'static str),
    /// A program did not do it.
    #[error("{program} gives this build no ids: {said}")]
    Refused {
        /// Which.
        program: &'static str,
        /// Its words.
        said: String,
    },
    /// A switch of the kernel is off.
    #[error("this kernel lets no ordinary user make namespaces: {0} is 0")]
    Switch(&'static str),
    /// AppArmor's limit (Ubuntu 23.10 and later).
    #[error(
        "AppArmor keeps user namespaces from {}: kernel.apparmor_restrict_unprivileged_userns is 1",
        .0.display()
    )]
    AppArmor(PathBuf),
    /// Something else.
    #[error("making an image without root needs namespaces, which are forbidden here: {0}")]
    Forbidden(nix::Error),
}

fn too_few(user: &str, lacking: &[(&'static str, u32)]) -> String {
    let mut words = Vec::new();
    for (file, found) in lacking {
        words.push(match found {
            0 => format!("no subordinate ids in {file}"),
            found => format!("only {found} subordinate ids in a row in {file}"),
        });
    }
    let words = words.join(" and ");
    format!("{user} has {words}, and a build without root needs {IDS}")
}

impl Obstacle {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        let root = "or build with: sudo muster build STACK";
        match self {
            Obstacle::Ids {
                user,
                lacking,
                free: (first, last),
            } => {
                let options = lacking.iter().map(|(file, _)| match *file {
                    SUBUID => format!("--add-subuids {first}-{last} "),
                    _ => format!("--add-subgids {first}-{last} "),
                });
                let options: String = options.collect();
                format!("give it some: sudo usermod {options}{user}; {root}")
            }
            Obstacle::Missing(_) => {
                format!("it is in the package uidmap: sudo apt install uidmap; {root}")
            }
            Obstacle::Refused { .. } => {
                format!("see that it may: sudo apt install --reinstall uidmap; {root}")
            }
            Obstacle::Switch(name) => {
                let value = match *name {
                    MOST => "10000",
                    _ => "1",
                };
                format!(
                    "until the next start: sudo sysctl {name}={value}; for good: echo \
                     {name}={value} | sudo tee /etc/sysctl.d/60-muster.conf; {root}"
                )
            }
            Obstacle::AppArmor(program) => format!(
                "allow it to this program:\n\n\
                 sudo tee /etc/apparmor.d/muster <<END\n\
                 abi <abi/4.0>,\n\
                 include <tunables/global>\n\
                 profile muster \"{}\" flags=(unconfined) {{\n  userns,\n}}\n\
                 END\n\
                 sudo apparmor_parser -r /etc/apparmor.d/muster\n\n{root}",
                program.display()
            ),
            Obstacle::Unread { path, .. } => {
                format!("see who may: ls -l {}; {root}", path.display())
            }
            Obstacle::Forbidden(_) => format!("in a container, build outside of it; {root}"),
        }
    }

    /// Why the kernel said no to this user's namespace, as far as its switches tell.
    pub fn of_kernel(root: &Path, errno: nix::Error) -> Obstacle {
        let value = |name: &str| {
            let path = root.join("proc/sys").join(name.replace('.', "/"));
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        if let Some(off) = [CLONE, MOST].into_iter().find(|name| value(name) == "0") {
            return Obstacle::Switch(off);
        }
        match value("kernel.apparmor_restrict_unprivileged_userns").as_str() {
            "1" => Obstacle::AppArmor(std::env::current_exe().unwrap_or_default()),
            _ => Obstacle::Forbidden(errno),
        }
    }
}

/// Debian's switch.
const CLONE: &str = "kernel.unprivileged_userns_clone";
/// How many there may be (namespaces(7)).
const MOST: &str = "user.max_user_namespaces";

/// A user and the first of each kind of ids that a build of theirs takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    uid: u32,
    gid: u32,
    users: u32,
    groups: u32,
}

impl Ids {
    /// The ids of the user with this uid and gid, from the files below `root`.
    pub fn find(root: &Path, uid: u32, gid: u32) -> Result<Ids, Obstacle> {
        let read = |file: &'static str| match fs::read_to_string(root.join(&file[1..])) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Obstacle::Unread {
                path: file.into(),
                why: error.to_string(),
            }),
            found => Ok(found.unwrap_or_default()),
        };
        let user = login(&read("/etc/passwd")?, uid);
        let (users, groups) = (read(SUBUID)?, read(SUBGID)?);
        let mut lacking = Vec::new();
        let mut longest = |file: &'static str, text: &str| {
            let mine = ranges(text).filter(|(of, ..)| *of == user || *of == uid.to_string());
            let longest = mine.max_by_key(|(_, _, count)| *count);
            let (first, count) = longest.map_or((0, 0), |(_, first, count)| (first, count));
            if count < IDS {
                lacking.push((file, count));
            }
            first
        };
        let found = Ids {
            uid,
            gid,
            users: longest(SUBUID, &users),
            groups: longest(SUBGID, &groups),
        };
        if lacking.is_empty() {
            return Ok(found);
        }
        let ends = ranges(&users).chain(ranges(&groups));
        let ends = ends.map(|(_, first, count)| first.saturating_add(count));
        let first = ends.fold(FIRST, u32::max);
        let free = (first, first.saturating_add(RANGE - 1));
        Err(Obstacle::Ids {
            user,
            lacking,
            free,
        })
    }

    /// Has newuidmap and newgidmap write the ids into the user namespace of the process `pid`:
    /// this user is root in it.
    pub fn hand_out(&self, pid: nix::unistd::Pid) -> Result<(), Obstacle> {
        for (program, own, first) in [
            ("newuidmap", self.uid, self.users),
            ("newgidmap", self.gid, self.groups),
        ] {
            let words = [
                pid.as_raw().to_string(),
                format!("0 {own} 1 1 {first} {IDS}"),
            ];
            let words = words.iter().flat_map(|words| words.split(' '));
            let output = match Command::new(program).args(words).output() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(Obstacle::Missing(program));
                }
                Err(error) => {
                    let said = error.to_string();
                    return Err(Obstacle::Refused { program, said });
                }
                Ok(output) => output,
            };
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Obstacle::Refused { program, said });
            }
        }
        Ok(())
    }
}

/// The login name of `uid` (passwd(5)); its number when it has none.
fn login(passwd: &str, uid: u32) -> String {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    found.map_or(uid.to_string(), str::to_owned)
}

/// Whose range it is, its first id, and how many there are (subuid(5)).
fn ranges(text: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        Some((user, first, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn workstation(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn found(subuid: &str, subgid: &str) -> Result<Ids, (String, String)> {
        let root = workstation(&[
            (
                "etc/passwd",
                "root:x:0:0::/:/bin/sh\nstaff:x:1000:100::/:/bin/sh\n",
            ),
            ("etc/subuid", subuid),
            ("etc/subgid", subgid),
        ]);
        Ids::find(root.path(), 1000, 100).map_err(|error| (error.to_string(), error.hint()))
    }

    #[test]
    fn the_longest_range_of_the_user_is_taken_by_name_or_number() {
        let ids = found(
            "other:100000:65536\nstaff:165536:10\n1000:231072:65536\n",
            "staff:100000:65535\n",
        );
        let wanted = Ids {
            uid: 1000,
            gid: 100,
            users: 231_072,
            groups: 100_000,
        };
        assert_eq!(ids, Ok(wanted));
    }

    #[test]
    fn whoever_has_too_few_ids_reads_how_to_get_some_that_nobody_has() {
        let (words, hint) = found("other:100000:65536\n", "").unwrap_err();
        assert_eq!(
            words,
            "staff has no subordinate ids in /etc/subuid and no subordinate ids in /etc/subgid, \
             and a build without root needs 65535"
        );
        assert_eq!(
            hint,
            "give it some: sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 \
             staff; or build with: sudo muster build STACK"
        );
        let (words, hint) = found("staff:100000:65536\n", "staff:100000:1000\n").unwrap_err();
        assert_eq!(
            words,
            "staff has only 1000 subordinate ids in a row in /etc/subgid, and a build without \
             root needs 65535"
        );
        assert_eq!(
            hint,
            "give it some: sudo usermod --add-subgids 165536-231071 staff; or build with: sudo \
             muster build STACK"
        );
    }

    #[test]
    fn the_switch_that_is_off_is_named_with_the_command_that_turns_it_on() {
        let program = std::env::current_exe().unwrap();
        let apparmor = format!(
            "allow it to this program:\n\nsudo tee /etc/apparmor.d/muster <<END\n\
             abi <abi/4.0>,\ninclude <tunables/global>\n\
             profile muster \"{}\" flags=(unconfined) {{\n  userns,\n}}\nEND\n\
             sudo apparmor_parser -r /etc/apparmor.d/muster\n\n\
             or build with: sudo muster build STACK",
            program.display()
        );
        for (path, value, words, hint) in [
            (
                "proc/sys/kernel/unprivileged_userns_clone",
                "0\n",
                "this kernel lets no ordinary user make namespaces: \
                 kernel.unprivileged_userns_clone is 0"
                    .to_owned(),
                "until the next start: sudo sysctl kernel.unprivileged_userns_clone=1; for good: \
                 echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-muster.conf; \
                 or build with: sudo muster build STACK",
            ),
            (
                "proc/sys/user/max_user_namespaces",
                "0\n",
                "this kernel lets no ordinary user make namespaces: user.max_user_namespaces is 0"
                    .to_owned(),
                "until the next start: sudo sysctl user.max_user_namespaces=10000; for good: echo \
                 user.max_user_namespaces=10000 | sudo tee /etc/sysctl.d/60-muster.conf; or build \
                 with: sudo muster build STACK",
            ),
            (
                "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                format!(
                    "AppArmor keeps user namespaces from {}: \
                     kernel.apparmor_restrict_unprivileged_userns is 1",
                    program.display()
                ),
                &apparmor,
            ),
            (
                "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "0\n",
                "making an image without root needs namespaces, which are forbidden here: EPERM: \
                 Operation not permitted"
                    .to_owned(),
                "in a container, build outside of it; or build with: sudo muster build STACK",
            ),
        ] {
            let root = workstation(&[(path, value)]);
            let error = Obstacle::of_kernel(root.path(), nix::Error::EPERM);
            assert_eq!((error.to_string(), error.hint().as_str()), (words, hint));
        }
    }
}
