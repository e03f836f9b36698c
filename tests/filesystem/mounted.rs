//! A filesystem in a file, mounted through a loop device, compared with the tree it came from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use muster::image::tree::{Content, Kind, Tree};

/// Runs a command that must succeed, and returns what it printed.
pub fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{errors}"
    );
    text
}

/// A folder for images, in memory where that is possible: mounting and unmounting waits for the
/// disk below.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap()
}

/// A mount that ends with the value.
pub struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// Mounts an image, or says that it cannot and returns nothing (only root may mount).
    pub fn new(image: &Path, options: &str) -> Option<Mounted> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: not root, {} is not mounted", image.display());
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let options = format!("loop,{options}");
        run(
            "mount",
            &[
                "-o".as_ref(),
                options.as_ref(),
                image.as_ref(),
                directory.path().as_ref(),
            ],
        );
        Some(Mounted { directory })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mounted {
    /// Programs that other tests start at this moment hold for a moment what they inherited.
    fn drop(&mut self) {
        let mut left = 250;
        while let Err(errno) = nix::mount::umount(self.directory.path()) {
            assert!(errno == nix::Error::EBUSY && left > 0, "{errno}");
            left -= 1;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Compares everything a tree says with what the kernel shows.
pub fn assert_equal(tree: &Tree, root: &Path) {
    let mut seen: BTreeMap<usize, u64> = BTreeMap::new();
    let mut left = vec![(0usize, PathBuf::new())];
    while let Some((index, relative)) = left.pop() {
        let node = &tree.nodes[index];
        let path = root.join(&relative);
        let metadata = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{relative:?}: {e}"));
        let file_type = match &node.kind {
            Kind::Directory(_) => 0o040000,
            Kind::File(_) => 0o100000,
            Kind::Symlink(_) => 0o120000,
            Kind::CharDevice(..) => 0o020000,
            Kind::BlockDevice(..) => 0o060000,
            Kind::Fifo => 0o010000,
        };
        assert_eq!(
            metadata.mode(),
            file_type | node.mode,
            "mode of {relative:?}"
        );
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (node.uid, node.gid),
            "{relative:?}"
        );
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (node.mtime, 0),
            "{relative:?}"
        );
        assert_eq!(xattrs(&path), node.xattrs, "xattrs of {relative:?}");
        if !matches!(node.kind, Kind::Directory(_)) {
            let ino = *seen.entry(index).or_insert(metadata.ino());
            assert_eq!(metadata.ino(), ino, "hard links of {relative:?}");
        }
        match &node.kind {
            Kind::Directory(entries) => {
                let mut names: Vec<Vec<u8>> = fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_vec())
                    .filter(|name| index != 0 || name != b"lost+found")
                    .collect();
                names.sort();
                let expected: Vec<&Vec<u8>> = entries
                    .keys()
                    .filter(|n| index != 0 || *n != b"lost+found")
                    .collect();
                assert_eq!(
                    names.iter().collect::<Vec<_>>(),
                    expected,
                    "names in {relative:?}"
                );
                for (name, child) in entries {
                    left.push((*child, relative.join(OsStr::from_bytes(name))));
                }
            }
            Kind::File(content) => assert_content(content, &path),
            Kind::Symlink(target) => {
                let found = fs::read_link(&path).unwrap().into_os_string().into_vec();
                assert_eq!(&found, target, "target of {relative:?}");
            }
            Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
                let device = nix::sys::stat::makedev(u64::from(*major), u64::from(*minor));
                assert_eq!(metadata.rdev(), device, "device of {relative:?}");
            }
            Kind::Fifo => {}
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    xattr::list(path)
        .unwrap()
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap();
            (name.into_string().unwrap(), value)
        })
        .collect()
}

fn assert_content(content: &Content, path: &Path) {
    let found = fs::File::open(path).unwrap();
    let length = found.metadata().unwrap().len();
    match content {
        Content::Bytes(bytes) => {
            assert_eq!(length, bytes.len() as u64, "{path:?}");
            assert!(fs::read(path).unwrap() == *bytes, "content of {path:?}");
        }
        Content::Path { path: source, size } => {
            assert_eq!(length, *size, "{path:?}");
            let expected = fs::File::open(source).unwrap();
            let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
            for offset in (0..length).step_by(1 << 20) {
                let part = (length - offset).min(1 << 20) as usize;
                expected.read_exact_at(&mut a[..part], offset).unwrap();
                found.read_exact_at(&mut b[..part], offset).unwrap();
                assert!(a[..part] == b[..part], "content of {path:?} at {offset}");
            }
        }
    }
}

/// Compares names, contents and targets with what debugfs takes out of an image; that needs
/// neither root nor a mount.
pub fn assert_debugfs_dumps(tree: &Tree, image: &Path) {
    let folder = scratch();
    let request = format!("rdump / {}", folder.path().display());
    run(
        "debugfs",
        &["-R".as_ref(), request.as_ref(), image.as_ref()],
    );
    let mut left = vec![(0usize, folder.path().to_path_buf())];
    while let Some((index, path)) = left.pop() {
        let node = &tree.nodes[index];
        if matches!(node.kind, Kind::Directory(_) | Kind::File(_)) {
            // Modes are restored too, and may shut even the owner out.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        match &node.kind {
            Kind::Directory(entries) => {
                let names = fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name());
                let mut names: Vec<Vec<u8>> = names
                    .map(OsString::into_vec)
                    .filter(|name| index != 0 || name != b"lost+found")
                    .collect();
                names.sort();
                let dumped = |index: &usize| {
                    let kind = &tree.nodes[*index].kind;
                    matches!(kind, Kind::Directory(_) | Kind::File(_) | Kind::Symlink(_))
                };
                let expected = entries.iter().filter(|(_, child)| dumped(child));
                for (name, child) in expected.clone() {
                    left.push((*child, path.join(OsStr::from_bytes(name))));
                }
                let expected: Vec<&Vec<u8>> = expected.map(|(name, _)| name).collect();
                assert_eq!(
                    names.iter().collect::<Vec<_>>(),
                    expected,
                    "names in {path:?}"
                );
            }
            Kind::File(content) => assert_content(content, &path),
            Kind::Symlink(target) => {
                let found = fs::read_link(&path).unwrap().into_os_string().into_vec();
                assert_eq!(&found, target, "target of {path:?}");
            }
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {}
        }
    }
}
