//! Places for everything: a tree's needs and a geometry become inodes and pieces of data.

use super::Ext4;
use super::checksum::inode_seed;
use super::extent::{self, Extent};
use super::field::put32;
use super::geometry::{BLOCK, BLOCK_LEN, BLOCKS_PER_GROUP, Geometry, INODE_LEN, Run, has_super};
use super::inode::{self, FIRST, Inode, JOURNAL, RESIZE, ROOT, kind};
use super::need::Need;
use super::number::Numbered;
use super::{directory, journal};
use crate::image::tree::{Kind, Tree};

/// Blocks of a `lost+found` of our own: e2fsck can use it without finding space first.
pub const LOST_FOUND_BLOCKS: u64 = 4;
/// Longest piece of file data: what one thread reads and writes at once.
pub const LONGEST_PIECE: u64 = 256;

/// What goes into a run of blocks.
#[derive(Debug)]
pub enum Source {
    /// Bytes that are known.
    Bytes(Vec<u8>),
    /// A directory, from this block of it on.
    Directory {
        /// Position in the list of needs.
        need: usize,
        /// First block.
        block: u64,
    },
    /// A file's or a long link's bytes.
    File {
        /// Node in the tree.
        node: usize,
        /// First byte.
        offset: u64,
    },
}

/// A run of blocks and what goes into it.
#[derive(Debug)]
pub struct Piece {
    /// Where.
    pub run: Run,
    /// What.
    pub source: Source,
}

/// A filesystem in which everything has a place.
pub struct Layout {
    /// Encoded inodes from number 1 on.
    pub inodes: Vec<u8>,
    /// What to write, ascending by place.
    pub pieces: Vec<Piece>,
    /// Blocks taken in the free runs of the geometry, ascending.
    pub taken: Vec<Run>,
    /// Numbers of the directories, ascending.
    pub directories: Vec<u32>,
    /// `i_block` and size of the journal, which the superblock repeats.
    pub journal: ([u8; 60], u64),
}

/// Gives out the free runs in order.
struct Space<'g> {
    free: &'g [Run],
    at: usize,
    used: u64,
}

impl Space<'_> {
    /// The next `length` blocks, in as many runs as the metadata between them makes.
    fn take(&mut self, length: u64) -> Option<Vec<Run>> {
        let mut runs = Vec::with_capacity(1);
        let mut left = length;
        while left > 0 {
            let run = self.free.get(self.at)?;
            let length = left.min(run.length - self.used);
            if length > 0 {
                runs.push(Run {
                    start: run.start + self.used,
                    length,
                });
            }
            left -= length;
            self.used += length;
            if self.used == run.length {
                self.at += 1;
                self.used = 0;
            }
        }
        Some(runs)
    }

    fn taken(&self) -> Vec<Run> {
        let mut taken = self.free[..self.at].to_vec();
        if self.used > 0 {
            taken.push(Run {
                start: self.free[self.at].start,
                length: self.used,
            });
        }
        taken
    }
}

/// Blocks of an inode's content and how they were mapped.
struct Mapped {
    block: [u8; 60],
    blocks: u64,
    extents: Vec<Extent>,
}

struct Builder<'a> {
    format: &'a Ext4,
    seed: u32,
    tree: &'a Tree,
    numbered: &'a Numbered<'a>,
    space: Space<'a>,
    layout: Layout,
}

/// Places everything; `None` if the free runs do not suffice.
pub fn place(
    format: &Ext4,
    seed: u32,
    tree: &Tree,
    numbered: &Numbered,
    needs: &[Need],
    geometry: &Geometry,
    journal_blocks: u64,
) -> Option<Layout> {
    let mut builder = Builder {
        format,
        seed,
        tree,
        numbered,
        space: Space {
            free: &geometry.free,
            at: 0,
            used: 0,
        },
        layout: Layout {
            inodes: vec![0; numbered.last() as usize * INODE_LEN],
            pieces: Vec::with_capacity(needs.len()),
            taken: Vec::new(),
            directories: Vec::new(),
            journal: ([0; 60], 0),
        },
    };
    builder.resize_inode(geometry)?;
    builder.journal(journal_blocks)?;
    if !numbered.has_lost_found {
        builder.lost_found()?;
    }
    let is_directory = |need: &Need| matches!(tree.nodes[need.node].kind, Kind::Directory(_));
    for (at, need) in needs
        .iter()
        .enumerate()
        .filter(|(_, need)| is_directory(need))
    {
        builder.node(at, need)?;
        builder.layout.directories.push(need.ino);
    }
    for (at, need) in needs
        .iter()
        .enumerate()
        .filter(|(_, need)| !is_directory(need))
    {
        builder.node(at, need)?;
    }
    let mut layout = builder.layout;
    layout.taken = builder.space.taken();
    layout.directories.sort_unstable();
    layout.pieces.sort_unstable_by_key(|piece| piece.run.start);
    Some(layout)
}

impl Builder<'_> {
    /// Takes blocks for ranges of a file and for the nodes of its extent tree.
    fn map(&mut self, ino: u32, ranges: &[(u64, u64)]) -> Option<Mapped> {
        let mut mapped = Vec::with_capacity(1);
        let mut blocks = 0;
        for (first, count) in ranges {
            let mut logical = *first;
            for run in self.space.take(*count)? {
                mapped.push(Extent { logical, run });
                logical += run.length;
            }
            blocks += count;
        }
        let entries = extent::entries(&mapped);
        let mut places = Vec::new();
        for _ in 0..extent::blocks_for(entries.len()) {
            places.push(self.space.take(1)?.first()?.start);
        }
        let encoded = extent::encode(&entries, &places, inode_seed(self.seed, ino));
        for (start, bytes) in encoded.blocks {
            self.piece(Run { start, length: 1 }, Source::Bytes(bytes));
        }
        blocks += places.len() as u64;
        Some(Mapped {
            block: encoded.root,
            blocks,
            extents: mapped,
        })
    }

    fn piece(&mut self, run: Run, source: Source) {
        self.layout.pieces.push(Piece { run, source });
    }

    fn store(&mut self, ino: u32, inode: &Inode) {
        let at = (ino as usize - 1) * INODE_LEN;
        inode.encode(&mut self.layout.inodes[at..at + INODE_LEN], ino, self.seed);
    }

    /// An inode of the filesystem's own.
    fn own(&self, mode: u16, size: u64) -> Inode {
        Inode {
            mode,
            uid: 0,
            gid: 0,
            size,
            links: 1,
            modified: self.format.timestamp,
            created: self.format.timestamp,
            flags: 0,
            block: [0; 60],
            blocks: 0,
            attributes: 0,
            body: [0; INODE_LEN - inode::BODY],
        }
    }

    /// The blocks behind the group descriptors and their copies, as one file with a double
    /// indirect block (ext4 disk layout, §"The resize inode").
    fn resize_inode(&mut self, geometry: &Geometry) -> Option<()> {
        let pointers = BLOCK / 4;
        let indirect = self.space.take(1)?.first()?.start;
        let copies: Vec<u64> = (1..geometry.groups.len() as u64)
            .filter(|group| has_super(*group))
            .collect();
        let mut double = vec![0; BLOCK_LEN];
        let reserved = geometry.reserved_descriptor_blocks;
        for index in geometry.descriptor_blocks..geometry.descriptor_blocks + reserved {
            let place = 1 + index;
            put32(&mut double, (index % pointers) as usize * 4, place as u32);
            if copies.is_empty() {
                continue;
            }
            let mut block = vec![0; BLOCK_LEN];
            for (slot, group) in copies.iter().enumerate() {
                put32(
                    &mut block,
                    slot * 4,
                    (place + group * BLOCKS_PER_GROUP) as u32,
                );
            }
            self.piece(
                Run {
                    start: place,
                    length: 1,
                },
                Source::Bytes(block),
            );
        }
        self.piece(
            Run {
                start: indirect,
                length: 1,
            },
            Source::Bytes(double),
        );
        let size = (pointers * pointers + pointers + 12) * BLOCK;
        let mut inode = self.own(kind::FILE | 0o600, size);
        put32(&mut inode.block, 13 * 4, indirect as u32);
        inode.blocks = 1 + reserved * (1 + copies.len() as u64);
        self.store(RESIZE, &inode);
        Some(())
    }

    fn journal(&mut self, blocks: u64) -> Option<()> {
        let mapped = self.map(JOURNAL, &[(0, blocks)])?;
        let first = mapped.extents.first()?.run.start;
        let superblock = journal::superblock(blocks, &self.format.uuid);
        self.piece(
            Run {
                start: first,
                length: 1,
            },
            Source::Bytes(superblock),
        );
        let mut inode = self.own(kind::FILE | 0o600, blocks * BLOCK);
        inode.flags = inode::USES_EXTENTS;
        inode.block = mapped.block;
        inode.blocks = mapped.blocks;
        self.store(JOURNAL, &inode);
        self.layout.journal = (mapped.block, inode.size);
        Some(())
    }

    fn lost_found(&mut self) -> Option<()> {
        let mapped = self.map(FIRST, &[(0, LOST_FOUND_BLOCKS)])?;
        let seed = inode_seed(self.seed, FIRST);
        let mut bytes = directory::empty(FIRST, ROOT, LOST_FOUND_BLOCKS as usize, seed);
        for extent in &mapped.extents {
            let rest = bytes.split_off(extent.run.length as usize * BLOCK_LEN);
            self.piece(extent.run, Source::Bytes(bytes));
            bytes = rest;
        }
        let mut inode = self.own(kind::DIRECTORY | 0o700, LOST_FOUND_BLOCKS * BLOCK);
        inode.links = 2;
        inode.flags = inode::USES_EXTENTS;
        inode.block = mapped.block;
        inode.blocks = mapped.blocks;
        self.store(FIRST, &inode);
        self.layout.directories.push(FIRST);
        Some(())
    }

    fn node(&mut self, at: usize, need: &Need) -> Option<()> {
        let node = &self.tree.nodes[need.node];
        let mut inode = Inode {
            uid: node.uid,
            gid: node.gid,
            links: self.numbered.links(need.node),
            modified: node.mtime,
            body: need.xattrs.body(),
            ..self.own(node.mode as u16, need.size)
        };
        inode.mode |= match &node.kind {
            Kind::Directory(_) => kind::DIRECTORY,
            Kind::File(_) => kind::FILE,
            Kind::Symlink(_) => kind::SYMLINK,
            Kind::CharDevice(..) => kind::CHARACTER,
            Kind::BlockDevice(..) => kind::BLOCK,
            Kind::Fifo => kind::FIFO,
        };
        match &node.kind {
            Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
                inode.block = inode::device(*major, *minor);
            }
            Kind::Symlink(target) if need.ranges.is_empty() => {
                inode.block[..target.len()].copy_from_slice(target);
            }
            Kind::Fifo => {}
            Kind::Directory(_) | Kind::File(_) | Kind::Symlink(_) => {
                let mapped = self.map(need.ino, &need.ranges)?;
                inode.flags = inode::USES_EXTENTS;
                if need.indexed {
                    inode.flags |= inode::INDEXED;
                }
                inode.block = mapped.block;
                inode.blocks = mapped.blocks;
                let directory = matches!(node.kind, Kind::Directory(_));
                for extent in mapped.extents {
                    self.pieces(at, need.node, directory, extent);
                }
            }
        }
        if need.xattrs.has_block() {
            inode.attributes = self.space.take(1)?.first()?.start;
            inode.blocks += 1;
            let bytes = need.xattrs.block(inode.attributes, self.seed);
            self.piece(
                Run {
                    start: inode.attributes,
                    length: 1,
                },
                Source::Bytes(bytes),
            );
        }
        self.store(need.ino, &inode);
        Some(())
    }

    fn pieces(&mut self, need: usize, node: usize, directory: bool, extent: Extent) {
        if directory {
            let source = Source::Directory {
                need,
                block: extent.logical,
            };
            return self.piece(extent.run, source);
        }
        let mut done = 0;
        while done < extent.run.length {
            let length = LONGEST_PIECE.min(extent.run.length - done);
            let offset = (extent.logical + done) * BLOCK;
            let run = Run {
                start: extent.run.start + done,
                length,
            };
            self.piece(run, Source::File { node, offset });
            done += length;
        }
    }
}
