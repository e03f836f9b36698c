//! A disk that has become larger: its table moves to the new end and its last partition follows.

use std::fs::File;
use std::io::{Seek, SeekFrom};
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
    Ok(find(disk)?.0)
}

/// The table, and whether nothing is left to do about its copies: the first one is whole and
/// the second one is at the end of the disk.
fn find(disk: &File) -> Result<(Table, bool), GptError> {
    let mut seeking = disk;
    let size = seeking.seek(SeekFrom::End(0))?;
    let last = (size / SECTOR).saturating_sub(1);
    let mut read = |offset: u64, into: &mut [u8]| disk.read_exact_at(into, offset);
    match Table::read_copy(size, 1, &mut read) {
        Ok((table, second)) => {
            // The first copy says where the second one is, not that it is whole.
            let whole =
                Table::read_copy(size, last, &mut read).is_ok_and(|(copy, _)| copy == table);
            Ok((table, second == last && whole))
        }
        Err(error) => match Table::read_copy(size, last, &mut read) {
            Ok((table, _)) => Ok((table, false)),
            Err(_) => Err(error),
        },
    }
}

/// Moves the backup table to the end of the disk and extends the last partition up to it.
/// `None` if no partition grows. A power cut at any moment leaves one whole copy of the table,
/// old or new, and the next call finishes the work: the first copy is written last.
pub fn grow(disk: &File) -> Result<Option<Grown>, GptError> {
    let (mut table, settled) = find(disk)?;
    let end = (table.last_usable() + 1) * SECTOR / ALIGNMENT * ALIGNMENT / SECTOR;
    let slots = table.partitions.iter_mut().enumerate();
    let last = slots
        .filter_map(|(slot, p)| Some((slot, p.as_mut()?)))
        .max_by_key(|(_, p)| p.last);
    let mut grown = None;
    if let Some((slot, partition)) = last
        && partition.last + 1 < end
    {
        partition.last = end - 1;
        grown = Some(Grown {
            number: slot as u32 + 1,
            partition: partition.clone(),
        });
    }
    if grown.is_some() || !settled {
        table.write_backup(disk)?;
        protect(&table, disk)?;
        disk.sync_data()?;
        table.write_primary(disk)?;
        disk.sync_data()?;
    }
    Ok(grown)
}

/// Makes the entry of the protective MBR as long as the disk, leaving boot code and signature.
fn protect(table: &Table, disk: &File) -> Result<(), GptError> {
    let mut mbr = [0; SECTOR as usize];
    disk.read_exact_at(&mut mbr, 0)?;
    mbr[446..].copy_from_slice(&table.protective_entry()[446..]);
    Ok(disk.write_all_at(&mbr, 0)?)
}
