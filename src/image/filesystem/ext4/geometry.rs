//! Block groups and where their metadata lies (ext4 disk layout, §"Layout", §"Flexible Block
//! Groups"): the metadata of 16 groups is packed at the start of the first of them.

/// Bytes per block.
pub const BLOCK: u64 = 4096;
/// The same for buffers.
pub const BLOCK_LEN: usize = 4096;
/// Blocks per group: the bits of one bitmap block.
pub const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// Bytes per inode.
pub const INODE_LEN: usize = 256;
/// Inodes per block.
pub const INODES_PER_BLOCK: u64 = BLOCK / INODE_LEN as u64;
/// Bytes per group descriptor (`64bit`).
pub const DESCRIPTOR_LEN: usize = 64;
/// log2 of the groups whose metadata lies together.
pub const LOG_GROUPS_PER_FLEX: u8 = 4;
/// Block numbers fit in the 32-bit fields of the resize inode; 16 TiB is enough for an image.
pub const MOST_BLOCKS: u64 = u32::MAX as u64;

const GROUPS_PER_FLEX: u64 = 1 << LOG_GROUPS_PER_FLEX;
/// A last group with fewer data blocks than this is left off, as mke2fs does.
const LEAST_LAST_GROUP: u64 = 50;

/// `length` blocks from `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First block.
    pub start: u64,
    /// Number of blocks.
    pub length: u64,
}

impl Run {
    /// The block after the last one.
    pub fn end(self) -> u64 {
        self.start + self.length
    }
}

/// Places of one group's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Block of the block bitmap.
    pub block_bitmap: u64,
    /// Block of the inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
}

/// The fixed structure of one filesystem.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Blocks in the filesystem (a remainder too small for a group is left off).
    pub blocks: u64,
    /// Inodes in each group.
    pub inodes_per_group: u64,
    /// Blocks of the group descriptor table.
    pub descriptor_blocks: u64,
    /// Blocks after the table into which it can grow while mounted.
    pub reserved_descriptor_blocks: u64,
    /// Metadata of each group.
    pub groups: Vec<Group>,
    /// Everything that is metadata of a fixed place, sorted, not touching data.
    pub fixed: Vec<Run>,
    /// What is left for directories and data, sorted.
    pub free: Vec<Run>,
}

impl Geometry {
    /// Lays out `blocks` blocks with at least `inodes` inodes, able to grow in place to
    /// `grow_to` blocks. `None` if the metadata alone does not fit.
    pub fn new(blocks: u64, inodes: u64, grow_to: u64) -> Option<Geometry> {
        let geometry = Geometry::sized(blocks, inodes, grow_to)?;
        let last = geometry.groups.len() as u64 - 1;
        let rest = blocks - last * BLOCKS_PER_GROUP;
        let own = geometry.super_length(last) + 2 + geometry.table_blocks();
        if last > 0 && rest < own + LEAST_LAST_GROUP {
            return Geometry::sized(blocks - rest, inodes, grow_to);
        }
        Some(geometry)
    }

    fn sized(blocks: u64, inodes: u64, grow_to: u64) -> Option<Geometry> {
        if blocks == 0 || blocks > MOST_BLOCKS {
            return None;
        }
        let count = blocks.div_ceil(BLOCKS_PER_GROUP);
        let inodes_per_group = inodes.div_ceil(count).next_multiple_of(INODES_PER_BLOCK);
        if inodes_per_group > 8 * BLOCK {
            return None;
        }
        let per_block = BLOCK / DESCRIPTOR_LEN as u64;
        let descriptor_blocks = count.div_ceil(per_block);
        let grown = grow_to
            .min(MOST_BLOCKS)
            .div_ceil(BLOCKS_PER_GROUP)
            .div_ceil(per_block);
        let reserved = grown.saturating_sub(descriptor_blocks).clamp(1, BLOCK / 4);
        let mut geometry = Geometry {
            blocks,
            inodes_per_group,
            descriptor_blocks,
            reserved_descriptor_blocks: reserved,
            groups: Vec::with_capacity(count as usize),
            fixed: Vec::new(),
            free: Vec::new(),
        };
        geometry.place(count)?;
        Some(geometry)
    }

    /// Blocks of one group's inode table.
    pub fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Inodes in the filesystem.
    pub fn inodes(&self) -> u64 {
        self.inodes_per_group * self.groups.len() as u64
    }

    /// The blocks of a group.
    pub fn extent(&self, group: u64) -> Run {
        let start = group * BLOCKS_PER_GROUP;
        Run {
            start,
            length: BLOCKS_PER_GROUP.min(self.blocks - start),
        }
    }

    /// How many blocks the superblock and the descriptor table take in a group.
    pub fn super_length(&self, group: u64) -> u64 {
        if has_super(group) {
            1 + self.descriptor_blocks + self.reserved_descriptor_blocks
        } else {
            0
        }
    }

    /// Blocks in free runs.
    pub fn free_blocks(&self) -> u64 {
        self.free.iter().map(|run| run.length).sum()
    }

    fn place(&mut self, count: u64) -> Option<()> {
        let mut fixed = Vec::new();
        for group in (0..count).filter(|group| has_super(*group)) {
            let run = Run {
                start: group * BLOCKS_PER_GROUP,
                length: self.super_length(group),
            };
            if run.end() > self.extent(group).end() {
                return None;
            }
            fixed.push(run);
        }
        let supers = fixed.clone();
        let mut next_super = 0;
        for first in (0..count).step_by(GROUPS_PER_FLEX as usize) {
            let groups = GROUPS_PER_FLEX.min(count - first);
            let limit = ((first + groups) * BLOCKS_PER_GROUP).min(self.blocks);
            let mut cursor = first * BLOCKS_PER_GROUP;
            let mut take = |length: u64| -> Option<u64> {
                while let Some(run) = supers.get(next_super) {
                    if run.start >= cursor + length {
                        break;
                    }
                    cursor = cursor.max(run.end());
                    next_super += 1;
                }
                let start = cursor;
                cursor += length;
                fixed.push(Run { start, length });
                (cursor <= limit).then_some(start)
            };
            let mut places = Vec::new();
            for _ in 0..2 * groups {
                places.push(take(1)?);
            }
            for index in 0..groups as usize {
                let inode_table = take(self.inodes_per_group / INODES_PER_BLOCK)?;
                self.groups.push(Group {
                    block_bitmap: places[index],
                    inode_bitmap: places[groups as usize + index],
                    inode_table,
                });
            }
        }
        fixed.sort_by_key(|run| run.start);
        self.fixed = joined(fixed);
        self.free = complement(&self.fixed, self.blocks);
        Some(())
    }
}

/// Whether a group holds a copy of the superblock (`sparse_super`): 0, 1, powers of 3, 5 and 7.
pub fn has_super(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

/// Joins sorted runs that touch.
pub fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut result: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        match result.last_mut() {
            Some(last) if last.end() == run.start => last.length += run.length,
            _ => result.push(run),
        }
    }
    result
}

fn complement(runs: &[Run], end: u64) -> Vec<Run> {
    let mut free = Vec::new();
    let mut cursor = 0;
    for run in runs {
        if run.start > cursor {
            free.push(Run {
                start: cursor,
                length: run.start - cursor,
            });
        }
        cursor = run.end();
    }
    if cursor < end {
        free.push(Run {
            start: cursor,
            length: end - cursor,
        });
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblock_copies_are_in_groups_0_1_and_powers_of_3_5_7() {
        let groups: Vec<u64> = (0..130).filter(|g| has_super(*g)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn no_metadata_overlaps_whatever_the_size_and_the_inodes() {
        for blocks in [2_000, 32_768, 32_769, 40_000, 98_305, 700_000, 5_000_000] {
            for inodes in [100, 5_000, 30_000, 1_000_000] {
                let Some(geometry) = Geometry::new(blocks, inodes, blocks * 1024) else {
                    continue;
                };
                let mut end = 0;
                for run in &geometry.fixed {
                    assert!(
                        run.start >= end,
                        "{blocks} {inodes}: {run:?} begins before {end}"
                    );
                    end = run.end();
                }
                assert!(end <= geometry.blocks);
                let fixed: u64 = geometry.fixed.iter().map(|run| run.length).sum();
                assert_eq!(fixed + geometry.free_blocks(), geometry.blocks);
                assert!(geometry.inodes() >= inodes);
            }
        }
    }
}
