//! Group descriptors and bitmaps (ext4 disk layout, §"Block Group Descriptors", §"Block and
//! inode Bitmaps").

use super::checksum::crc32c;
use super::field::{high16, high32, low16, low32, put16, put32};
use super::geometry::{BLOCK_LEN, DESCRIPTOR_LEN, Geometry, Run};
use super::layout::Layout;

const INODES_UNUSED: u16 = 1;
const BLOCKS_UNUSED: u16 = 2;
const TABLE_ZEROED: u16 = 4;
const BITS: usize = 8 * BLOCK_LEN;

/// The state of all groups.
pub struct Groups {
    /// The descriptor table.
    pub descriptors: Vec<u8>,
    /// Bitmaps that must be written, with their places.
    pub bitmaps: Vec<(u64, Vec<u8>)>,
    /// Free blocks in all groups.
    pub free_blocks: u64,
    /// Free inodes in all groups.
    pub free_inodes: u64,
}

impl Groups {
    /// Describes the groups of a layout.
    pub fn new(geometry: &Geometry, layout: &Layout, seed: u32) -> Groups {
        let mut groups = Groups {
            descriptors: vec![0; geometry.descriptor_blocks as usize * BLOCK_LEN],
            bitmaps: Vec::new(),
            free_blocks: 0,
            free_inodes: 0,
        };
        let mut used: Vec<Run> = geometry
            .fixed
            .iter()
            .chain(&layout.taken)
            .copied()
            .collect();
        used.sort_unstable_by_key(|run| run.start);
        let used_inodes = (layout.inodes.len() / super::geometry::INODE_LEN) as u64;
        for group in 0..geometry.groups.len() as u64 {
            groups.describe(geometry, layout, group, &used, used_inodes, seed);
        }
        groups
    }

    fn describe(
        &mut self,
        geometry: &Geometry,
        layout: &Layout,
        group: u64,
        used: &[Run],
        used_inodes: u64,
        seed: u32,
    ) {
        let places = geometry.groups[group as usize];
        let last = group + 1 == geometry.groups.len() as u64;
        let extent = geometry.extent(group);
        let (bitmap, taken) = block_bitmap(extent, used);
        let mut flags = TABLE_ZEROED;
        let mut block_sum = 0;
        if group > 0 && !last && taken == geometry.super_length(group) {
            flags |= BLOCKS_UNUSED;
        } else {
            block_sum = crc32c(seed, &bitmap);
            self.bitmaps.push((places.block_bitmap, bitmap));
        }
        let per_group = geometry.inodes_per_group;
        let first = group * per_group;
        let inodes = used_inodes.saturating_sub(first).min(per_group);
        let mut inode_sum = 0;
        if inodes == 0 {
            flags |= INODES_UNUSED;
        } else {
            let mut bitmap = vec![0; BLOCK_LEN];
            set(&mut bitmap, 0, inodes as usize);
            set(&mut bitmap, per_group as usize, BITS - per_group as usize);
            inode_sum = crc32c(seed, &bitmap[..per_group as usize / 8]);
            self.bitmaps.push((places.inode_bitmap, bitmap));
        }
        let before = |ino: u64| layout.directories.partition_point(|d| u64::from(*d) <= ino);
        let directories = (before(first + per_group) - before(first)) as u32;
        let free_blocks = extent.length - taken;
        let free_inodes = (per_group - inodes) as u32;
        self.free_blocks += free_blocks;
        self.free_inodes += u64::from(free_inodes);

        let at = group as usize * DESCRIPTOR_LEN;
        let record = &mut self.descriptors[at..at + DESCRIPTOR_LEN];
        for (low, high, place) in [
            (0x00, 0x20, places.block_bitmap),
            (0x04, 0x24, places.inode_bitmap),
            (0x08, 0x28, places.inode_table),
        ] {
            put32(record, low, low32(place));
            put32(record, high, high32(place));
        }
        for (low, high, value) in [
            (0x0c, 0x2c, free_blocks as u32),
            (0x0e, 0x2e, free_inodes),
            (0x10, 0x30, directories),
            (0x18, 0x38, block_sum),
            (0x1a, 0x3a, inode_sum),
            (0x1c, 0x32, free_inodes), // inodes never used: the free ones are the last ones
        ] {
            put16(record, low, low16(value));
            put16(record, high, high16(value));
        }
        put16(record, 0x12, flags);
        let sum = crc32c(crc32c(seed, &low32(group).to_le_bytes()), record);
        put16(record, 0x1e, low16(sum));
    }
}

/// The bitmap of a group and how many of its blocks are in use.
fn block_bitmap(extent: Run, used: &[Run]) -> (Vec<u8>, u64) {
    let mut bitmap = vec![0; BLOCK_LEN];
    let mut taken = 0;
    let first = used.partition_point(|run| run.end() <= extent.start);
    for run in used[first..]
        .iter()
        .take_while(|run| run.start < extent.end())
    {
        let from = run.start.max(extent.start);
        let to = run.end().min(extent.end());
        set(
            &mut bitmap,
            (from - extent.start) as usize,
            (to - from) as usize,
        );
        taken += to - from;
    }
    set(
        &mut bitmap,
        extent.length as usize,
        BITS - extent.length as usize,
    );
    (bitmap, taken)
}

fn set(bitmap: &mut [u8], from: usize, count: usize) {
    let mut bit = from;
    let end = from + count;
    while bit < end {
        if bit.is_multiple_of(8) && end - bit >= 8 {
            bitmap[bit / 8] = 0xff;
            bit += 8;
        } else {
            bitmap[bit / 8] |= 1 << (bit % 8);
            bit += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_past_the_end_of_a_short_group_are_set() {
        let used = [
            Run {
                start: 0,
                length: 10,
            },
            Run {
                start: 32768 + 3,
                length: 7,
            },
        ];
        let (bitmap, taken) = block_bitmap(
            Run {
                start: 32768,
                length: 21,
            },
            &used,
        );
        assert_eq!(taken, 7);
        assert_eq!(bitmap[..4], [0b1111_1000, 0b0000_0011, 0b1110_0000, 0xff]);
    }
}
