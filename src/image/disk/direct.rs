//! A file written past the memory that the system keeps of files (open(2), `O_DIRECT`), where
//! the disk is fast enough for that.
//!
//! A disk image is as large as all that went into it: kept in memory it drives out what the
//! person works with, and finding that memory can take longer than writing to the disk. A slow
//! disk would be waited for, though; such a one takes the rest through memory, as ever.

use crate::image::filesystem::BlockSink;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What addresses, lengths and memory must be multiples of for any disk.
pub const ALIGNED: usize = 4096;
/// Less than this at once is not worth a way to the disk.
const LEAST: usize = 256 << 10;
/// How much is written before the disk is judged.
const TRIAL: u64 = 64 << 20;
/// Bytes in a second of one writer below which a disk is slow.
const SLOW: u64 = 200 << 20;

/// Two ways into one file.
pub struct Direct<'a> {
    through_memory: &'a File,
    direct: Option<&'a File>,
    /// Bytes written directly, and the time it took.
    spent: Mutex<(u64, Duration)>,
}

impl<'a> Direct<'a> {
    /// `direct` is the same file, opened with `O_DIRECT`; none where the filesystem cannot.
    pub fn new(through_memory: &'a File, direct: Option<&'a File>) -> Direct<'a> {
        Direct {
            through_memory,
            direct,
            spent: Mutex::default(),
        }
    }

    /// The direct way, if these bytes may take it.
    fn way(&self, offset: u64, bytes: &[u8]) -> Option<&File> {
        let direct = self.direct?;
        let whole = |number: u64| number.is_multiple_of(ALIGNED as u64);
        let aligned = bytes.as_ptr().align_offset(ALIGNED) == 0;
        let fits = whole(offset) && whole(bytes.len() as u64) && bytes.len() >= LEAST && aligned;
        (fits && !self.is_slow()).then_some(direct)
    }

    fn is_slow(&self) -> bool {
        let (bytes, time) = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        bytes >= TRIAL && u128::from(bytes) * 1_000_000 < u128::from(SLOW) * time.as_micros()
    }
}

impl BlockSink for Direct<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(direct) = self.way(offset, bytes) else {
            return self.through_memory.write_all_at(bytes, offset);
        };
        let begun = Instant::now();
        match direct.write_all_at(bytes, offset) {
            // A disk that wants larger multiples.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.through_memory.write_all_at(bytes, offset)
            }
            written => {
                let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
                spent.0 += bytes.len() as u64;
                spent.1 += begun.elapsed();
                written
            }
        }
    }
}

/// `length` bytes of a buffer that begin where a direct write may; it grows as needed.
pub fn aligned(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length + ALIGNED {
        buffer.resize(length + ALIGNED, 0);
    }
    let start = buffer.as_ptr().align_offset(ALIGNED);
    &mut buffer[start..start + length]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn what_is_written_either_way_is_there() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("disk");
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.set_len(4 << 20).unwrap();
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_DIRECT)
            .open(&path)
            .ok();
        let sink = Direct::new(&file, direct.as_ref());
        let mut buffer = Vec::new();
        let bytes = aligned(&mut buffer, 1 << 20);
        bytes.fill(7);
        sink.write_at(1 << 20, bytes).unwrap();
        // Too short, at an odd place, from odd memory.
        sink.write_at(8192, &bytes[..4096]).unwrap();
        sink.write_at((2 << 20) + 512, &bytes[..LEAST]).unwrap();
        sink.write_at(3 << 20, &bytes[1..LEAST + 1]).unwrap();
        let mut expected = vec![0; 4 << 20];
        expected[1 << 20..2 << 20].fill(7);
        expected[8192..12288].fill(7);
        expected[(2 << 20) + 512..][..LEAST].fill(7);
        expected[3 << 20..][..LEAST].fill(7);
        let mut found = vec![0; 4 << 20];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
        if direct.is_some() {
            assert_eq!(sink.spent.lock().unwrap().0, 1 << 20);
        }
    }

    #[test]
    fn a_slow_disk_is_not_waited_for() {
        let file = tempfile::tempfile().unwrap();
        let sink = Direct::new(&file, Some(&file));
        let mut buffer = Vec::new();
        let bytes = aligned(&mut buffer, LEAST);
        let judged = |spent: u64, time: Duration| {
            *sink.spent.lock().unwrap() = (spent, time);
            sink.way(0, bytes).is_some()
        };
        assert!(judged(TRIAL, Duration::from_millis(100)));
        assert!(
            judged(TRIAL - 1, Duration::from_secs(9)),
            "too early to tell"
        );
        assert!(!judged(TRIAL, Duration::from_secs(1)));
        assert!(judged(SLOW, Duration::from_secs(1)));
    }
}
