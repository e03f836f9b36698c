//! Inodes (ext4 disk layout, §"Inode Table").

use super::checksum::{crc32c, inode_seed};
use super::field::{high16, high32, low16, low32, put16, put32};
use super::geometry::INODE_LEN;

/// The root directory.
pub const ROOT: u32 = 2;
/// The inode that holds the blocks kept for the group descriptor table.
pub const RESIZE: u32 = 7;
/// The journal.
pub const JOURNAL: u32 = 8;
/// First inode that is not reserved; `lost+found`.
pub const FIRST: u32 = 11;

/// Fixed fields past the first 128 bytes.
pub const EXTRA: u16 = 32;
/// Where extended attributes begin.
pub const BODY: usize = 128 + EXTRA as usize;

/// `EXT4_EXTENTS_FL`: `i_block` holds an extent tree.
pub const USES_EXTENTS: u32 = 0x8_0000;
/// `EXT4_INDEX_FL`: the directory has a hash tree.
pub const INDEXED: u32 = 0x1000;

/// File type bits of `i_mode`.
pub mod kind {
    /// Named pipe.
    pub const FIFO: u16 = 0o010_000;
    /// Character device.
    pub const CHARACTER: u16 = 0o020_000;
    /// Directory.
    pub const DIRECTORY: u16 = 0o040_000;
    /// Block device.
    pub const BLOCK: u16 = 0o060_000;
    /// Regular file.
    pub const FILE: u16 = 0o100_000;
    /// Symbolic link.
    pub const SYMLINK: u16 = 0o120_000;
}

/// One inode before it is encoded.
pub struct Inode {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Names that point here.
    pub links: u16,
    /// Modification and access time, seconds since 1970.
    pub modified: i64,
    /// Creation and change time, seconds since 1970.
    pub created: i64,
    /// `USES_EXTENTS`, `INDEXED`.
    pub flags: u32,
    /// Extent tree, short target or device number.
    pub block: [u8; 60],
    /// Blocks that it holds, its own nodes and attributes included.
    pub blocks: u64,
    /// Block of extended attributes, or 0.
    pub attributes: u64,
    /// Extended attributes in the inode.
    pub body: [u8; INODE_LEN - BODY],
}

impl Inode {
    /// Encodes it as inode number `ino` with its checksum.
    pub fn encode(&self, record: &mut [u8], ino: u32, seed: u32) {
        let sectors = self.blocks * 8;
        put16(record, 0x00, self.mode);
        put16(record, 0x02, low16(self.uid));
        put32(record, 0x04, low32(self.size));
        put16(record, 0x18, low16(self.gid));
        put16(record, 0x1a, self.links);
        put32(record, 0x1c, low32(sectors));
        put32(record, 0x20, self.flags);
        record[0x28..0x64].copy_from_slice(&self.block);
        put32(record, 0x68, low32(self.attributes));
        put32(record, 0x6c, high32(self.size));
        put16(record, 0x74, high32(sectors) as u16);
        put16(record, 0x76, high32(self.attributes) as u16);
        put16(record, 0x78, high16(self.uid));
        put16(record, 0x7a, high16(self.gid));
        put16(record, 0x80, EXTRA);
        let times = [
            (0x08, 0x8c, self.modified),
            (0x0c, 0x84, self.created),
            (0x10, 0x88, self.modified),
            (0x90, 0x94, self.created),
        ];
        for (at, extra, time) in times {
            put32(record, at, low32(time as u64));
            put32(record, extra, epoch(time));
        }
        record[BODY..INODE_LEN].copy_from_slice(&self.body);
        let sum = crc32c(inode_seed(seed, ino), &record[..INODE_LEN]);
        put16(record, 0x7c, low16(sum));
        put16(record, 0x82, high16(sum));
    }
}

/// Range of times that fit: 1901-12-13 to 2446-05-10.
pub const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// The two bits that extend a signed 32-bit time.
fn epoch(time: i64) -> u32 {
    ((time - i64::from(time as i32)) >> 32 & 3) as u32
}

/// `i_block` of a device.
pub fn device(major: u32, minor: u32) -> [u8; 60] {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut block, 0, major << 8 | minor);
    } else {
        put32(
            &mut block,
            4,
            minor & 0xff | major << 8 | (minor & !0xff) << 12,
        );
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_past_2038_use_the_epoch_bits() {
        for (time, bits) in [
            (0, 0),
            (-1, 0),
            (0x7fff_ffff, 0),
            (0x8000_0000, 1),
            (1 << 33, 2),
        ] {
            assert_eq!(epoch(time), bits, "{time}");
        }
        assert_eq!(epoch(*TIMES.end()), 3);
        assert_eq!(epoch(*TIMES.start()), 0);
    }
}
