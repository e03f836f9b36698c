//! From the directory where the scripts ran to the virtual tree.

use super::error::Error;
use super::tree::{Content, Kind, Node, Tree};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Reads the tree below `root`. Nothing in it is younger than `epoch` (seconds since 1970).
/// File contents stay where they are.
pub fn harvest(root: &Path, epoch: i64) -> Result<Tree, Error> {
    let Some(found) = find(root)? else {
        return Ok(Tree::empty(epoch));
    };
    let mut harvest = Harvest {
        nodes: Vec::new(),
        links: HashMap::new(),
        epoch,
    };
    harvest.node(found);
    Ok(Tree {
        nodes: harvest.nodes,
    })
}

/// What stands at a path.
struct Found {
    metadata: Metadata,
    xattrs: BTreeMap<String, Vec<u8>>,
    kind: Kind,
    /// Of a directory, sorted by name.
    entries: Vec<(Vec<u8>, Found)>,
}

/// Looks at a path and everything below it, on all processors. Nothing where a socket stands:
/// it belongs to a process, and none outlives the build.
fn find(path: &Path) -> Result<Option<Found>, Error> {
    let read = || Error::io("cannot read", path);
    let metadata = fs::symlink_metadata(path).map_err(read())?;
    let kind = metadata.file_type();
    let mut entries = Vec::new();
    let (major, minor) = device(metadata.rdev());
    let kind = match () {
        () if kind.is_socket() => return Ok(None),
        () if kind.is_dir() => {
            entries = below(path)?;
            Kind::Directory(BTreeMap::new())
        }
        () if kind.is_file() => Kind::File(Content::Path {
            path: path.to_path_buf(),
            size: metadata.len(),
        }),
        () if kind.is_symlink() => {
            let target = fs::read_link(path).map_err(read())?;
            Kind::Symlink(target.as_os_str().as_bytes().to_vec())
        }
        () if kind.is_char_device() => Kind::CharDevice(major, minor),
        () if kind.is_block_device() => Kind::BlockDevice(major, minor),
        () => Kind::Fifo,
    };
    Ok(Some(Found {
        xattrs: xattrs(path, &metadata).map_err(read())?,
        metadata,
        kind,
        entries,
    }))
}

fn below(path: &Path) -> Result<Vec<(Vec<u8>, Found)>, Error> {
    let names = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let mut names: Vec<_> = names.map_err(Error::io("cannot read", path))?;
    names.sort_unstable();
    let found: Vec<Option<Found>> = names
        .par_iter()
        .map(|name| find(&path.join(name)))
        .collect::<Result<_, Error>>()?;
    let pairs = names.into_iter().zip(found);
    Ok(pairs
        .filter_map(|(name, found)| Some((name.into_vec(), found?)))
        .collect())
}

struct Harvest {
    nodes: Vec<Node>,
    /// Files with several names: (device, inode) → node.
    links: HashMap<(u64, u64), usize>,
    epoch: i64,
}

impl Harvest {
    /// Adds a node and everything below it; its index.
    fn node(&mut self, found: Found) -> usize {
        let Found { metadata, .. } = found;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(&index) = self.links.get(&identity) {
            return index;
        }
        let index = self.nodes.len();
        if !metadata.is_dir() && metadata.nlink() > 1 {
            self.links.insert(identity, index);
        }
        self.nodes.push(Node {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime().min(self.epoch),
            xattrs: found.xattrs,
            kind: found.kind,
        });
        let entries: BTreeMap<Vec<u8>, usize> = found
            .entries
            .into_iter()
            .map(|(name, found)| (name, self.node(found)))
            .collect();
        if let Kind::Directory(empty) = &mut self.nodes[index].kind {
            *empty = entries;
        }
        index
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
