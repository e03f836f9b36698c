//! Writing the pieces: threads each fill a buffer with pieces that lie side by side and write
//! what is not zero.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use super::checksum::inode_seed;
use super::directory::Shape;
use super::geometry::{BLOCK, BLOCK_LEN};
use super::layout::{LONGEST_PIECE, Piece, Source};
use super::need::Need;
use super::number::Numbered;
use crate::image::filesystem::{BlockSink, FilesystemError};
use crate::image::tree::{Content, Kind, Tree};

/// What the pieces refer to.
pub struct Contents<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its inode numbers.
    pub numbered: &'a Numbered<'a>,
    /// Its needs.
    pub needs: &'a [Need],
    /// Seed of names in indexed directories.
    pub hash_seed: &'a [u8; 16],
    /// Seed of checksums.
    pub seed: u32,
}

impl Contents<'_> {
    /// Writes all pieces.
    pub fn write(&self, pieces: &[Piece], out: &dyn BlockSink) -> Result<(), FilesystemError> {
        batches(pieces)
            .into_par_iter()
            .try_for_each_init(Vec::new, |buffer, batch| {
                let Some(first) = batch.first() else {
                    return Ok(());
                };
                let blocks: u64 = batch.iter().map(|piece| piece.run.length).sum();
                let length = blocks as usize * BLOCK_LEN;
                if buffer.len() < length {
                    buffer.resize(length, 0);
                }
                let mut rest = &mut buffer[..length];
                for piece in batch {
                    let (own, after) = rest.split_at_mut(piece.run.length as usize * BLOCK_LEN);
                    self.fill(piece, own)?;
                    rest = after;
                }
                out.write_sparse(first.run.start * BLOCK, &buffer[..length])
                    .map_err(FilesystemError::Write)
            })
    }

    fn fill(&self, piece: &Piece, into: &mut [u8]) -> Result<(), FilesystemError> {
        match &piece.source {
            Source::Bytes(bytes) => into.copy_from_slice(bytes),
            Source::Directory { need, block } => {
                let bytes = self.directory(&self.needs[*need]);
                into.copy_from_slice(&bytes[*block as usize * BLOCK_LEN..][..into.len()]);
            }
            Source::File { node, offset } => {
                let filled = match &self.tree.nodes[*node].kind {
                    Kind::Symlink(target) => copy(target, *offset, into),
                    Kind::File(Content::Bytes(bytes)) => copy(bytes, *offset, into),
                    Kind::File(Content::Path { path, size }) => read(path, *size, *offset, into)?,
                    _ => 0,
                };
                into[filled..].fill(0);
            }
        }
        Ok(())
    }

    fn directory(&self, need: &Need) -> Vec<u8> {
        let entries = self.numbered.entries(need.node);
        let seed = inode_seed(self.seed, need.ino);
        let parent = self.numbered.parent_ino(need.node);
        Shape::new(entries.iter().map(|entry| entry.name), self.hash_seed)
            .map(|shape| shape.encode(need.ino, parent, &entries, seed))
            .unwrap_or_default()
    }
}

/// Pieces that lie side by side, about [`LONGEST_PIECE`] blocks together.
fn batches(pieces: &[Piece]) -> Vec<&[Piece]> {
    let mut batches = Vec::new();
    let mut from = 0;
    let mut blocks = 0;
    for (at, piece) in pieces.iter().enumerate() {
        let follows = at > 0 && pieces[at - 1].run.end() == piece.run.start;
        if at > from && (!follows || blocks + piece.run.length > LONGEST_PIECE) {
            batches.push(&pieces[from..at]);
            from = at;
            blocks = 0;
        }
        blocks += piece.run.length;
    }
    if from < pieces.len() {
        batches.push(&pieces[from..]);
    }
    batches
}

fn copy(bytes: &[u8], offset: u64, into: &mut [u8]) -> usize {
    let rest = bytes.get(offset as usize..).unwrap_or_default();
    let length = rest.len().min(into.len());
    into[..length].copy_from_slice(&rest[..length]);
    length
}

/// Fills a buffer from a file; the piece that holds the file's end looks past it.
fn read(path: &Path, size: u64, offset: u64, into: &mut [u8]) -> Result<usize, FilesystemError> {
    let failed = |source| FilesystemError::Read {
        path: path.to_path_buf(),
        source,
    };
    let changed = |found| FilesystemError::Changed {
        path: path.to_path_buf(),
        expected: size,
        found,
    };
    let file = File::open(path).map_err(failed)?;
    let wanted = (size - offset).min(into.len() as u64) as usize;
    let mut filled = 0;
    // A file may only be longer than expected by what still fits in its last block …
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        if filled == wanted && wanted < into.len() {
            break;
        }
    }
    if filled < wanted {
        return Err(changed(offset + filled as u64));
    }
    // … or, where that is full, by a byte behind it.
    let at_end = offset + wanted as u64 == size;
    let longer = filled > wanted
        || at_end && wanted == into.len() && file.read_at(&mut [0], size).map_err(failed)? > 0;
    if longer {
        Err(changed(size + 1))
    } else {
        Ok(filled)
    }
}
