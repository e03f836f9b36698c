//! Disk images read back: raw ones, and qcow2 (QEMU's docs/interop/qcow2.txt) without backing
//! file and without encryption, with clusters as they are, deflated, or by zstd.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: &[u8] = b"QFI\xfb";
/// Where the data of an entry lies.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros.
const ZERO: u64 = 1;

/// Bytes by their place; reading past the end is an error.
pub trait Source: Sync {
    /// Bytes.
    fn size(&self) -> u64;

    /// Fills `into` with what stands at `offset`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Opens an image; what it is shows in its first bytes.
pub fn open(path: &Path) -> io::Result<Box<dyn Source>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = [0; 4];
    if size >= 4 {
        file.read_exact_at(&mut head, 0)?;
    }
    match head == MAGIC {
        true => Ok(Box::new(Qcow2::open(file)?)),
        false => Ok(Box::new(Raw { file, size })),
    }
}

struct Raw {
    file: File,
    size: u64,
}

impl Source for Raw {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}

/// A part of a source, for example one partition.
pub struct Part<'a> {
    /// The whole.
    pub source: &'a dyn Source,
    /// Where the part begins, in bytes.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

impl Source for Part<'_> {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_at(self.start + offset, into)
    }
}

struct Qcow2 {
    file: File,
    size: u64,
    bits: u32,
    zstd: bool,
    l1: Vec<u64>,
    /// The second-level table that was read last, and the cluster that was unpacked last.
    table: Mutex<Option<(u64, Arc<Vec<u64>>)>>,
    cluster: Mutex<Option<(u64, Arc<Vec<u8>>)>>,
}

impl Qcow2 {
    fn open(file: File) -> io::Result<Qcow2> {
        let length = file.metadata()?.len();
        let mut head = vec![0; 112];
        file.read_exact_at(&mut head[..length.min(112) as usize], 0)?;
        let version = be32(&head, 4);
        let bits = be32(&head, 20);
        let size = be64(&head, 24);
        let unknown = be64(&head, 72) & !(1 | 1 << 3);
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        match () {
            () if !(2..=3).contains(&version) || !(9..=21).contains(&bits) => {
                return refuse("its qcow2 header is damaged");
            }
            () if be64(&head, 8) != 0 => return refuse("it stands on a backing file"),
            () if be32(&head, 32) != 0 => return refuse("it is encrypted"),
            () if version == 3 && unknown != 0 => {
                return refuse("its qcow2 header asks for features that are not known here");
            }
            () => {}
        }
        let zstd = version == 3 && be64(&head, 72) & 1 << 3 != 0 && head[104] == 1;
        let count = u64::from(be32(&head, 36));
        let needed = size.div_ceil(1 << bits).div_ceil(1 << (bits - 3));
        if count < needed || count * 8 > length {
            return refuse("its qcow2 tables are too short");
        }
        let mut bytes = vec![0; count as usize * 8];
        file.read_exact_at(&mut bytes, be64(&head, 40))?;
        Ok(Qcow2 {
            file,
            size,
            bits,
            zstd,
            l1: words(&bytes),
            table: Mutex::default(),
            cluster: Mutex::default(),
        })
    }

    /// The entry of a cluster, 0 for one that is not there.
    fn entry(&self, cluster: u64) -> io::Result<u64> {
        let per_table = 1 << (self.bits - 3);
        let first = self.l1.get((cluster / per_table) as usize).copied();
        let place = first.unwrap_or(0) & PLACE;
        if place == 0 {
            return Ok(0);
        }
        let mut kept = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match &*kept {
            Some((of, table)) if *of == place => table.clone(),
            _ => {
                let mut bytes = vec![0; 1 << self.bits];
                self.file.read_exact_at(&mut bytes, place)?;
                let table = Arc::new(words(&bytes));
                *kept = Some((place, table.clone()));
                table
            }
        };
        Ok(table[(cluster % per_table) as usize])
    }

    /// A compressed cluster.
    fn unpacked(&self, entry: u64) -> io::Result<Arc<Vec<u8>>> {
        let mut kept = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, bytes)) = &*kept
            && *of == entry
        {
            return Ok(bytes.clone());
        }
        let shift = 62 - (self.bits - 8);
        let place = entry & ((1 << shift) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> shift;
        let length = (sectors + 1) * 512 - place % 512;
        // The last one may end with the file.
        let end = self.file.metadata()?.len();
        let length = length.min(end.saturating_sub(place));
        let mut packed = vec![0; length as usize];
        self.file.read_exact_at(&mut packed, place)?;
        let mut bytes = vec![0; 1 << self.bits];
        if self.zstd {
            let mut decoder = zstd::stream::read::Decoder::new(&packed[..])?.single_frame();
            decoder.read_exact(&mut bytes)?;
        } else {
            flate2::read::DeflateDecoder::new(&packed[..]).read_exact(&mut bytes)?;
        }
        let bytes = Arc::new(bytes);
        *kept = Some((entry, bytes.clone()));
        Ok(bytes)
    }
}

impl Source for Qcow2 {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let cluster = 1 << self.bits;
        let mut at = 0;
        while at < into.len() {
            let place = offset + at as u64;
            let within = place % cluster;
            let length = (cluster - within).min((into.len() - at) as u64) as usize;
            let part = &mut into[at..at + length];
            let entry = self.entry(place / cluster)?;
            if entry & COMPRESSED != 0 {
                let bytes = self.unpacked(entry)?;
                part.copy_from_slice(&bytes[within as usize..within as usize + length]);
            } else if entry & ZERO != 0 || entry & PLACE == 0 {
                part.fill(0);
            } else {
                self.file.read_exact_at(part, (entry & PLACE) + within)?;
            }
            at += length;
        }
        Ok(())
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks_exact(8);
    words.map(|word| be64(word, 0)).collect()
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
