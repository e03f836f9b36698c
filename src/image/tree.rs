//! The virtual tree: nodes, owners, modes, capabilities and xattrs are metadata in memory;
//! content comes from the cache or from the directory where maintainer scripts ran.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file tree that needs no privileges to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Nodes by index; 0 is the root directory.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// A tree with nothing in it, from this moment (seconds since 1970).
    pub fn empty(epoch: i64) -> Tree {
        let root = Node {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: epoch,
            xattrs: BTreeMap::new(),
            kind: Kind::Directory(BTreeMap::new()),
        };
        Tree { nodes: vec![root] }
    }
}

/// One inode.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Permission bits with setuid, setgid and sticky, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes with full names (`security.capability`, `user.x`), sorted.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Entries by name (bytes, no `/`, not `.` or `..`) → node index. A file index that
    /// appears more than once is a hard link.
    Directory(BTreeMap<Vec<u8>, usize>),
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// A file on the build host, read when written.
    Path {
        /// Where.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
}
