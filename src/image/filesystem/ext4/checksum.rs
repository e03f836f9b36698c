//! CRC-32C (Castagnoli) as ext4 uses it: seeded, never inverted at the end
//! (ext4 disk layout, §"Checksums").

const POLYNOMIAL: u32 = 0x82f6_3b78;

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[k - 1][i];
            tables[k][i] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    tables
}

static TABLES: [[u32; 256]; 8] = tables();

/// Continues `crc` over `bytes`, eight bytes a step.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let t = &TABLES;
    let mut crc = crc;
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        let low = crc ^ u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]);
        crc = t[7][(low & 0xff) as usize]
            ^ t[6][(low >> 8 & 0xff) as usize]
            ^ t[5][(low >> 16 & 0xff) as usize]
            ^ t[4][(low >> 24) as usize]
            ^ t[3][eight[4] as usize]
            ^ t[2][eight[5] as usize]
            ^ t[1][eight[6] as usize]
            ^ t[0][eight[7] as usize];
    }
    for byte in eights.remainder() {
        crc = (crc >> 8) ^ t[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    crc
}

/// The filesystem's seed: every metadata checksum but the superblock's begins with it.
pub fn filesystem_seed(uuid: &[u8; 16]) -> u32 {
    crc32c(!0, uuid)
}

/// The seed of an inode's own blocks and of the inode itself (generation 0).
pub fn inode_seed(seed: u32, ino: u32) -> u32 {
    crc32c(crc32c(seed, &ino.to_le_bytes()), &[0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32c_comes_out() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_checksum_does_not_depend_on_how_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let whole = crc32c(!0, &bytes);
        for cut in 0..bytes.len() {
            assert_eq!(crc32c(crc32c(!0, &bytes[..cut]), &bytes[cut..]), whole);
        }
    }
}
