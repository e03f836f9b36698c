//! Trees made from a seed, with everything that a Linux filesystem may hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use muster::image::tree::{Content, Kind, Node, Tree};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// A name of any bytes that may stand in one.
    fn name(&mut self, length: usize) -> Vec<u8> {
        let mut name = self.bytes(length);
        for byte in &mut name {
            if *byte == 0 || *byte == b'/' {
                *byte = b'_';
            }
        }
        name
    }
}

pub fn node(kind: Kind) -> Node {
    let mode = if matches!(kind, Kind::Symlink(_)) {
        0o777
    } else {
        0o755
    };
    Node {
        mode,
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        xattrs: BTreeMap::new(),
        kind,
    }
}

pub fn empty_tree() -> Tree {
    Tree {
        nodes: vec![node(Kind::Directory(BTreeMap::new()))],
    }
}

/// Adds a node under a name; returns its index.
pub fn add(tree: &mut Tree, directory: usize, name: impl AsRef<[u8]>, child: Node) -> usize {
    let index = tree.nodes.len();
    tree.nodes.push(child);
    link(tree, directory, name, index);
    index
}

pub fn link(tree: &mut Tree, directory: usize, name: impl AsRef<[u8]>, index: usize) {
    let Kind::Directory(entries) = &mut tree.nodes[directory].kind else {
        panic!("no directory")
    };
    let before = entries.insert(name.as_ref().to_vec(), index);
    assert!(
        before.is_none(),
        "{:?} twice",
        String::from_utf8_lossy(name.as_ref())
    );
}

pub fn directory() -> Node {
    node(Kind::Directory(BTreeMap::new()))
}

pub fn file(bytes: impl Into<Vec<u8>>) -> Node {
    node(Kind::File(Content::Bytes(bytes.into())))
}

/// A file on the host of `size` bytes with a little data here and there.
pub fn sparse_file(path: &Path, size: u64, random: &mut Random) -> Node {
    let host = File::create(path).unwrap();
    host.set_len(size).unwrap();
    for _ in 0..random.below(60) {
        let length = 1 + random.below(200_000) as usize;
        let offset = random.below(size.saturating_sub(length as u64).max(1));
        host.write_all_at(&random.bytes(length), offset).unwrap();
    }
    host.set_len(size).unwrap();
    node(Kind::File(Content::Path {
        path: path.to_path_buf(),
        size,
    }))
}

/// A tree of about `count` nodes of all kinds; files of `Content::Path` lie in `host`.
pub fn random_tree(seed: u64, count: u64, host: &Path) -> Tree {
    let random = &mut Random(seed);
    let mut tree = empty_tree();
    let mut directories = vec![0usize];
    let mut files = Vec::new();
    for serial in 0..count {
        let child = match random.below(20) {
            0..4 => directory(),
            4 | 5 => {
                let length = [1, 58, 59, 60, 61, 200, 4094, 4095][random.below(8) as usize];
                node(Kind::Symlink(random.name(length)))
            }
            6 => node(match random.below(3) {
                0 => Kind::CharDevice(random.below(4096) as u32, random.below(1 << 20) as u32),
                1 => Kind::BlockDevice(random.below(256) as u32, random.below(256) as u32),
                _ => Kind::Fifo,
            }),
            7 => {
                let size = 1 + random.below(3 << 20);
                let node = sparse_file(&host.join(serial.to_string()), size, random);
                assert!(matches!(node.kind, Kind::File(_)));
                node
            }
            _ => {
                let length = [0, 1, 4095, 4096, 4097, 20_000, 70_000][random.below(7) as usize];
                file(random.bytes(length))
            }
        };
        let symlink = matches!(child.kind, Kind::Symlink(_));
        let special = matches!(
            child.kind,
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo | Kind::Symlink(_)
        );
        let child = Node {
            mode: if symlink {
                0o777
            } else {
                random.below(0o10000) as u32
            },
            uid: [0, 1000, 65_534, 100_000, 4_000_000_000][random.below(5) as usize],
            gid: [0, 5, 65_536, 4_000_000_000][random.below(4) as usize],
            mtime: [
                0,
                -1,
                1_700_000_000,
                5_000_000_000,
                -2_000_000_000,
                9_000_000_000,
            ][random.below(6) as usize],
            xattrs: xattrs(random, special),
            ..child
        };
        let parent = match random.below(3) {
            0 => directories[directories.len() - 1],
            _ => directories[random.below(directories.len() as u64) as usize],
        };
        let length = [1, 5, 20, 100, 255][random.below(5) as usize];
        let mut name = random.name(length);
        name.extend_from_slice(serial.to_string().as_bytes());
        name.drain(..name.len().saturating_sub(255));
        let is_directory = matches!(child.kind, Kind::Directory(_));
        let index = add(&mut tree, parent, &name, child);
        if is_directory {
            directories.push(index);
        } else {
            files.push(index);
        }
        if random.below(15) == 0 && !files.is_empty() {
            let target = files[random.below(files.len() as u64) as usize];
            let parent = directories[random.below(directories.len() as u64) as usize];
            link(&mut tree, parent, format!("link-{serial}"), target);
        }
    }
    tree
}

fn xattrs(random: &mut Random, special: bool) -> BTreeMap<String, Vec<u8>> {
    let mut xattrs = BTreeMap::new();
    if random.below(4) > 0 {
        return xattrs;
    }
    let class = if special { "trusted" } else { "user" };
    for number in 0..random.below(5) {
        let length = [0, 1, 20, 77, 500][random.below(5) as usize];
        xattrs.insert(format!("{class}.name-{number}"), random.bytes(length));
    }
    if random.below(3) == 0 && !special {
        // cap_net_raw=ep, version 2
        let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
        capability.resize(20, 0);
        xattrs.insert("security.capability".to_string(), capability);
    }
    xattrs
}
