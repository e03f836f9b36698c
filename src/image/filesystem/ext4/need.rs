//! What each node of a tree needs on the disk, before anything has a place.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

use super::directory::Shape;
use super::extent;
use super::geometry::{BLOCK, BLOCK_LEN};
use super::inode::TIMES;
use super::number::Numbered;
use super::xattr::Xattrs;
use crate::image::filesystem::{FilesystemError, is_zero};
use crate::image::tree::{Content, Kind, Tree};

/// Zeros become a hole in files of at least this many bytes, …
const LEAST_HOLED: u64 = 1 << 20;
/// … where they fill a whole aligned range of this many bytes. The rule looks at content alone:
/// holes on the build host do not show in the image.
const HOLE: usize = 64 << 10;
/// Blocks of a file are counted with 32 bits.
const LARGEST_FILE: u64 = BLOCK * u32::MAX as u64;
/// The longest target of a symbolic link, the longest that fits in the inode, the next one.
const LONGEST_TARGET: usize = 4095;
const LONGEST_IN_INODE: usize = 59;
const LEAST_OUTSIDE: usize = LONGEST_IN_INODE + 1;

/// What one node needs.
#[derive(Debug)]
pub struct Need {
    /// The node.
    pub node: usize,
    /// Its inode.
    pub ino: u32,
    /// `i_size`.
    pub size: u64,
    /// Ranges of blocks that hold data: first block of the file, number.
    pub ranges: Vec<(u64, u64)>,
    /// Whether it is a directory with a hash tree.
    pub indexed: bool,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Need {
    /// Data blocks.
    pub fn data_blocks(&self) -> u64 {
        self.ranges.iter().map(|(_, count)| count).sum()
    }

    fn all_blocks(&self) -> u64 {
        let entries: u64 = self
            .ranges
            .iter()
            .map(|(_, n)| n.div_ceil(extent::LONGEST))
            .sum();
        self.data_blocks()
            + extent::blocks_for(entries as usize) as u64
            + u64::from(self.xattrs.has_block())
    }
}

/// The needs of all nodes, ascending by inode.
pub fn needs(
    tree: &Tree,
    numbered: &Numbered,
    hash_seed: &[u8; 16],
) -> Result<Vec<Need>, FilesystemError> {
    numbered
        .order
        .par_iter()
        .map(|(node, _)| need(tree, numbered, hash_seed, *node))
        .collect()
}

/// Blocks for all of them, if no file is cut by metadata.
pub fn total_blocks(needs: &[Need]) -> u64 {
    needs.iter().map(Need::all_blocks).sum()
}

fn need(
    tree: &Tree,
    numbered: &Numbered,
    hash_seed: &[u8; 16],
    index: usize,
) -> Result<Need, FilesystemError> {
    let refuse = |reason: String| numbered.refuse_node(index, reason);
    let node = &tree.nodes[index];
    if node.mode > 0o7777 {
        return Err(refuse(format!(
            "mode {:o} is more than permission bits",
            node.mode
        )));
    }
    if !TIMES.contains(&node.mtime) {
        return Err(refuse(format!("ext4 cannot hold the time {}", node.mtime)));
    }
    let mut need = Need {
        node: index,
        ino: numbered.ino(index),
        size: 0,
        ranges: Vec::new(),
        indexed: false,
        xattrs: Xattrs::new(&node.xattrs).map_err(refuse)?,
    };
    match &node.kind {
        Kind::Directory(_) => {
            let entries = numbered.entries(index);
            let shape = Shape::new(entries.iter().map(|entry| entry.name), hash_seed)
                .ok_or_else(|| refuse("the directory has too many names".into()))?;
            let blocks = shape.blocks() as u64;
            need.size = blocks * BLOCK;
            need.indexed = shape.is_indexed();
            need.ranges = vec![(0, blocks)];
        }
        Kind::File(content) => {
            need.size = size(content);
            if need.size > LARGEST_FILE {
                return Err(refuse(format!(
                    "ext4 holds at most {LARGEST_FILE} bytes in a file"
                )));
            }
            need.ranges = ranges(content)?;
        }
        Kind::Symlink(target) => {
            need.size = target.len() as u64;
            match target.len() {
                0 => return Err(refuse("a symbolic link needs a target".into())),
                _ if target.contains(&0) => {
                    return Err(refuse(
                        "the target of a link cannot hold a zero byte".into(),
                    ));
                }
                1..=LONGEST_IN_INODE => {}
                LEAST_OUTSIDE..=LONGEST_TARGET => need.ranges = vec![(0, 1)],
                length => {
                    return Err(refuse(format!(
                        "the target of a link has {length} bytes, ext4 holds {LONGEST_TARGET}"
                    )));
                }
            }
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            if *major > 0xfff || *minor > 0xf_ffff {
                return Err(refuse(format!("{major}:{minor} cannot be a device number")));
            }
        }
        Kind::Fifo => {}
    }
    Ok(need)
}

/// Bytes of a file.
pub fn size(content: &Content) -> u64 {
    match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Path { size, .. } => *size,
    }
}

/// The ranges of a file's blocks that are not holes.
fn ranges(content: &Content) -> Result<Vec<(u64, u64)>, FilesystemError> {
    let size = size(content);
    let blocks = size.div_ceil(BLOCK);
    if size < LEAST_HOLED {
        return Ok(if blocks == 0 {
            Vec::new()
        } else {
            vec![(0, blocks)]
        });
    }
    let mut zero = ZeroTest::new(content)?;
    let mut result: Vec<(u64, u64)> = Vec::new();
    let step = HOLE as u64;
    for start in (0..size).step_by(HOLE) {
        if zero.holds(start, step.min(size - start))? {
            continue;
        }
        let first = start / BLOCK;
        let count = (step / BLOCK).min(blocks - first);
        match result.last_mut() {
            Some((from, length)) if *from + *length == first => *length += count,
            _ => result.push((first, count)),
        }
    }
    Ok(result)
}

/// Tells whether a range of a file is all zeros, reading no more than it must.
enum ZeroTest<'t> {
    Bytes(&'t [u8]),
    File {
        file: File,
        content: &'t Content,
        buffer: Vec<u8>,
    },
}

impl<'t> ZeroTest<'t> {
    fn new(content: &'t Content) -> Result<ZeroTest<'t>, FilesystemError> {
        Ok(match content {
            Content::Bytes(bytes) => ZeroTest::Bytes(bytes),
            Content::Path { path, .. } => {
                let file = File::open(path).map_err(|source| FilesystemError::Read {
                    path: path.clone(),
                    source,
                })?;
                ZeroTest::File {
                    file,
                    content,
                    buffer: vec![0; HOLE],
                }
            }
        })
    }

    fn holds(&mut self, start: u64, length: u64) -> Result<bool, FilesystemError> {
        match self {
            ZeroTest::Bytes(bytes) => Ok(is_zero(&bytes[start as usize..][..length as usize])),
            ZeroTest::File {
                file,
                content,
                buffer,
            } => {
                // Data nearly always shows in the first block.
                let head = (length as usize).min(BLOCK_LEN);
                read(file, content, start, &mut buffer[..head])?;
                if !is_zero(&buffer[..head]) {
                    return Ok(false);
                }
                let rest = &mut buffer[head..length as usize];
                read(file, content, start + head as u64, rest)?;
                Ok(is_zero(rest))
            }
        }
    }
}

fn read(
    file: &File,
    content: &Content,
    offset: u64,
    into: &mut [u8],
) -> Result<(), FilesystemError> {
    let Content::Path { path, size } = content else {
        return Ok(());
    };
    file.read_exact_at(into, offset).map_err(|source| {
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            let found = file.metadata().map_or(0, |metadata| metadata.len());
            FilesystemError::Changed {
                path: path.clone(),
                expected: *size,
                found,
            }
        } else {
            FilesystemError::Read {
                path: path.clone(),
                source,
            }
        }
    })
}
