//! The areas of a volume: boot sector, tables, root directory, clusters (FAT specification,
//! §"Boot Sector and BPB", §"FAT", §"FSInfo Sector Structure").

use std::io;

use super::{BlockSink, Demand, ENTRY, FORMAT, FilesystemError, SECTOR};

/// The first cluster of the data area has number 2.
pub const FIRST_CLUSTER: u32 = 2;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
/// A volume must have at least this many clusters to be FAT16, and to be FAT32.
const LEAST_FAT16: u64 = 4085;
const LEAST_FAT32: u64 = 65_525;
/// The largest FAT16 volume; up to the first FAT32 the rest stays unused.
const MOST_FAT16: u64 = 32 * MIB;
const FIRST_FAT32: u64 = 33 * MIB;
const LARGEST: u64 = 2 << 40;
/// Entries of FAT16's root directory.
const FIXED_ROOT: u64 = 512;
const TABLES: u64 = 2;
const MEDIA: u8 = 0xf8;
const INFO_SECTOR: u16 = 1;
const BACKUP_SECTOR: u16 = 6;
const END: u32 = 0x0fff_ffff;

/// The areas of one volume.
#[derive(Debug)]
pub struct Volume {
    /// FAT32, else FAT16.
    pub wide: bool,
    /// Bytes per cluster.
    pub cluster: u64,
    sectors: u64,
    reserved: u64,
    table_sectors: u64,
    clusters: u64,
}

impl Volume {
    /// The volume of at most `size` bytes; `None` if that is too small for any.
    pub fn new(size: u64) -> Option<Volume> {
        let size = size.min(LARGEST - SECTOR);
        let wide = size >= FIRST_FAT32;
        let size = if wide { size } else { size.min(MOST_FAT16) };
        let cluster = match size {
            _ if !wide => SECTOR,
            _ if size <= 260 * MIB => SECTOR,
            _ if size <= 8 * KIB * MIB => 4 * KIB,
            _ if size <= 16 * KIB * MIB => 8 * KIB,
            _ if size <= 32 * KIB * MIB => 16 * KIB,
            _ => 32 * KIB,
        };
        let sectors = size / SECTOR;
        let reserved = if wide { 32 } else { 1 };
        let root = if wide {
            0
        } else {
            FIXED_ROOT * ENTRY as u64 / SECTOR
        };
        let entry = if wide { 4 } else { 2 };
        let data = sectors.checked_sub(reserved + root)?;
        let table_sectors = ((data * SECTOR / cluster + 2) * entry).div_ceil(SECTOR);
        let clusters = data.checked_sub(TABLES * table_sectors)? * SECTOR / cluster;
        let least = if wide { LEAST_FAT32 } else { LEAST_FAT16 };
        let volume = Volume {
            wide,
            cluster,
            sectors,
            reserved,
            table_sectors,
            clusters,
        };
        (clusters >= least).then_some(volume)
    }

    /// The smallest volume for a demand.
    pub fn least(demand: &Demand) -> Result<Volume, FilesystemError> {
        let mut size = 4 * KIB;
        while size < LARGEST {
            let missing = match Volume::new(size) {
                None => 4 * KIB,
                Some(volume) if volume.holds(demand) => return Ok(volume),
                Some(volume) => {
                    let missing = volume.needed(demand).saturating_sub(volume.clusters);
                    (missing * volume.cluster)
                        .next_multiple_of(4 * KIB)
                        .max(4 * KIB)
                }
            };
            size += missing;
        }
        Err(FilesystemError::TooLarge {
            format: FORMAT,
            what: format!("{LARGEST} bytes"),
        })
    }

    /// Whether a demand fits.
    pub fn holds(&self, demand: &Demand) -> bool {
        let root = self.wide || demand.root <= FIXED_ROOT * ENTRY as u64;
        root && self.needed(demand) <= self.clusters
    }

    fn needed(&self, demand: &Demand) -> u64 {
        let root = if self.wide {
            demand.root.div_ceil(self.cluster)
        } else {
            0
        };
        root + demand
            .others
            .iter()
            .map(|bytes| bytes.div_ceil(self.cluster))
            .sum::<u64>()
    }

    /// Bytes of the volume.
    pub fn size(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Where FAT16's root directory begins.
    pub fn root_start(&self) -> u64 {
        (self.reserved + TABLES * self.table_sectors) * SECTOR
    }

    /// Where a cluster begins.
    pub fn place(&self, cluster: u32) -> u64 {
        let root = if self.wide {
            0
        } else {
            FIXED_ROOT * ENTRY as u64
        };
        self.root_start() + root + u64::from(cluster.saturating_sub(FIRST_CLUSTER)) * self.cluster
    }

    /// Writes everything but directories and files, whose runs have these lengths.
    pub fn write(
        &self,
        runs: &[u32],
        label: &[u8; 11],
        volume_id: u32,
        out: &dyn BlockSink,
    ) -> io::Result<()> {
        let mut table = vec![END & !0xff | u32::from(MEDIA), END];
        for run in runs {
            let next = table.len() as u32 + 1;
            table.extend((next..).take(*run as usize - 1));
            table.push(END);
        }
        let used = table.len() as u64 - u64::from(FIRST_CLUSTER);
        let bytes: Vec<u8> = if self.wide {
            table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
        } else {
            table
                .iter()
                .flat_map(|entry| (*entry as u16).to_le_bytes())
                .collect()
        };
        for copy in 0..TABLES {
            out.write_sparse((self.reserved + copy * self.table_sectors) * SECTOR, &bytes)?;
        }
        let boot = self.boot_sector(label, volume_id);
        if self.wide {
            let info = information(self.clusters - used, table.len() as u32);
            for first in [0, BACKUP_SECTOR] {
                out.write_at(u64::from(first + INFO_SECTOR) * SECTOR, &info)?;
                out.write_at(u64::from(first) * SECTOR, &boot)?;
            }
            return Ok(());
        }
        out.write_at(0, &boot)
    }

    fn boot_sector(&self, label: &[u8; 11], volume_id: u32) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x3c, 0x90]); // a jump over the parameters
        put(3, b"MSWIN4.1");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[(self.cluster / SECTOR) as u8]);
        put(14, &(self.reserved as u16).to_le_bytes());
        put(16, &[TABLES as u8]);
        let small = u16::try_from(self.sectors).ok().filter(|_| !self.wide);
        match small {
            Some(sectors) => put(19, &sectors.to_le_bytes()),
            None => put(32, &(self.sectors as u32).to_le_bytes()),
        }
        put(21, &[MEDIA]);
        put(24, &63u16.to_le_bytes()); // sectors per track, heads: of no meaning any more
        put(26, &255u16.to_le_bytes());
        let names = if self.wide {
            put(0, &[0xeb, 0x58]);
            put(36, &(self.table_sectors as u32).to_le_bytes());
            put(44, &FIRST_CLUSTER.to_le_bytes()); // root directory
            put(48, &INFO_SECTOR.to_le_bytes());
            put(50, &BACKUP_SECTOR.to_le_bytes());
            put(82, b"FAT32   ");
            64
        } else {
            put(17, &(FIXED_ROOT as u16).to_le_bytes());
            put(22, &(self.table_sectors as u16).to_le_bytes());
            put(54, b"FAT16   ");
            36
        };
        put(names, &[0x80, 0, 0x29]); // drive, reserved, what follows is valid
        put(names + 3, &volume_id.to_le_bytes());
        put(names + 7, label);
        put(510, &[0x55, 0xaa]);
        sector
    }
}

fn information(free: u64, next: u32) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for (at, value) in [
        (0, 0x4161_5252),
        (484, 0x6141_7272),
        (488, free as u32),
        (492, next),
        (508, 0xaa55_0000),
    ] {
        sector[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    sector
}
