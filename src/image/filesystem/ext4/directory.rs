//! Directory blocks: one linear block, or a hash tree where one is not enough (ext4 disk
//! layout, §"Directory Entries", §"Hash Tree Directories").

use std::ops::Range;

use super::checksum::crc32c;
use super::field::{put16, put32};
use super::geometry::BLOCK_LEN;
use super::hash::half_md4;

/// `file_type` of a directory.
const DIRECTORY: u8 = 2;
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// What entries may take in a block.
const ROOM: usize = BLOCK_LEN - TAIL;
/// `.` and `..`, twelve bytes each.
const DOTS: usize = 24;
const HALF_MD4: u8 = 1;
const ROOT_ENTRIES: usize = 32;
const ROOT_LIMIT: usize = (BLOCK_LEN - ROOT_ENTRIES) / 8 - 1;
const NODE_ENTRIES: usize = 8;
const NODE_LIMIT: usize = (BLOCK_LEN - NODE_ENTRIES) / 8 - 1;
/// Leaves of a hash tree of two levels (three need the `largedir` feature).
const MOST_LEAVES: usize = ROOT_LIMIT * NODE_LIMIT;

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its bytes, 255 at most.
    pub name: &'a [u8],
    /// The inode it points to.
    pub ino: u32,
    /// `file_type`.
    pub kind: u8,
}

fn length(name: &[u8]) -> usize {
    (8 + name.len()).next_multiple_of(4)
}

/// How the names of one directory are spread over blocks.
pub enum Shape {
    /// Everything in one block.
    Single,
    /// Positions of the names sorted by hash, cut into leaves with the hash in the index.
    Indexed(Vec<(Range<usize>, u32)>, Vec<usize>),
}

impl Shape {
    /// Chooses the shape; `None` if the directory has more names than a hash tree of two levels
    /// holds.
    pub fn new<'a>(
        names: impl Iterator<Item = &'a [u8]> + Clone,
        seed: &[u8; 16],
    ) -> Option<Shape> {
        if DOTS + names.clone().map(length).sum::<usize>() <= ROOM {
            return Some(Shape::Single);
        }
        let mut hashed: Vec<(u32, usize, usize)> = names
            .enumerate()
            .map(|(position, name)| (half_md4(seed, name), position, length(name)))
            .collect();
        hashed.sort_unstable();
        let mut leaves: Vec<(Range<usize>, u32)> = vec![(0..0, 0)];
        let mut used = 0;
        for (at, (hash, _, length)) in hashed.iter().enumerate() {
            if used + length > ROOM {
                // Names with the same hash on both sides of a cut are marked by the lowest bit.
                let continued = u32::from(hashed[at - 1].0 == *hash);
                leaves.push((at..at, hash | continued));
                used = 0;
            }
            used += length;
            if let Some((range, _)) = leaves.last_mut() {
                range.end = at + 1;
            }
        }
        if leaves.len() > MOST_LEAVES {
            return None;
        }
        Some(Shape::Indexed(
            leaves,
            hashed
                .into_iter()
                .map(|(_, position, _)| position)
                .collect(),
        ))
    }

    /// Blocks of the directory.
    pub fn blocks(&self) -> usize {
        match self {
            Shape::Single => 1,
            Shape::Indexed(leaves, _) => 1 + leaves.len() + nodes(leaves.len()),
        }
    }

    /// Whether the inode carries the index flag.
    pub fn is_indexed(&self) -> bool {
        matches!(self, Shape::Indexed(..))
    }

    /// Encodes the directory `own` in `parent`, whose checksums begin with `seed`.
    pub fn encode(&self, own: u32, parent: u32, entries: &[Entry], seed: u32) -> Vec<u8> {
        let dots = [
            Entry {
                name: b".",
                ino: own,
                kind: DIRECTORY,
            },
            Entry {
                name: b"..",
                ino: parent,
                kind: DIRECTORY,
            },
        ];
        let mut bytes = vec![0; self.blocks() * BLOCK_LEN];
        match self {
            Shape::Single => fill(&mut bytes, dots.iter().chain(entries), seed),
            Shape::Indexed(leaves, order) => {
                let mut blocks = bytes.chunks_exact_mut(BLOCK_LEN);
                if let Some(root) = blocks.next() {
                    put(root, 0, &dots[0], length(dots[0].name));
                    put(root, 12, &dots[1], BLOCK_LEN - 12);
                }
                for ((range, _), block) in leaves.iter().zip(&mut blocks) {
                    fill(
                        block,
                        order[range.clone()].iter().map(|at| &entries[*at]),
                        seed,
                    );
                }
                index(&mut bytes, leaves, seed);
            }
        }
        bytes
    }
}

/// Encodes a directory that has no names yet but room for them (`lost+found`).
pub fn empty(own: u32, parent: u32, blocks: usize, seed: u32) -> Vec<u8> {
    let mut bytes = Shape::Single.encode(own, parent, &[], seed);
    bytes.resize(blocks * BLOCK_LEN, 0);
    for block in bytes.chunks_exact_mut(BLOCK_LEN).skip(1) {
        fill(block, std::iter::empty(), seed);
    }
    bytes
}

/// Index nodes between the root and this many leaves.
fn nodes(leaves: usize) -> usize {
    if leaves > ROOT_LIMIT {
        leaves.div_ceil(NODE_LIMIT)
    } else {
        0
    }
}

fn put(block: &mut [u8], at: usize, entry: &Entry, length: usize) {
    put32(block, at, entry.ino);
    put16(block, at + 4, length as u16);
    block[at + 6] = entry.name.len() as u8;
    block[at + 7] = entry.kind;
    block[at + 8..at + 8 + entry.name.len()].copy_from_slice(entry.name);
}

/// A block of entries, the last one reaching to the checksum.
fn fill<'a>(block: &mut [u8], entries: impl Iterator<Item = &'a Entry<'a>>, seed: u32) {
    let mut at = 0;
    let mut last = 0;
    for entry in entries {
        let length = length(entry.name);
        put(block, at, entry, length);
        last = at;
        at += length;
    }
    put16(block, last + 4, (ROOM - last) as u16);
    let sum = crc32c(seed, &block[..ROOM]);
    put16(block, ROOM + 4, TAIL as u16);
    block[ROOM + 7] = TAIL_TYPE;
    put32(block, ROOM + 8, sum);
}

/// The index in the root and, where needed, in the nodes behind the leaves.
fn index(bytes: &mut [u8], leaves: &[(Range<usize>, u32)], seed: u32) {
    let mut level: Vec<(u32, u32)> = leaves
        .iter()
        .zip(1..)
        .map(|((_, hash), block)| (*hash, block))
        .collect();
    let depth = u8::from(nodes(leaves.len()) > 0);
    if depth > 0 {
        let mut above = Vec::new();
        for (chunk, place) in level.chunks(NODE_LIMIT).zip(1 + leaves.len()..) {
            let block = &mut bytes[place * BLOCK_LEN..][..BLOCK_LEN];
            put16(block, 4, BLOCK_LEN as u16);
            pointers(block, NODE_ENTRIES, NODE_LIMIT, chunk, seed);
            above.push((chunk[0].0, place as u32));
        }
        level = above;
    }
    let root = &mut bytes[..BLOCK_LEN];
    root[28] = HALF_MD4;
    root[29] = 8; // length of this information
    root[30] = depth;
    pointers(root, ROOT_ENTRIES, ROOT_LIMIT, &level, seed);
}

fn pointers(block: &mut [u8], first: usize, limit: usize, to: &[(u32, u32)], seed: u32) {
    for (slot, (hash, place)) in to.iter().enumerate() {
        put32(block, first + slot * 8, *hash);
        put32(block, first + slot * 8 + 4, *place);
    }
    // The first pointer needs no hash: its place holds the limit and the count.
    put16(block, first, limit as u16);
    put16(block, first + 2, to.len() as u16);
    let sum = crc32c(seed, &block[..first + to.len() * 8]);
    let sum = crc32c(sum, &[0; 8]);
    put32(block, first + limit * 8 + 4, sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_indexed_only_when_one_block_is_not_enough() {
        let names: Vec<Vec<u8>> = (0..256).map(|n| format!("{n:08}").into_bytes()).collect();
        let shape = |count: usize| {
            Shape::new(names[..count].iter().map(Vec::as_slice), &[0; 16])
                .unwrap()
                .blocks()
        };
        assert_eq!(shape(253), 1);
        assert_eq!(shape(254), 2);
        assert_eq!(shape(256), 3);
    }

    #[test]
    fn names_of_the_same_hash_may_be_cut_over_two_leaves() {
        let name = [b'x'; 200];
        let shape = Shape::new(std::iter::repeat_n(&name[..], 40), &[0; 16]).unwrap();
        let Shape::Indexed(leaves, _) = shape else {
            panic!("one block")
        };
        assert_eq!(leaves[1].1 & 1, 1);
    }
}
