//! Members of a package's archive: their paths and metadata.

use super::error::Refusal;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use std::fs::File;
use std::io;
use std::path::Path;

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
