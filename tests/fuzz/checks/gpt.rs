//! GUID partition tables. The bytes are a header and the entries in use; the checksums, which
//! no fuzzer finds, are put right when the first byte is even.

use muster::image::disk::gpt::Table;
use muster::image::disk::grow::{grow, read};
use std::fs::File;
use std::os::unix::fs::FileExt;

const SECTOR: usize = 512;
/// Protective MBR, header, entries, and 31 sectors in which nothing is yet.
const START: usize = 34 * SECTOR;

pub fn check(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else {
        return;
    };
    let Some((sectors, bytes)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let size = START as u64 + u64::from(u32::from_le_bytes(*sectors)) * SECTOR as u64;
    let disk = lay(bytes, size, mode % 2 == 0);
    let Ok(table) = read(&disk) else { return };
    for partition in table.partitions.iter().flatten() {
        assert!(partition.length() > 0);
        let _ = partition.start().checked_add(partition.length()).unwrap();
    }
    let copy = lay(&[], size, false);
    if table.write(&[], &copy).is_ok() {
        assert_eq!(read(&copy).unwrap(), table);
    }
    if let Ok(grown) = grow(&disk) {
        let after = read(&disk).unwrap();
        assert_eq!(after.partitions.len(), table.partitions.len());
        if let Some(grown) = grown {
            let place = after.partitions[grown.number as usize - 1]
                .as_ref()
                .unwrap();
            assert_eq!(place, &grown.partition);
            assert!(place.start() + place.length() <= size);
        }
        assert_eq!(grow(&disk).unwrap(), None, "growing ends");
        let last = size / SECTOR as u64 - 1;
        let backup = Table::read_copy(size, last, &mut |at, into| disk.read_exact_at(into, at));
        assert_eq!(backup.unwrap().0, after);
    }
}

/// A disk whose table is made of these bytes.
fn lay(bytes: &[u8], size: u64, sums: bool) -> File {
    let disk = tempfile::tempfile_in("/dev/shm").unwrap();
    let (header, entries) = bytes.split_at(bytes.len().min(92));
    let mut start = vec![0; START];
    start[SECTOR..][..header.len()].copy_from_slice(header);
    let entries = &entries[..entries.len().min(128 * 128)];
    start[2 * SECTOR..][..entries.len()].copy_from_slice(entries);
    if sums {
        let sum = crc(&start[2 * SECTOR..]);
        let header = &mut start[SECTOR..][..92];
        header[0..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[16..20].fill(0);
        header[24..32].copy_from_slice(&1u64.to_le_bytes());
        header[72..80].copy_from_slice(&2u64.to_le_bytes());
        header[80..88].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0]);
        header[88..92].copy_from_slice(&sum.to_le_bytes());
        let sum = crc(header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
    }
    disk.write_all_at(&start, 0).unwrap();
    disk.set_len(size).unwrap();
    disk
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
