//! Writing the pieces: threads each fill a buffer with what lies side by side in one part of the
//! disk, and write what is not zero.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use super::checksum::inode_seed;
use super::directory::Shape;
use super::geometry::{BLOCK, BLOCK_LEN};
use super::layout::{Piece, Source};
use super::need::Need;
use super::number::Numbered;
use crate::image::disk::direct::aligned;
use crate::image::filesystem::{BlockSink, FilesystemError, PART};
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
    /// Writes all pieces, which ascend by place.
    pub fn write(&self, pieces: &[Piece], out: &dyn BlockSink) -> Result<(), FilesystemError> {
        batches(pieces, out.start() / BLOCK)
            .into_par_iter()
            .try_for_each_init(Vec::new, |buffer, batch| {
                let Some(first) = batch.first() else {
                    return Ok(());
                };
                let blocks: u64 = batch.iter().map(|stretch| stretch.length).sum();
                let length = blocks as usize * BLOCK_LEN;
                let bytes = aligned(buffer, length);
                let mut rest = &mut bytes[..];
                for stretch in &batch {
                    let (own, after) = rest.split_at_mut(stretch.length as usize * BLOCK_LEN);
                    self.fill(stretch, own)?;
                    rest = after;
                }
                out.write_sparse(first.start() * BLOCK, bytes)
                    .map_err(FilesystemError::Write)
            })
    }

    fn fill(&self, stretch: &Stretch, into: &mut [u8]) -> Result<(), FilesystemError> {
        match &stretch.piece.source {
            Source::Bytes(bytes) => {
                let from = stretch.from as usize * BLOCK_LEN;
                into.copy_from_slice(&bytes[from..][..into.len()]);
            }
            Source::Directory { need, block } => {
                let bytes = self.directory(&self.needs[*need]);
                let from = (*block + stretch.from) as usize * BLOCK_LEN;
                into.copy_from_slice(&bytes[from..][..into.len()]);
            }
            Source::File { node, offset } => {
                let offset = offset + stretch.from * BLOCK;
                let filled = match &self.tree.nodes[*node].kind {
                    Kind::Symlink(target) => copy(target, offset, into),
                    Kind::File(Content::Bytes(bytes)) => copy(bytes, offset, into),
                    Kind::File(Content::Path { path, size }) => read(path, *size, offset, into)?,
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

/// Blocks of a part of the disk.
const PART_BLOCKS: u64 = PART / BLOCK;

/// Blocks of a piece that lie in one part of the disk.
struct Stretch<'a> {
    piece: &'a Piece,
    /// The first of the piece's blocks.
    from: u64,
    /// How many blocks.
    length: u64,
}

impl Stretch<'_> {
    /// Its first block.
    fn start(&self) -> u64 {
        self.piece.run.start + self.from
    }

    fn end(&self) -> u64 {
        self.start() + self.length
    }
}

/// What lies side by side in one part of the disk, on which the filesystem begins with the
/// block `first`.
fn batches(pieces: &[Piece], first: u64) -> Vec<Vec<Stretch<'_>>> {
    let mut batches: Vec<Vec<Stretch>> = Vec::new();
    let mut end = None;
    for piece in pieces {
        let mut from = 0;
        while from < piece.run.length {
            let place = piece.run.start + from;
            let in_part = (first + place) % PART_BLOCKS;
            let length = (PART_BLOCKS - in_part).min(piece.run.length - from);
            let stretch = Stretch {
                piece,
                from,
                length,
            };
            from += length;
            let follows = end == Some(place) && in_part > 0;
            end = Some(stretch.end());
            match batches.last_mut() {
                Some(batch) if follows => batch.push(stretch),
                _ => batches.push(vec![stretch]),
            }
        }
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
