//! The internal journal (ext4 disk layout, §"Journal (jbd2)"; all fields big-endian).

use super::geometry::BLOCK_LEN;

const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_V2: u32 = 4;

/// Blocks of the journal that mke2fs would choose for a filesystem of this many blocks, but
/// never none.
pub fn default_blocks(blocks: u64) -> u64 {
    match blocks {
        0..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        16_777_216..33_554_432 => 131_072,
        _ => 262_144,
    }
}

/// The first block of an empty journal; all the others are zeros.
pub fn superblock(blocks: u64, uuid: &[u8; 16]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_LEN];
    let fields = [
        (0x00, MAGIC),
        (0x04, SUPERBLOCK_V2),
        (0x0c, BLOCK_LEN as u32),
        (0x10, blocks as u32),
        (0x14, 1), // first block of the log
        (0x18, 1), // first expected commit
        (0x40, 1), // filesystems that use it
    ];
    for (at, value) in fields {
        block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    block[0x30..0x40].copy_from_slice(uuid);
    block
}
