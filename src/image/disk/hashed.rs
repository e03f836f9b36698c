//! A disk that is hashed while it is written.

use super::direct::Direct;
use crate::image::filesystem::{BlockSink, PART};
use crate::image::identity::{parts, zeros};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// A file that reads as zeros where nothing has been written. A part of it that is written as a
/// whole, and no more, is not read again for its digest; and if it holds just that already, it
/// is not written either.
pub struct Hashed<'a> {
    file: &'a File,
    out: Direct<'a>,
    size: u64,
    /// The digests of what the parts hold before; none where the file is empty.
    before: &'a [[u8; 32]],
    zeros: [u8; 32],
    parts: Mutex<Vec<Part>>,
}

#[derive(Clone, Copy)]
enum Part {
    /// Nothing has been written to it.
    Untouched,
    /// It was written once, as a whole.
    Whole([u8; 32]),
    /// It must be read.
    Pieces,
}

impl<'a> Hashed<'a> {
    /// A file of `size` bytes whose parts hold what has these digests; without any it reads as
    /// zeros. `direct` is the same file, opened with `O_DIRECT`.
    pub fn new(
        file: &'a File,
        direct: Option<&'a File>,
        size: u64,
        before: &'a [[u8; 32]],
    ) -> Hashed<'a> {
        let parts = usize::try_from(size.div_ceil(PART)).unwrap_or(usize::MAX);
        Hashed {
            file,
            out: Direct::new(file, direct),
            size,
            before,
            zeros: zeros(),
            parts: Mutex::new(vec![Part::Untouched; parts]),
        }
    }

    /// The digests of the parts, as they are when all is written.
    pub fn finish(self) -> io::Result<Vec<[u8; 32]>> {
        let written = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, part) in written.iter().enumerate() {
            if let Part::Untouched = part {
                self.clear(index)?;
            }
        }
        parts(self.file, |index| match written.get(index) {
            Some(Part::Whole(digest)) => Some(*digest),
            _ => None,
        })
    }

    /// Notes a write. Returns whether the file holds something else there.
    fn note(&self, offset: u64, length: u64, digest: Option<[u8; 32]>) -> io::Result<bool> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut differs = false;
        for index in offset / PART..(offset + length).div_ceil(PART) {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(part) = parts.get_mut(index) else {
                return Ok(true);
            };
            let first = matches!(part, Part::Untouched);
            *part = match digest {
                Some(digest) if first => Part::Whole(digest),
                _ => Part::Pieces,
            };
            if first && digest.is_some() && self.before.get(index) == digest.as_ref() {
                continue;
            }
            differs = true;
            if first {
                self.clear(index)?;
            }
        }
        Ok(differs)
    }

    /// Makes a part read as zeros.
    fn clear(&self, index: usize) -> io::Result<()> {
        let holds = self.before.get(index);
        if holds.is_none_or(|digest| *digest == self.zeros) {
            return Ok(());
        }
        let start = index as u64 * PART;
        let length = PART.min(self.size - start);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(self.file, flags, start as i64, length as i64) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                self.file.write_all_at(&vec![0; length as usize], start)
            }
            cleared => Ok(cleared?),
        }
    }
}

impl BlockSink for Hashed<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(offset, bytes.len() as u64, None)?;
        self.file.write_all_at(bytes, offset)
    }

    fn write_sparse(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = offset.is_multiple_of(PART) && bytes.len() as u64 == PART;
        let digest = whole.then(|| Sha256::digest(bytes).into());
        match self.note(offset, bytes.len() as u64, digest)? {
            true => self.out.write_sparse(offset, bytes),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Writes to a file that holds `before`; returns the digests and what it holds then.
    fn written(before: &[u8], sparse: bool, writes: &[(u64, &[u8])]) -> (Vec<[u8; 32]>, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(before, 0).unwrap();
        let known = parts(&file, |_| None).unwrap();
        let size = file.metadata().unwrap().len();
        let hashed = Hashed::new(&file, None, size, &known);
        for (offset, bytes) in writes {
            match sparse {
                true => hashed.write_sparse(*offset, bytes).unwrap(),
                false => hashed.write_at(*offset, bytes).unwrap(),
            }
        }
        let told = hashed.finish().unwrap();
        assert_eq!(told, parts(&file, |_| None).unwrap());
        let mut holds = vec![0; size as usize];
        file.read_exact_at(&mut holds, 0).unwrap();
        (told, holds)
    }

    #[test]
    fn however_it_is_written_and_whatever_it_held_the_result_is_the_same() {
        let part = PART as usize;
        let size = 5 * part + 100;
        let mut mixed = vec![7; part];
        mixed[4096..9000].fill(0);
        type Write<'a> = (u64, &'a [u8]);
        let writes: [&[Write]; 6] = [
            &[],
            &[(0, &mixed), (2 * PART, &mixed)],
            &[(PART, &mixed), (PART + 9, b"later")],
            &[(PART + 9, b"earlier"), (PART, &mixed)],
            &[(PART, &mixed), (PART, &mixed)],
            &[(PART / 2, &mixed), (5 * PART, b"at the end")],
        ];
        let empty = vec![0; size];
        let full = vec![9; size];
        // Some parts as they are to be, one as nearly.
        let mut near = empty.clone();
        near[..part].copy_from_slice(&mixed);
        near[part..2 * part].copy_from_slice(&mixed);
        near[2 * part..3 * part].copy_from_slice(&mixed);
        near[2 * part + 5000] = 1;
        near[5 * part..][..10].copy_from_slice(b"at the end");
        for writes in writes {
            let expected = written(&empty, true, writes);
            for before in [&empty, &full, &near] {
                for sparse in [false, true] {
                    assert!(written(before, sparse, writes) == expected);
                }
            }
        }
    }

    #[test]
    fn a_part_that_is_there_already_is_not_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = vec![7; PART as usize];
        file.as_file().write_all_at(&held, 0).unwrap();
        let known = parts(file.as_file(), |_| None).unwrap();
        // A write through this one would be refused.
        let read_only = File::open(file.path()).unwrap();
        let hashed = Hashed::new(&read_only, None, PART, &known);
        hashed.write_sparse(0, &held).unwrap();
        assert_eq!(hashed.finish().unwrap(), known);
        let hashed = Hashed::new(&read_only, None, PART, &known);
        assert!(hashed.write_sparse(0, &vec![8; PART as usize]).is_err());
    }
}
