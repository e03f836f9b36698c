//! A disk that is hashed while it is written.

use crate::image::filesystem::{BlockSink, PART};
use crate::image::identity::digest_rest;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// A file that reads as zeros where nothing has been written. A part of it that is written as a
/// whole, and no more, is not read again for its digest.
pub struct Hashed<'a> {
    file: &'a File,
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
    /// A file of `size` bytes.
    pub fn new(file: &'a File, size: u64) -> Hashed<'a> {
        let parts = usize::try_from(size.div_ceil(PART)).unwrap_or(usize::MAX);
        Hashed {
            file,
            parts: Mutex::new(vec![Part::Untouched; parts]),
        }
    }

    /// The digest of all that was written, as `digest_parts` has it.
    pub fn digest(&self) -> io::Result<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        digest_rest(self.file, |index| match parts.get(index) {
            Some(Part::Whole(digest)) => Some(*digest),
            _ => None,
        })
    }

    /// Notes a write.
    fn note(&self, offset: u64, length: u64, digest: Option<[u8; 32]>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for index in offset / PART..(offset + length).div_ceil(PART) {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            if let Some(part) = parts.get_mut(index) {
                *part = match (*part, digest) {
                    (Part::Untouched, Some(digest)) => Part::Whole(digest),
                    _ => Part::Pieces,
                };
            }
        }
    }
}

impl BlockSink for Hashed<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(offset, bytes.len() as u64, None);
        self.file.write_all_at(bytes, offset)
    }

    fn write_sparse(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = offset.is_multiple_of(PART) && bytes.len() as u64 == PART;
        let digest = whole.then(|| Sha256::digest(bytes).into());
        self.note(offset, bytes.len() as u64, digest);
        self.file.write_sparse(offset, bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::image::identity::digest_parts;

    #[test]
    fn however_it_is_written_the_digest_is_that_of_the_file() {
        let part = PART as usize;
        let size = 5 * PART + 100;
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
        for writes in writes {
            for sparse in [false, true] {
                let file = tempfile::tempfile().unwrap();
                file.set_len(size).unwrap();
                let hashed = Hashed::new(&file, size);
                for (offset, bytes) in writes {
                    match sparse {
                        true => hashed.write_sparse(*offset, bytes).unwrap(),
                        false => hashed.write_at(*offset, bytes).unwrap(),
                    }
                }
                assert_eq!(hashed.digest().unwrap(), digest_parts(&file).unwrap());
            }
        }
    }
}
