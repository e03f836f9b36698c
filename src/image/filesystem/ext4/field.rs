//! Little-endian fields of on-disk structures, by offset.

/// Stores a 16-bit field.
pub fn put16(record: &mut [u8], at: usize, value: u16) {
    record[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Stores a 32-bit field.
pub fn put32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Reads a 16-bit field.
pub fn get16(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

/// Reads a 32-bit field.
pub fn get32(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

/// Low 16 bits.
pub fn low16(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// High 16 bits.
pub fn high16(value: u32) -> u16 {
    (value >> 16) as u16
}

/// Low 32 bits.
pub fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// High 32 bits.
pub fn high32(value: u64) -> u32 {
    (value >> 32) as u32
}
