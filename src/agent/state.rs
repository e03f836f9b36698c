//! State paths: copied from the image to the data partition once, then bound over the image.

use super::{AgentError, Result, at};
use crate::bringup::process::Program;
use crate::site::durable;
use nix::mount::{MsFlags, mount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Copies `path` (absolute, as in the plan) from the image at `root` to `data`, unless it
/// was copied before. A copy is made beside its place and renamed: it is whole or absent.
pub fn copy(root: &Path, data: &Path, path: &str) -> Result<PathBuf> {
    let relative = path.trim_start_matches('/');
    let (from, to) = (root.join(relative), data.join("state").join(relative));
    if to.is_dir() {
        return Ok(to);
    }
    let folder = to.parent().unwrap_or(data);
    durable::make_directory(folder, 0o755).map_err(at(folder))?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(at(&beside))?;
    }
    if from.is_dir() {
        let words = [&from, &beside].map(|path| path.to_string_lossy().into_owned());
        let command = ["cp", "-a", "--reflink=auto", "--", &words[0], &words[1]];
        Program {
            limit: Duration::from_secs(3600),
            ..Program::new(command)
        }
        .run()?;
    } else {
        durable::make_directory(&beside, 0o755).map_err(at(&beside))?;
    }
    // Everything below must be on the disk before the name that says so.
    let folder_file = std::fs::File::open(folder).map_err(at(folder))?;
    nix::unistd::syncfs(&folder_file).map_err(|error| AgentError::System {
        what: "cannot sync the data partition",
        error,
    })?;
    std::fs::rename(&beside, &to).map_err(at(&to))?;
    durable::sync_directory(folder).map_err(at(folder))?;
    Ok(to)
}

/// Binds the copy over the image's path, unless something is mounted there already.
pub fn bind(root: &Path, copy: &Path, path: &str) -> Result<()> {
    let target = root.join(path.trim_start_matches('/'));
    durable::make_directory(&target, 0o755).map_err(at(&target))?;
    if mounted(&target)? {
        return Ok(());
    }
    mount(
        Some(copy),
        &target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|error| AgentError::Mount {
        what: copy.into(),
        at: target,
        error,
    })
}

/// Whether something is mounted exactly here.
pub fn mounted(path: &Path) -> Result<bool> {
    // The thread's own: a thread may have a mount namespace of its own.
    let table = Path::new("/proc/thread-self/mountinfo");
    let text = std::fs::read_to_string(table).map_err(at(table))?;
    Ok(mount_points(&text)
        .iter()
        .any(|point| Path::new(point) == path))
}

/// The mount points of a mountinfo file (proc(5)), octal escapes undone.
fn mount_points(mountinfo: &str) -> Vec<String> {
    let point = |line: &str| line.split(' ').nth(4).map(unescape);
    mountinfo.lines().filter_map(point).collect()
}

fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_string(), |text, (escape, letter)| {
            text.replace(escape, letter)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        let state = root.path().join("var/lib/x");
        std::fs::create_dir_all(state.join("inner")).expect("a folder");
        std::fs::write(state.join("inner/a"), "content").expect("written");
        std::fs::hard_link(state.join("inner/a"), state.join("b")).expect("linked");
        symlink("inner/a", state.join("c")).expect("linked");
        xattr::set(state.join("b"), "user.note", b"kept").expect("an attribute");
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o2750)).expect("mode");
        root
    }

    #[test]
    fn a_copy_keeps_modes_links_and_attributes_and_is_made_once() {
        let (root, data) = (image(), tempfile::tempdir().expect("a temporary directory"));
        let to = copy(root.path(), data.path(), "/var/lib/x").expect("copied");
        assert_eq!(to, data.path().join("state/var/lib/x"));
        let meta = |name: &str| std::fs::symlink_metadata(to.join(name)).expect("metadata");
        assert_eq!(meta("").permissions().mode() & 0o7777, 0o2750);
        assert_eq!(meta("b").ino(), meta("inner/a").ino());
        assert!(meta("c").is_symlink());
        let note = xattr::get(to.join("b"), "user.note").expect("read");
        assert_eq!(note.as_deref(), Some(&b"kept"[..]));

        std::fs::write(to.join("b"), "grown").expect("written");
        copy(root.path(), data.path(), "/var/lib/x").expect("kept");
        assert_eq!(
            std::fs::read_to_string(to.join("b")).expect("read"),
            "grown"
        );
    }

    #[test]
    fn a_copy_cut_short_by_a_power_loss_is_made_again() {
        let (root, data) = (image(), tempfile::tempdir().expect("a temporary directory"));
        let half = data.path().join("state/var/lib/.x.new");
        std::fs::create_dir_all(&half).expect("a folder");
        std::fs::write(half.join("b"), "torn").expect("written");
        let to = copy(root.path(), data.path(), "/var/lib/x").expect("copied");
        assert_eq!(
            std::fs::read_to_string(to.join("b")).expect("read"),
            "content"
        );
        assert!(!half.exists());
    }

    #[test]
    fn a_path_the_image_does_not_have_becomes_an_empty_directory() {
        let (root, data) = (image(), tempfile::tempdir().expect("a temporary directory"));
        let to = copy(root.path(), data.path(), "/var/lib/new").expect("made");
        assert_eq!(std::fs::read_dir(to).expect("a folder").count(), 0);
    }

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n";
        assert_eq!(mount_points(text), ["/mnt 2"]);
    }
}
