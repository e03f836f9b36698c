//! qcow2 images (QEMU's docs/interop/qcow2.txt), version 3, 64 KiB clusters, written in one pass
//! from a raw image. Clusters of zeros are not allocated.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

use super::raw::data_ranges;
use crate::image::filesystem::is_zero;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
const CLUSTER_LEN: u64 = CLUSTER as u64;
/// Entries of a second-level table.
const L2_ENTRIES: u64 = CLUSTER_LEN / 8;
/// 16-bit reference counts in a cluster.
const COUNTS: u64 = CLUSTER_LEN / 2;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where an entry of a compressed cluster holds its further sectors.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
const SECTOR: u64 = 512;
/// Clusters in work at once, and how many of them at least share one encoder.
const BATCH: usize = 128;
const LEAST_SHARE: usize = 16;

/// How clusters are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Deflated; every QEMU reads it.
    Zlib,
    /// By zstd; QEMU reads it from 5.1 on.
    Zstd,
}

/// Writes `raw` as a qcow2 image to the start of `out`, an empty file. Its header is written
/// last: what was interrupted is not an image.
pub fn write(raw: &File, out: &File, compression: Compression) -> io::Result<()> {
    let size = raw.metadata()?.len();
    let mut image = Image {
        out,
        end: CLUSTER_LEN,
        counts: vec![1],
        l2: Tables::new(size),
    };
    let clusters = used_clusters(raw, size)?;
    let mut buffers = vec![vec![0; CLUSTER]; BATCH];
    for batch in clusters.chunks(BATCH) {
        let stored: Vec<Stored> = batch
            .par_iter()
            .zip(&mut buffers)
            .with_min_len(LEAST_SHARE)
            .map_init(
                || Encoder::new(compression),
                |encoder, (cluster, buffer)| {
                    let encoder = encoder
                        .as_mut()
                        .map_err(|error| io::Error::from(error.kind()))?;
                    store(raw, size, *cluster, buffer, encoder)
                },
            )
            .collect::<io::Result<_>>()?;
        image.append(batch, &stored, &buffers)?;
    }
    image.finish(size, compression)
}

/// What becomes of one cluster.
enum Stored {
    Zero,
    Plain,
    Compressed(Vec<u8>),
}

/// Clusters that hold data as far as the filesystem knows.
fn used_clusters(raw: &File, size: u64) -> io::Result<Vec<u64>> {
    let mut clusters = Vec::new();
    let mut next = 0;
    for range in data_ranges(raw)? {
        let first = (range.start / CLUSTER_LEN).max(next);
        next = range.end.min(size).div_ceil(CLUSTER_LEN);
        clusters.extend(first..next);
    }
    Ok(clusters)
}

fn store(
    raw: &File,
    size: u64,
    cluster: u64,
    buffer: &mut [u8],
    encoder: &mut Encoder,
) -> io::Result<Stored> {
    let offset = cluster * CLUSTER_LEN;
    let length = (size - offset).min(CLUSTER_LEN) as usize;
    raw.read_exact_at(&mut buffer[..length], offset)?;
    buffer[length..].fill(0);
    if is_zero(buffer) {
        return Ok(Stored::Zero);
    }
    let compressed = match encoder {
        Encoder::None => return Ok(Stored::Plain),
        Encoder::Zlib(encoder) => deflate(encoder, buffer)?,
        Encoder::Zstd(encoder) => encoder.compress(buffer)?,
    };
    let smaller = compressed.len() < CLUSTER - SECTOR as usize;
    Ok(if smaller {
        Stored::Compressed(compressed)
    } else {
        Stored::Plain
    })
}

/// QEMU's own choice.
const ZSTD_LEVEL: i32 = 3;

/// What compresses one cluster after another.
enum Encoder {
    None,
    Zlib(flate2::Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    fn new(compression: Compression) -> io::Result<Encoder> {
        Ok(match compression {
            Compression::None => Encoder::None,
            // Raw deflate with the window of 4 KiB that QEMU gives the decoder.
            Compression::Zlib => Encoder::Zlib(flate2::Compress::new_with_window_bits(
                flate2::Compression::default(),
                false,
                12,
            )),
            Compression::Zstd => Encoder::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        })
    }
}

fn deflate(encoder: &mut flate2::Compress, bytes: &[u8]) -> io::Result<Vec<u8>> {
    encoder.reset();
    let mut result = Vec::with_capacity(bytes.len() + SECTOR as usize);
    let status = encoder.compress_vec(bytes, &mut result, flate2::FlushCompress::Finish)?;
    if status != flate2::Status::StreamEnd {
        // It did not get smaller; the caller stores the cluster as it is.
        result.resize(CLUSTER, 0);
    }
    Ok(result)
}

/// Second-level tables, those that point to anything.
struct Tables {
    tables: Vec<Option<Vec<u64>>>,
}

impl Tables {
    fn new(size: u64) -> Tables {
        let count = size.div_ceil(CLUSTER_LEN).div_ceil(L2_ENTRIES).max(1);
        Tables {
            tables: vec![None; count as usize],
        }
    }

    fn set(&mut self, cluster: u64, entry: u64) {
        let table = &mut self.tables[(cluster / L2_ENTRIES) as usize];
        let table = table.get_or_insert_with(|| vec![0; L2_ENTRIES as usize]);
        table[(cluster % L2_ENTRIES) as usize] = entry;
    }
}

struct Image<'a> {
    out: &'a File,
    /// Where the next cluster goes; inside of a cluster after compressed ones.
    end: u64,
    /// References by cluster of the file.
    counts: Vec<u16>,
    l2: Tables,
}

impl Image<'_> {
    /// Appends what was stored, neighbours in one write.
    fn append(
        &mut self,
        clusters: &[u64],
        stored: &[Stored],
        buffers: &[Vec<u8>],
    ) -> io::Result<()> {
        let start = self.end;
        let mut pending: Vec<u8> = Vec::new();
        for ((cluster, stored), buffer) in clusters.iter().zip(stored).zip(buffers) {
            let bytes: &[u8] = match stored {
                Stored::Zero => continue,
                Stored::Plain => {
                    self.end = self.end.next_multiple_of(CLUSTER_LEN);
                    self.l2.set(*cluster, self.end | COPIED);
                    buffer
                }
                Stored::Compressed(bytes) => {
                    let last = self.end + bytes.len() as u64 - 1;
                    let further = last / SECTOR - self.end / SECTOR;
                    self.l2
                        .set(*cluster, self.end | further << SECTORS_SHIFT | COMPRESSED);
                    bytes
                }
            };
            pending.resize((self.end - start) as usize, 0);
            pending.extend_from_slice(bytes);
            self.refer(self.end, bytes.len() as u64);
            self.end += bytes.len() as u64;
        }
        self.out.write_all_at(&pending, start)
    }

    /// Counts a reference to every cluster of the file that a range touches.
    fn refer(&mut self, start: u64, length: u64) {
        let first = (start / CLUSTER_LEN) as usize;
        let last = ((start + length - 1) / CLUSTER_LEN) as usize;
        if self.counts.len() <= last {
            self.counts.resize(last + 1, 0);
        }
        for count in &mut self.counts[first..=last] {
            *count += 1;
        }
    }

    /// Appends a table in whole clusters and returns its place.
    fn table(&mut self, entries: &[u64]) -> io::Result<u64> {
        let place = self.end.next_multiple_of(CLUSTER_LEN);
        let mut bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_be_bytes())
            .collect();
        bytes.resize(bytes.len().next_multiple_of(CLUSTER), 0);
        self.out.write_all_at(&bytes, place)?;
        self.refer(place, bytes.len() as u64);
        self.end = place + bytes.len() as u64;
        Ok(place)
    }

    fn finish(mut self, size: u64, compression: Compression) -> io::Result<()> {
        let tables = std::mem::take(&mut self.l2.tables);
        let mut l1 = Vec::with_capacity(tables.len());
        for table in tables {
            l1.push(match table {
                Some(entries) => self.table(&entries)? | COPIED,
                None => 0,
            });
        }
        let l1_place = self.table(&l1)?;
        let (counts_place, counts_clusters) = self.reference_counts()?;
        let header = header(
            size,
            l1.len() as u32,
            l1_place,
            counts_place,
            counts_clusters,
            compression,
        );
        self.out.set_len(self.end)?;
        self.out.write_all_at(&header, 0)
    }

    /// Appends the reference counts, their own clusters included, and the table over them.
    fn reference_counts(&mut self) -> io::Result<(u64, u32)> {
        let place = self.end.next_multiple_of(CLUSTER_LEN);
        let before = place / CLUSTER_LEN;
        let (mut blocks, mut table) = (0, 1);
        loop {
            let needed = (before + blocks + table).div_ceil(COUNTS);
            let needed_table = needed.div_ceil(CLUSTER_LEN / 8);
            if (needed, needed_table) == (blocks, table) {
                break;
            }
            (blocks, table) = (needed, needed_table);
        }
        self.refer(place, (blocks + table) * CLUSTER_LEN);
        let mut counts: Vec<u8> = self
            .counts
            .iter()
            .flat_map(|count| count.to_be_bytes())
            .collect();
        counts.resize((blocks * CLUSTER_LEN) as usize, 0);
        self.out.write_all_at(&counts, place)?;
        let table_place = place + blocks * CLUSTER_LEN;
        let entries = (0..blocks).flat_map(|block| (place + block * CLUSTER_LEN).to_be_bytes());
        let mut entries: Vec<u8> = entries.collect();
        entries.resize((table * CLUSTER_LEN) as usize, 0);
        self.out.write_all_at(&entries, table_place)?;
        self.end = table_place + table * CLUSTER_LEN;
        Ok((table_place, table as u32))
    }
}

fn header(
    size: u64,
    l1_entries: u32,
    l1: u64,
    counts: u64,
    counts_clusters: u32,
    compression: Compression,
) -> Vec<u8> {
    let zstd = compression == Compression::Zstd;
    let mut header = vec![0; CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    for (at, value) in [
        (4, 3), // version
        (20, CLUSTER_BITS),
        (36, l1_entries),
        (56, counts_clusters),
        (96, 4),    // reference counts of 2^4 bits
        (100, 112), // length of this header
    ] {
        put(at, &u32::to_be_bytes(value));
    }
    for (at, value) in [
        (24, size.next_multiple_of(SECTOR)),
        (40, l1),
        (48, counts),
        (72, u64::from(zstd) << 3), // the compression type must be understood
    ] {
        put(at, &u64::to_be_bytes(value));
    }
    put(104, &[u8::from(zstd)]);
    header
}
