//! Members of a package's archive: their paths and metadata.

use super::error::Refusal;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Metadata of a member, and the place of its package in the order of unpacking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meta {
    /// Of packages that disagree about a directory, the lowest wins.
    pub order: usize,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

impl Meta {
    /// Sets it on a directory.
    pub fn apply(self, path: &Path) -> io::Result<()> {
        self.apply_to(&File::open(path)?)
    }

    /// Sets it on an open file; the owner first, since a change of owner clears setuid.
    pub fn apply_to(self, file: &File) -> io::Result<()> {
        fchown(
            file,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )?;
        fchmod(file, Mode::from_bits_truncate(self.mode))?;
        let time = TimeSpec::new(self.mtime, 0);
        futimens(file, &time, &time)?;
        Ok(())
    }
}

/// What a member of a data archive asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Below the root, as [`member_path`] gives it.
    pub path: String,
    /// Metadata.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file, its content behind the header.
    File,
    /// A symbolic link and its target, unread: it leads where it leads.
    Symlink(PathBuf),
    /// A hard link to a member: its path below the root, and as it is written.
    HardLink(String, String),
    /// A named pipe.
    Fifo,
    /// A device below `/dev`, which is the kernel's to make.
    Device,
}

/// Why a member cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The header makes no sense.
    #[error(transparent)]
    Damaged(#[from] io::Error),
    /// It makes sense and is not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Member {
    /// Reads the header of a member of the package that is unpacked as number `order`; `None`
    /// when it is no member but a comment on the whole archive (pax, `g`).
    pub fn read<R: Read>(
        entry: &tar::Entry<'_, R>,
        order: usize,
    ) -> Result<Option<Member>, Unreadable> {
        let header = entry.header();
        let kind = header.entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(None);
        }
        let path = member_path(&entry.path_bytes())?;
        let owner = |id: u64| {
            u32::try_from(id).map_err(|_| io::Error::other(format!("an owner has the id {id}")))
        };
        let meta = Meta {
            order,
            mode: header.mode()? & 0o7777,
            uid: owner(header.uid()?)?,
            gid: owner(header.gid()?)?,
            mtime: i64::try_from(header.mtime()?).unwrap_or(0),
        };
        let link = || entry.link_name_bytes().unwrap_or_default();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File
        } else if kind.is_symlink() {
            Kind::Symlink(PathBuf::from(OsStr::from_bytes(&link())))
        } else if kind.is_hard_link() {
            let written = String::from_utf8_lossy(&link()).into_owned();
            Kind::HardLink(member_path(&link())?, written)
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_block_special() || kind.is_character_special() {
            // Elsewhere a device in a package is a way around permissions.
            match path.starts_with("dev/") {
                true => Kind::Device,
                false => return Err(Refusal::Device.into()),
            }
        } else {
            return Err(Refusal::Type(char::from(kind.as_byte())).into());
        };
        Ok(Some(Member { path, meta, kind }))
    }

    /// Its absolute path, as dpkg lists it.
    pub fn listed(&self) -> String {
        match self.path.as_str() {
            "" => "/.".to_owned(),
            path => format!("/{path}"),
        }
    }
}

/// The path of a member below the root, without `./` and trailing slashes; empty for the root.
pub fn member_path(raw: &[u8]) -> Result<String, Refusal> {
    let text = String::from_utf8_lossy(raw);
    if text.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(Refusal::Traversal),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The path a relative path has once `/bin` and its kin are links into `/usr`.
pub fn canonical(path: &str) -> String {
    let top = path.split('/').next().unwrap_or_default();
    match top {
        "bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32" => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

/// Package names of a relation field, versions and architectures left out.
pub fn names(field: &str) -> impl Iterator<Item = &str> {
    field.split([',', '|']).filter_map(|part| {
        let name = part
            .trim()
            .split([' ', '(', ':', '[', '<'])
            .next()
            .unwrap_or_default();
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_decoration() {
        assert_eq!(member_path(b"./usr//bin/./sh").unwrap(), "usr/bin/sh");
        assert_eq!(member_path(b"./").unwrap(), "");
        assert_eq!(member_path(b"/etc/passwd"), Err(Refusal::Absolute));
        assert_eq!(member_path(b"./a/../../b"), Err(Refusal::Traversal));
    }

    #[test]
    fn merged_usr_has_one_name_per_file() {
        assert_eq!(canonical("bin/sh"), "usr/bin/sh");
        assert_eq!(canonical("usr/bin/sh"), "usr/bin/sh");
        assert_eq!(canonical("library/x"), "library/x");
    }

    #[test]
    fn relations_give_names() {
        let found: Vec<_> = names("foo (<< 2~), bar:any | baz [amd64],\n quux").collect();
        assert_eq!(found, ["foo", "bar", "baz", "quux"]);
    }
}
