//! A disk that has become larger: its table moves to the new end and its last partition follows.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::gpt::{ALIGNMENT, GptError, Partition, SECTOR, Table};

/// A partition that has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Its number, counted from 1.
    pub number: u32,
    /// Its new place.
    pub partition: Partition,
}

/// Reads the table of a disk or of an image, from its second copy where the first is damaged.
pub fn read(disk: &File) -> Result<Table, GptError> {
    Ok(read_with_backup(disk)?.0)
}

/// The table and the sector where its second copy is, or should be.
fn read_with_backup(disk: &File) -> Result<(Table, u64), GptError> {
    let mut seeking = disk;
    let size = seeking.seek(SeekFrom::End(0))?;
    let mut read = |offset: u64, into: &mut [u8]| {
        if offset
            .checked_add(into.len() as u64)
            .is_none_or(|end| end > size)
        {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "past the end of the disk",
            ));
        }
        disk.read_exact_at(into, offset)
    };
    match Table::read_copy(size, 1, &mut read) {
        Ok(found) => Ok(found),
        Err(error) => {
            let last = (size / SECTOR).saturating_sub(1);
            match Table::read_copy(size, last, &mut read) {
                Ok((table, _)) => Ok((table, last)),
                Err(_) => Err(error),
            }
        }
    }
}

/// Moves the backup table to the end of the disk and extends the last partition up to it.
/// `None` if there was nothing to gain; then nothing has been written. A power cut at any
/// moment leaves one whole copy of the table, old or new.
pub fn grow(disk: &File) -> Result<Option<Grown>, GptError> {
    let (mut table, backup) = read_with_backup(disk)?;
    let end = (table.last_usable() + 1) * SECTOR / ALIGNMENT * ALIGNMENT;
    let table_end = table.size / SECTOR - 1;
    let slots = table.partitions.iter_mut().enumerate();
    let last = slots
        .filter_map(|(slot, p)| Some((slot, p.as_mut()?)))
        .max_by_key(|(_, p)| p.last);
    let Some((slot, partition)) = last else {
        return Ok(None);
    };
    let new_last = (end / SECTOR).saturating_sub(1);
    if new_last <= partition.last && backup == table_end {
        return Ok(None);
    }
    let grows = new_last > partition.last;
    partition.last = partition.last.max(new_last);
    let grown = Grown {
        number: slot as u32 + 1,
        partition: partition.clone(),
    };
    table.write_backup(disk)?;
    disk.sync_data()?;
    table.write_primary(disk)?;
    disk.sync_data()?;
    protect(&table, disk)?;
    disk.sync_data()?;
    Ok(grows.then_some(grown))
}

/// Makes the entry of the protective MBR as long as the disk, leaving boot code and signature.
fn protect(table: &Table, disk: &File) -> Result<(), GptError> {
    let mut mbr = [0; SECTOR as usize];
    disk.read_exact_at(&mut mbr, 0)?;
    mbr[446..].copy_from_slice(&table.protective_entry()[446..]);
    Ok(disk.write_all_at(&mbr, 0)?)
}
