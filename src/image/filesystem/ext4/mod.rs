//! ext4 written from a tree, without mounting anything (ext4 disk layout, in the kernel's
//! Documentation/filesystems/ext4).
//!
//! Extents, checksummed metadata, hash-tree directories, an internal journal, nanosecond
//! inodes; unused groups are marked and never written. The result can grow online
//! (`resize_inode`) and offline.

mod checksum;
mod content;
mod directory;
mod extent;
mod field;
mod geometry;
mod group;
mod hash;
mod inode;
mod journal;
mod layout;
mod need;
mod number;
pub mod read;
mod superblock;
mod xattr;

use geometry::{BLOCK, BLOCK_LEN, Geometry, INODE_LEN, MOST_BLOCKS};
use group::Groups;
use layout::{LOST_FOUND_BLOCKS, Layout};
use need::Need;
use number::Numbered;

use super::{BlockSink, Filesystem, FilesystemError};
use crate::image::tree::Tree;

const FORMAT: &str = "ext4";
/// Bytes of the disk for each inode, where the tree does not need more inodes.
const BYTES_PER_INODE: u64 = 16_384;
/// The smallest journal that the kernel accepts.
const LEAST_JOURNAL: u64 = 1024;

/// Parameters of an ext4 filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4 {
    /// Volume label, 16 bytes at most.
    pub label: String,
    /// Identity of the filesystem.
    pub uuid: [u8; 16],
    /// Seed of the hash of names; all zeros mean the default one.
    pub hash_seed: [u8; 16],
    /// When it was made, seconds since 1970; also the change time of every inode.
    pub timestamp: i64,
    /// Bytes that [`Filesystem::minimum_size`] leaves free for files to come.
    pub free: u64,
    /// Blocks in per cent that only root may fill.
    pub reserved_percent: u8,
    /// Bytes to which it can grow while mounted without changing its layout; if this is `None`,
    /// 1024 times its size.
    pub grow_to: Option<u64>,
    /// Bytes of the journal; if this is `None`, what suits the size.
    pub journal: Option<u64>,
}

impl Ext4 {
    /// Common parameters: nothing reserved, nothing left free.
    pub fn new(label: &str, uuid: [u8; 16], timestamp: i64) -> Ext4 {
        Ext4 {
            label: label.to_string(),
            uuid,
            hash_seed: uuid,
            timestamp,
            free: 0,
            reserved_percent: 0,
            grow_to: None,
            journal: None,
        }
    }

    fn check(&self) -> Result<(), FilesystemError> {
        let wrong = |what: String| {
            Err(FilesystemError::Parameter {
                format: FORMAT,
                what,
            })
        };
        if self.label.len() > 16 || self.label.contains('\0') {
            return wrong(format!(
                "the label `{}` is longer than 16 bytes",
                self.label
            ));
        }
        if !inode::TIMES.contains(&self.timestamp) {
            return wrong(format!("the time {} is out of range", self.timestamp));
        }
        Ok(())
    }

    /// A geometry of this many blocks in which the needs have room, and the journal's blocks.
    fn fit(&self, blocks: u64, needs: &Needs, free: u64) -> Option<(Geometry, u64)> {
        let inodes = needs
            .inodes
            .max(blocks.saturating_mul(BLOCK) / BYTES_PER_INODE);
        let grow_to = self
            .grow_to
            .map_or(blocks.saturating_mul(1024), |bytes| bytes / BLOCK);
        let geometry = Geometry::new(blocks, inodes, grow_to)?;
        // Metadata between the free runs may cut a file once at each, which can cost two more
        // nodes of its extent tree; the indirect block of the resize inode; lost+found.
        let around = 2 * geometry.free.len() as u64 + 1 + LOST_FOUND_BLOCKS;
        let room = geometry
            .free_blocks()
            .checked_sub(needs.blocks + around + free)?;
        let wanted = match self.journal {
            Some(bytes) => bytes.div_ceil(BLOCK).max(LEAST_JOURNAL),
            None => journal::default_blocks(blocks),
        };
        let mut journal = wanted;
        while journal > room.saturating_sub(8) && self.journal.is_none() {
            journal /= 2;
        }
        (journal >= LEAST_JOURNAL && journal + 8 <= room).then_some((geometry, journal))
    }

    fn minimum_blocks(&self, needs: &Needs, free: u64) -> Result<u64, FilesystemError> {
        let free = free.div_ceil(BLOCK);
        let fits = |blocks| self.fit(blocks, needs, free).is_some();
        let mut high = LEAST_JOURNAL + needs.blocks + free;
        while !fits(high) {
            if high >= MOST_BLOCKS {
                let what = format!("more than {} bytes", MOST_BLOCKS * BLOCK);
                return Err(FilesystemError::TooLarge {
                    format: FORMAT,
                    what,
                });
            }
            high = (high * 2).min(MOST_BLOCKS);
        }
        let mut low = 0;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        Ok(high)
    }
}

/// What a tree needs as a whole.
struct Needs {
    /// Inodes, the reserved ones and some to spare included.
    inodes: u64,
    /// Blocks of data and of the nodes' own metadata.
    blocks: u64,
}

impl Needs {
    fn new(numbered: &Numbered, needs: &[Need]) -> Needs {
        let used = u64::from(numbered.last());
        Needs {
            inodes: used + used / 16 + 16,
            blocks: need::total_blocks(needs),
        }
    }
}

impl Filesystem for Ext4 {
    fn minimum_size(&self, tree: &Tree) -> Result<u64, FilesystemError> {
        self.check()?;
        let numbered = Numbered::new(tree)?;
        let needs = need::needs(tree, &numbered, &self.hash_seed)?;
        Ok(self.minimum_blocks(&Needs::new(&numbered, &needs), self.free)? * BLOCK)
    }

    fn write(&self, tree: &Tree, size: u64, out: &dyn BlockSink) -> Result<(), FilesystemError> {
        self.check()?;
        let numbered = Numbered::new(tree)?;
        let needs = need::needs(tree, &numbered, &self.hash_seed)?;
        let total = Needs::new(&numbered, &needs);
        let too_small = |least: u64| FilesystemError::TooSmall {
            format: FORMAT,
            size,
            needed: least * BLOCK,
        };
        let blocks = (size / BLOCK).min(MOST_BLOCKS);
        let free = self.free.div_ceil(BLOCK);
        let fitting = self
            .fit(blocks, &total, free)
            .or_else(|| self.fit(blocks, &total, 0));
        let (geometry, journal) = match fitting {
            Some(fitting) => fitting,
            None => {
                // A few blocks more can mean one more group, whose metadata takes more than
                // they bring: then the rest stays unused.
                let least = self.minimum_blocks(&total, 0)?;
                let fitting = (least <= size / BLOCK).then(|| self.fit(least, &total, 0));
                fitting.flatten().ok_or_else(|| too_small(least))?
            }
        };
        let seed = checksum::filesystem_seed(&self.uuid);
        let layout = layout::place(self, seed, tree, &numbered, &needs, &geometry, journal)
            .ok_or_else(|| too_small(size / BLOCK + 1))?;
        let contents = content::Contents {
            tree,
            numbered: &numbered,
            needs: &needs,
            hash_seed: &self.hash_seed,
            seed,
        };
        contents.write(&layout.pieces, out)?;
        self.metadata(&geometry, &layout, seed, out)
    }
}

impl Ext4 {
    /// Writes inode tables, bitmaps, descriptors and superblocks.
    fn metadata(
        &self,
        geometry: &Geometry,
        layout: &Layout,
        seed: u32,
        out: &dyn BlockSink,
    ) -> Result<(), FilesystemError> {
        let groups = Groups::new(geometry, layout, seed);
        let write = |block: u64, bytes: &[u8]| {
            out.write_sparse(block * BLOCK, bytes)
                .map_err(FilesystemError::Write)
        };
        let table = geometry.inodes_per_group as usize * INODE_LEN;
        for (inodes, group) in layout.inodes.chunks(table).zip(&geometry.groups) {
            write(group.inode_table, inodes)?;
        }
        for (place, bitmap) in &groups.bitmaps {
            write(*place, bitmap)?;
        }
        for group in (0..geometry.groups.len() as u64).filter(|g| geometry::has_super(*g)) {
            let mut bytes = superblock::encode(self, geometry, layout, &groups, group);
            if group == 0 {
                // The first one leaves 1024 bytes for boot code.
                bytes.splice(0..0, [0; superblock::LEN]);
            }
            bytes.resize(BLOCK_LEN, 0);
            bytes.extend_from_slice(&groups.descriptors);
            write(geometry.extent(group).start, &bytes)?;
        }
        Ok(())
    }
}
