//! The superblock and its copies (ext4 disk layout, §"Super Block").

use super::Ext4;
use super::checksum::crc32c;
use super::field::{high32, low32, put16, put32};
use super::geometry::{BLOCKS_PER_GROUP, Geometry, LOG_GROUPS_PER_FLEX};
use super::group::Groups;
use super::inode::{EXTRA, FIRST, JOURNAL};
use super::layout::Layout;

/// Bytes of a superblock, and where the first one begins.
pub const LEN: usize = 1024;

/// has_journal, ext_attr, resize_inode, dir_index.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// filetype, extents, 64bit, flex_bg.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

const CHECKSUM: usize = 0x3fc;

/// The superblock as group `group` holds it.
pub fn encode(
    format: &Ext4,
    geometry: &Geometry,
    layout: &Layout,
    groups: &Groups,
    group: u64,
) -> Vec<u8> {
    let mut record = vec![0; LEN];
    let reserved = geometry.blocks * u64::from(format.reserved_percent.min(50)) / 100;
    for (low, high, blocks) in [
        (0x04, 0x150, geometry.blocks),
        (0x08, 0x154, reserved),
        (0x0c, 0x158, groups.free_blocks),
    ] {
        put32(&mut record, low, low32(blocks));
        put32(&mut record, high, high32(blocks));
    }
    for (at, value) in [
        (0x00, low32(geometry.inodes())),
        (0x10, low32(groups.free_inodes)),
        (0x18, 2), // log2 of block size - 10
        (0x1c, 2), // the same for clusters
        (0x20, low32(BLOCKS_PER_GROUP)),
        (0x24, low32(BLOCKS_PER_GROUP)),
        (0x28, low32(geometry.inodes_per_group)),
        (0x4c, 1), // revision with dynamic inode sizes
        (0x54, FIRST),
        (0x5c, COMPATIBLE),
        (0x60, INCOMPATIBLE),
        (0x64, READ_ONLY_COMPATIBLE),
        (0xe0, JOURNAL),
        (0x100, 0x4 | 0x8), // mount with user_xattr and acl
        (0x160, 1),         // hashes of names take characters as signed
    ] {
        put32(&mut record, at, value);
    }
    for (at, value) in [
        (0x36, 0xffff), // no check after a number of mounts
        (0x38, 0xef53),
        (0x3a, 1), // clean
        (0x3c, 2), // after an error it may only be read
        (0x58, super::geometry::INODE_LEN as u16),
        (0x5a, group as u16),
        (0xce, geometry.reserved_descriptor_blocks as u16),
        (0xfe, super::geometry::DESCRIPTOR_LEN as u16),
        (0x15c, EXTRA),
        (0x15e, EXTRA),
    ] {
        put16(&mut record, at, value);
    }
    record[0x68..0x78].copy_from_slice(&format.uuid);
    record[0x78..0x78 + format.label.len()].copy_from_slice(format.label.as_bytes());
    record[0xec..0xfc].copy_from_slice(&format.hash_seed);
    record[0xfc] = 1; // half-MD4
    record[0x174] = LOG_GROUPS_PER_FLEX;
    record[0x175] = 1; // CRC-32C
    // A copy of the journal's inode, by which e2fsck finds a lost journal.
    record[0xfd] = 1;
    record[0x10c..0x148].copy_from_slice(&layout.journal.0);
    put32(&mut record, 0x148, high32(layout.journal.1));
    put32(&mut record, 0x14c, low32(layout.journal.1));
    // Written, last checked, made.
    for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
        put32(&mut record, low, low32(format.timestamp as u64));
        record[high] = high32(format.timestamp as u64) as u8;
    }
    let sum = crc32c(!0, &record[..CHECKSUM]);
    put32(&mut record, CHECKSUM, sum);
    record
}
