//! A virtual tree to a filesystem image: one trait, one folder or file per format.
//!
//! A writer gets the tree, a size and a [`BlockSink`] that reads as zeros wherever nothing has
//! been written, and writes only what is not zero, so that images stay sparse.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::tree::Tree;

pub mod ext4;
pub mod fat;

/// Where a filesystem goes: a positioned writer that several threads may use at once.
///
/// It must read as zeros wherever nothing has been written: a new file, or a device that has
/// been discarded.
pub trait BlockSink: Sync {
    /// Writes all of `bytes` at `offset` bytes from the start of the filesystem.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes the blocks of `bytes` that are not all zeros, neighbours together.
    fn write_sparse(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut blocks = bytes.chunks(SPARSE_BLOCK).peekable();
        let mut at = 0;
        while let Some(block) = blocks.next() {
            let from = at;
            at += block.len();
            if is_zero(block) {
                continue;
            }
            while let Some(block) = blocks.next_if(|block| !is_zero(block)) {
                at += block.len();
            }
            self.write_at(offset + from as u64, &bytes[from..at])?;
        }
        Ok(())
    }

    /// Where this begins on the disk, in bytes: who writes whole [`PART`]s of the disk at once
    /// spares it to be read again.
    fn start(&self) -> u64 {
        0
    }
}

/// Bytes of a part of a disk that has a digest of its own.
pub const PART: u64 = 4 << 20;

/// The length at which zeros are left out.
const SPARSE_BLOCK: usize = 4096;

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let chunks = bytes.chunks_exact(64);
    let rest = chunks.remainder();
    chunks
        .into_iter()
        .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

impl BlockSink for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
}

/// A part of another sink, for example one partition of a disk.
pub struct Window<'a> {
    /// The whole.
    pub sink: &'a dyn BlockSink,
    /// Where the part begins, in bytes.
    pub start: u64,
    /// How long it is, in bytes; a write past it is an error.
    pub length: u64,
}

impl BlockSink for Window<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes)?;
        self.sink.write_at(self.start + offset, bytes)
    }

    fn write_sparse(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes)?;
        self.sink.write_sparse(self.start + offset, bytes)
    }

    fn start(&self) -> u64 {
        self.sink.start() + self.start
    }
}

impl Window<'_> {
    fn check(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        match end.is_some_and(|end| end <= self.length) {
            true => Ok(()),
            false => Err(io::Error::other("a write passes the end of its partition")),
        }
    }
}

/// A filesystem format that can hold a tree.
pub trait Filesystem {
    /// The least size in bytes that holds this tree and the free space that the format's
    /// parameters ask for; [`Filesystem::write`] accepts any size from there on.
    fn minimum_size(&self, tree: &Tree) -> Result<u64, FilesystemError>;

    /// Writes the tree as a filesystem of `size` bytes. The same tree, parameters and size give
    /// the same bytes.
    fn write(&self, tree: &Tree, size: u64, out: &dyn BlockSink) -> Result<(), FilesystemError>;
}

/// Why a tree could not become a filesystem.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// The size given does not hold the tree.
    #[error("{size} bytes are too few for this tree, which needs {needed} bytes as {format}")]
    TooSmall {
        /// Name of the format.
        format: &'static str,
        /// Bytes given.
        size: u64,
        /// Bytes that are enough.
        needed: u64,
    },
    /// The tree passes a limit of the format whatever the size.
    #[error("the tree passes what {format} can hold: {what}")]
    TooLarge {
        /// Name of the format.
        format: &'static str,
        /// The limit.
        what: String,
    },
    /// A parameter is not possible.
    #[error("{format}: {what}")]
    Parameter {
        /// Name of the format.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A node cannot be represented.
    #[error("`{path}`: {reason}")]
    Node {
        /// Path in the tree, bytes that are not UTF-8 replaced.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file on the build host is not as long as the tree says.
    #[error("`{}` changed while it was read: expected {expected} bytes, found {found}", path.display())]
    Changed {
        /// The file on the build host.
        path: PathBuf,
        /// Bytes in the tree.
        expected: u64,
        /// Bytes read; `expected + 1` stands for more.
        found: u64,
    },
    /// A file on the build host could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file on the build host.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image could not be written.
    #[error("cannot write the filesystem: {0}")]
    Write(#[source] io::Error),
}
