//! GUID partition tables (UEFI specification, §5 "GUID Partition Table (GPT) Disk Layout") of
//! 512-byte sectors, with a protective MBR that can hold boot code.

use std::fmt;
use std::io;

use flate2::Crc;

use crate::image::filesystem::BlockSink;

/// Bytes per sector.
pub const SECTOR: u64 = 512;
/// Partitions begin at multiples of this many bytes.
pub const ALIGNMENT: u64 = 1 << 20;
/// Partitions that a table holds.
pub const MOST_PARTITIONS: usize = 128;
/// Bytes of boot code in the first sector.
pub const BOOT_CODE: usize = 440;

const ENTRY: usize = 128;
const ENTRIES_LEN: usize = MOST_PARTITIONS * ENTRY;
const ENTRIES_SECTORS: u64 = ENTRIES_LEN as u64 / SECTOR;
/// First sector after the primary table.
const FIRST_USABLE: u64 = 2 + ENTRIES_SECTORS;
/// Sectors of the backup table at the end of the disk.
const BACKUP: u64 = 1 + ENTRIES_SECTORS;
/// No disk has a sector behind this one: its bytes are counted in 64 bits.
const LAST_SECTOR: u64 = u64::MAX / SECTOR - 1 - BACKUP;
const HEADER_LEN: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const NAME_LEN: usize = 36;

/// A GUID, its bytes in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// `bios`: where GRUB's core image lies.
    pub const BIOS_BOOT: Guid = Guid::from_u128(0x21686148_6449_6e6f_744e_656564454649);
    /// EFI system partition.
    pub const EFI_SYSTEM: Guid = Guid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
    /// Root filesystem of an x86-64 host.
    pub const LINUX_ROOT_X86_64: Guid = Guid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
    /// Any Linux filesystem.
    pub const LINUX_DATA: Guid = Guid::from_u128(0x0fc63daf_8483_4772_8e79_3d69d8477de4);

    /// A GUID from the number that its text spells.
    pub const fn from_u128(number: u128) -> Guid {
        Guid(number.to_be_bytes())
    }

    /// The order on disk: the first three fields are little-endian.
    fn on_disk(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    fn from_disk(bytes: [u8; 16]) -> Guid {
        Guid(Guid(bytes).on_disk())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition that has no place yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Label, 36 UTF-16 units at most.
    pub name: String,
    /// What it is for.
    pub kind: Guid,
    /// Its own identity.
    pub id: Guid,
    /// Bytes, rounded up to a multiple of [`ALIGNMENT`].
    pub size: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// A partition in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Label.
    pub name: String,
    /// What it is for.
    pub kind: Guid,
    /// Its own identity.
    pub id: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// First byte.
    pub fn start(&self) -> u64 {
        self.first * SECTOR
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        (self.last + 1 - self.first) * SECTOR
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Identity of the disk.
    pub id: Guid,
    /// Bytes of the disk.
    pub size: u64,
    /// Partitions by slot; `None` is a slot that is not used.
    pub partitions: Vec<Option<Partition>>,
}

/// Why a partition table could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// Too many partitions.
    #[error("a partition table holds {MOST_PARTITIONS} partitions, not {0}")]
    TooMany(usize),
    /// A label is too long.
    #[error("the partition label `{0}` is longer than {NAME_LEN} UTF-16 units")]
    Name(String),
    /// A partition without blocks.
    #[error("the partition `{0}` has no size")]
    Empty(String),
    /// The disk is smaller than its partitions.
    #[error("the partitions need a disk of {needed} bytes, this one has {size}")]
    TooSmall {
        /// Bytes that are enough.
        needed: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// The boot code does not fit.
    #[error("boot code has at most {BOOT_CODE} bytes, not {0}")]
    BootCode(usize),
    /// Neither copy of the table is whole.
    #[error("no valid GUID partition table: {0}")]
    Invalid(String),
    /// The disk could not be read or written.
    #[error("cannot access the partition table: {0}")]
    Io(#[from] io::Error),
}

impl Table {
    /// Gives each description a place, in order, and the disk the least size that holds them.
    pub fn lay_out(id: Guid, descriptions: &[Description]) -> Result<Table, GptError> {
        if descriptions.len() > MOST_PARTITIONS {
            return Err(GptError::TooMany(descriptions.len()));
        }
        let mut partitions = Vec::with_capacity(descriptions.len());
        let mut next = ALIGNMENT;
        for description in descriptions {
            if description.name.encode_utf16().count() > NAME_LEN {
                return Err(GptError::Name(description.name.clone()));
            }
            if description.size == 0 {
                return Err(GptError::Empty(description.name.clone()));
            }
            let end = next + description.size.next_multiple_of(ALIGNMENT);
            partitions.push(Some(Partition {
                name: description.name.clone(),
                kind: description.kind,
                id: description.id,
                first: next / SECTOR,
                last: end / SECTOR - 1,
                attributes: description.attributes,
            }));
            next = end;
        }
        Ok(Table {
            id,
            size: next + ALIGNMENT,
            partitions,
        })
    }

    /// A partition by label.
    pub fn find(&self, name: &str) -> Option<&Partition> {
        self.partitions
            .iter()
            .flatten()
            .find(|partition| partition.name == name)
    }

    /// Writes the protective MBR with this boot code (it may be empty) and both copies of the
    /// table.
    pub fn write(&self, boot_code: &[u8], disk: &dyn BlockSink) -> Result<(), GptError> {
        if boot_code.len() > BOOT_CODE {
            return Err(GptError::BootCode(boot_code.len()));
        }
        let mut mbr = self.protective_entry().to_vec();
        mbr[..boot_code.len()].copy_from_slice(boot_code);
        disk.write_at(0, &mbr)?;
        self.write_backup(disk)?;
        self.write_primary(disk)
    }

    /// Writes the copy at the end of the disk.
    pub fn write_backup(&self, disk: &dyn BlockSink) -> Result<(), GptError> {
        let last = self.last_sector();
        self.check()?;
        disk.write_at((last - ENTRIES_SECTORS) * SECTOR, &self.entries())?;
        Ok(disk.write_at(last * SECTOR, &self.header(last, 1, last - ENTRIES_SECTORS))?)
    }

    /// Writes the copy at the start of the disk.
    pub fn write_primary(&self, disk: &dyn BlockSink) -> Result<(), GptError> {
        self.check()?;
        disk.write_at(2 * SECTOR, &self.entries())?;
        Ok(disk.write_at(SECTOR, &self.header(1, self.last_sector(), 2))?)
    }

    /// The first sector with the one entry that covers the whole disk, without boot code.
    pub fn protective_entry(&self) -> [u8; SECTOR as usize] {
        let mut mbr = [0; SECTOR as usize];
        let sectors = u32::try_from(self.last_sector()).unwrap_or(u32::MAX);
        mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
        mbr[458..462].copy_from_slice(&sectors.to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        mbr
    }

    /// The last sector that partitions may use.
    pub fn last_usable(&self) -> u64 {
        self.last_sector().saturating_sub(BACKUP)
    }

    fn last_sector(&self) -> u64 {
        (self.size / SECTOR).saturating_sub(1)
    }

    fn check(&self) -> Result<(), GptError> {
        let last = self
            .partitions
            .iter()
            .flatten()
            .map(|partition| partition.last)
            .max();
        let needed = last.unwrap_or(FIRST_USABLE) + 1 + BACKUP;
        if self.size / SECTOR < needed {
            return Err(GptError::TooSmall {
                needed: needed * SECTOR,
                size: self.size,
            });
        }
        Ok(())
    }

    fn entries(&self) -> Vec<u8> {
        let mut entries = vec![0; ENTRIES_LEN];
        for (entry, partition) in entries.chunks_exact_mut(ENTRY).zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            entry[0..16].copy_from_slice(&partition.kind.on_disk());
            entry[16..32].copy_from_slice(&partition.id.on_disk());
            entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
            entry[40..48].copy_from_slice(&partition.last.to_le_bytes());
            entry[48..56].copy_from_slice(&partition.attributes.to_le_bytes());
            for (unit, slot) in partition
                .name
                .encode_utf16()
                .zip(entry[56..].chunks_exact_mut(2))
            {
                slot.copy_from_slice(&unit.to_le_bytes());
            }
        }
        entries
    }

    fn header(&self, own: u64, other: u64, entries: u64) -> [u8; SECTOR as usize] {
        let mut header = [0; SECTOR as usize];
        header[0..8].copy_from_slice(SIGNATURE);
        header[8..12].copy_from_slice(&0x0001_0000u32.to_le_bytes());
        header[12..16].copy_from_slice(&(HEADER_LEN as u32).to_le_bytes());
        header[24..32].copy_from_slice(&own.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[40..48].copy_from_slice(&FIRST_USABLE.to_le_bytes());
        header[48..56].copy_from_slice(&self.last_usable().to_le_bytes());
        header[56..72].copy_from_slice(&self.id.on_disk());
        header[72..80].copy_from_slice(&entries.to_le_bytes());
        header[80..84].copy_from_slice(&(MOST_PARTITIONS as u32).to_le_bytes());
        header[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&self.entries()).to_le_bytes());
        let sum = crc32(&header[..HEADER_LEN]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// Reads the copy whose header is in sector `sector`, for a disk of `size` bytes; `read`
    /// fills a buffer from an offset in bytes. The other copy's sector comes with it.
    pub fn read_copy(
        size: u64,
        sector: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<(Table, u64), GptError> {
        let invalid = |what: &str| GptError::Invalid(format!("{what} in sector {sector}"));
        let mut header = [0; SECTOR as usize];
        let place = |sector: u64| {
            sector
                .checked_mul(SECTOR)
                .ok_or_else(|| invalid("a bad place"))
        };
        read(place(sector)?, &mut header)?;
        if header[0..8] != *SIGNATURE {
            return Err(invalid("no header"));
        }
        let length = le32(&header, 12) as usize;
        if !(HEADER_LEN..=header.len()).contains(&length) {
            return Err(invalid("a header of impossible length"));
        }
        let sum = le32(&header, 16);
        header[16..20].fill(0);
        if crc32(&header[..length]) != sum || le64(&header, 24) != sector {
            return Err(invalid("a damaged header"));
        }
        if (le32(&header, 80) as usize, le32(&header, 84) as usize) != (MOST_PARTITIONS, ENTRY) {
            return Err(invalid("a table of an unusual size"));
        }
        let mut entries = vec![0; ENTRIES_LEN];
        read(place(le64(&header, 72))?, &mut entries)?;
        if crc32(&entries) != le32(&header, 88) {
            return Err(invalid("damaged entries for the header"));
        }
        let mut partitions: Vec<Option<Partition>> = Vec::new();
        for entry in entries.chunks_exact(ENTRY) {
            partitions.push(parse(entry).map_err(|what| invalid(&what))?);
        }
        while partitions.last().is_some_and(Option::is_none) {
            partitions.pop();
        }
        let id = Guid::from_disk(sixteen(&header[56..72]));
        Ok((
            Table {
                id,
                size,
                partitions,
            },
            le64(&header, 32),
        ))
    }
}

fn parse(entry: &[u8]) -> Result<Option<Partition>, String> {
    if entry[..16].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let units: Vec<u16> = entry[56..]
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let partition = Partition {
        name: String::from_utf16_lossy(&units),
        kind: Guid::from_disk(sixteen(&entry[..16])),
        id: Guid::from_disk(sixteen(&entry[16..32])),
        first: le64(entry, 32),
        last: le64(entry, 40),
        attributes: le64(entry, 48),
    };
    let order = partition.first..=partition.last;
    if partition.first < FIRST_USABLE || order.is_empty() || partition.last > LAST_SECTOR {
        return Err(format!(
            "the partition `{}` has no valid place",
            partition.name
        ));
    }
    Ok(Some(partition))
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn sixteen(bytes: &[u8]) -> [u8; 16] {
    let mut result = [0; 16];
    result.copy_from_slice(bytes);
    result
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(name: &str, size: u64) -> Description {
        Description {
            name: name.into(),
            kind: Guid::LINUX_DATA,
            id: Guid::from_u128(size as u128),
            size,
            attributes: 0,
        }
    }

    #[test]
    fn guids_print_as_they_are_known() {
        assert_eq!(
            Guid::BIOS_BOOT.to_string(),
            "21686148-6449-6e6f-744e-656564454649"
        );
        assert_eq!(
            Guid::EFI_SYSTEM.to_string(),
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
        );
    }

    #[test]
    fn partitions_are_aligned_and_the_disk_is_no_larger_than_needed() {
        let table = Table::lay_out(
            Guid([1; 16]),
            &[description("a", 1), description("b", 3 << 20)],
        );
        let table = table.unwrap();
        let b = table.find("b").unwrap();
        assert_eq!((b.start(), b.length()), (2 << 20, 3 << 20));
        assert_eq!(table.size, 6 << 20);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let refusal = |descriptions: &[Description]| {
            Table::lay_out(Guid([1; 16]), descriptions)
                .unwrap_err()
                .to_string()
        };
        let long = "a-name-of-thirty-seven-characters-xxx";
        assert_eq!(
            refusal(&[description(long, 1)]),
            format!("the partition label `{long}` is longer than 36 UTF-16 units")
        );
        assert_eq!(
            refusal(&[description("a", 0)]),
            "the partition `a` has no size"
        );
        assert_eq!(
            refusal(&vec![description("a", 1); 129]),
            "a partition table holds 128 partitions, not 129"
        );
        let mut table = Table::lay_out(Guid([1; 16]), &[description("a", 1 << 20)]).unwrap();
        let nowhere = std::fs::File::create("/dev/null").unwrap();
        assert_eq!(
            table.write(&[0; 441], &nowhere).unwrap_err().to_string(),
            "boot code has at most 440 bytes, not 441"
        );
        let mut entry = table.entries()[..ENTRY].to_vec();
        entry[40..48].fill(0xff);
        assert_eq!(
            parse(&entry).unwrap_err(),
            "the partition `a` has no valid place"
        );
        table.size = 2 << 20;
        assert_eq!(
            table.write(&[], &nowhere).unwrap_err().to_string(),
            "the partitions need a disk of 2114048 bytes, this one has 2097152"
        );
    }
}
