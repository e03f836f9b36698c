//! Files that are whole or absent, whatever happens to the power.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who a file belongs to, by number: a static binary cannot ask the C library for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Writes a file beside its place, syncs it, renames it into place and syncs the directory.
/// The content never stands on disk with wider permissions or another owner.
pub fn write(path: &Path, content: &[u8], mode: u32, owner: Option<Owner>) -> io::Result<()> {
    let temporary = beside(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&temporary)?;
    let mut placed = || {
        // A file left by a power cut keeps its old mode.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    if let Err(error) = placed() {
        // Half a file helps nobody, least of all on a full disk.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(parent(path))
}

/// Makes a directory and its parents, each new one with this mode, and syncs them.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    if above != path {
        make_directory(above, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode))?,
    }
    sync_directory(above)
}

/// Makes a rename or a creation in this directory last.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes all that was written to the filesystem of this path last.
pub fn sync_filesystem(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(&File::open(path)?)?)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok(parent(path).join(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_left_half_written_by_a_power_cut_is_replaced_with_the_right_mode() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("key");
        let left = directory.path().join(".key.new");
        std::fs::write(&left, "half a longer content").expect("left over");
        std::fs::set_permissions(&left, Permissions::from_mode(0o666)).expect("mode");
        write(&path, b"whole", 0o640, None).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"whole");
        let mode = std::fs::metadata(&path)
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert!(!left.exists());
    }

    #[test]
    fn new_parents_get_the_mode_whatever_the_umask() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("a/b");
        make_directory(&path, 0o700).expect("made");
        make_directory(&path, 0o700).expect("made again");
        for path in [&path, &directory.path().join("a")] {
            let mode = std::fs::metadata(path)
                .expect("metadata")
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o700);
        }
    }
}
