//! Raw images: the data ranges of a sparse file, and copies that stay sparse.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::image::filesystem::BlockSink;

const BUFFER: usize = 1 << 20;

/// The ranges of a file that hold data, ascending; what lies between them reads as zeros. On a
/// filesystem that does not know holes this is the whole file.
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let size = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match lseek(file, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = (lseek(file, start as i64, Whence::SeekHole)? as u64).min(size);
        ranges.push(start..end);
        at = end;
    }
    Ok(ranges)
}

/// Copies a raw image to the start of a sink that reads as zeros, leaving out blocks of zeros.
pub fn copy(image: &File, out: &dyn BlockSink) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for range in data_ranges(image)? {
        let mut at = range.start;
        while at < range.end {
            // Up to a multiple of the buffer's length, so that blocks stay whole.
            let next = (at / BUFFER as u64 + 1) * BUFFER as u64;
            let part = &mut buffer[..(next.min(range.end) - at) as usize];
            image.read_exact_at(part, at)?;
            out.write_sparse(at, part)?;
            at += part.len() as u64;
        }
    }
    Ok(())
}
