//! From the directory where the scripts ran to the virtual tree.

use super::error::Error;
use super::tree::{Content, Kind, Node, Tree};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Reads the tree below `root`. Nothing in it is younger than `epoch` (seconds since 1970).
/// File contents stay where they are.
pub fn harvest(root: &Path, epoch: i64) -> Result<Tree, Error> {
    let mut harvest = Harvest {
        nodes: Vec::new(),
        links: HashMap::new(),
        epoch,
    };
    harvest.node(root)?;
    Ok(Tree {
        nodes: harvest.nodes,
    })
}

struct Harvest {
    nodes: Vec<Node>,
    /// Files with several names: (device, inode) → node.
    links: HashMap<(u64, u64), usize>,
    epoch: i64,
}

impl Harvest {
    fn node(&mut self, path: &Path) -> Result<Option<usize>, Error> {
        let read = || Error::io("cannot read", path);
        let metadata = fs::symlink_metadata(path).map_err(read())?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(&index) = self.links.get(&identity) {
            return Ok(Some(index));
        }
        let kind = metadata.file_type();
        if kind.is_socket() {
            // Sockets belong to processes, and none outlives the build.
            return Ok(None);
        }
        let index = self.nodes.len();
        if !kind.is_dir() && metadata.nlink() > 1 {
            self.links.insert(identity, index);
        }
        self.nodes.push(Node {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime().min(self.epoch),
            xattrs: xattrs(path, &metadata).map_err(read())?,
            kind: Kind::Fifo,
        });
        self.nodes[index].kind = if kind.is_dir() {
            let mut names: Vec<_> = fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
                .map_err(read())?;
            names.sort_unstable();
            let mut entries = BTreeMap::new();
            for name in names {
                if let Some(index) = self.node(&path.join(&name))? {
                    entries.insert(name.into_vec(), index);
                }
            }
            Kind::Directory(entries)
        } else if kind.is_file() {
            Kind::File(Content::Path {
                path: path.to_path_buf(),
                size: metadata.len(),
            })
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(read())?;
            Kind::Symlink(target.as_os_str().as_bytes().to_vec())
        } else if kind.is_char_device() {
            let (major, minor) = device(metadata.rdev());
            Kind::CharDevice(major, minor)
        } else if kind.is_block_device() {
            let (major, minor) = device(metadata.rdev());
            Kind::BlockDevice(major, minor)
        } else {
            Kind::Fifo
        };
        Ok(Some(index))
    }
}

fn xattrs(path: &Path, metadata: &Metadata) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    if metadata.file_type().is_symlink() {
        return Ok(found);
    }
    for name in xattr::list(path)? {
        let name = name.to_string_lossy().into_owned();
        // The build host's own labels are not the image's.
        if name.starts_with("security.selinux") || name.starts_with("trusted.") {
            continue;
        }
        if let Some(value) = xattr::get(path, &name)? {
            found.insert(name, value);
        }
    }
    Ok(found)
}

fn device(number: u64) -> (u32, u32) {
    let major = nix::sys::stat::major(number);
    let minor = nix::sys::stat::minor(number);
    (
        u32::try_from(major).unwrap_or(0),
        u32::try_from(minor).unwrap_or(0),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_share_a_node_and_nothing_is_younger_than_the_image() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), b"one").unwrap();
        fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
        std::os::unix::fs::symlink("a", root.path().join("c")).unwrap();
        let tree = harvest(root.path(), 1000).unwrap();
        assert_eq!(tree.nodes.len(), 3);
        assert!(tree.nodes.iter().all(|node| node.mtime == 1000));
        let Kind::Directory(entries) = &tree.nodes[0].kind else {
            panic!("no directory")
        };
        assert_eq!(entries[&b"a"[..]], entries[&b"b"[..]]);
        assert_eq!(
            tree.nodes[entries[&b"c"[..]]].kind,
            Kind::Symlink(b"a".to_vec())
        );
    }
}
