//! Extent trees (ext4 disk layout, §"Extent Tree").

use super::checksum::crc32c;
use super::field::{high32, low32, put16, put32};
use super::geometry::{BLOCK_LEN, Run};

const MAGIC: u16 = 0xf30a;
const ENTRY: usize = 12;
/// Entries in the 60 bytes of an inode.
const IN_INODE: usize = 4;
/// Entries in a block, with its checksum behind them.
const IN_BLOCK: usize = (BLOCK_LEN - ENTRY) / ENTRY;
/// Blocks that one entry can map.
pub const LONGEST: u64 = 32768;

/// One mapped range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First block of the file.
    pub logical: u64,
    /// Where it lies.
    pub run: Run,
}

/// Cuts ranges into what single entries can map, joining what continues.
pub fn entries(mapped: &[Extent]) -> Vec<Extent> {
    let mut result: Vec<Extent> = Vec::with_capacity(mapped.len());
    for extent in mapped {
        let mut done = 0;
        while done < extent.run.length {
            let length = (extent.run.length - done).min(LONGEST);
            let run = Run {
                start: extent.run.start + done,
                length,
            };
            result.push(Extent {
                logical: extent.logical + done,
                run,
            });
            done += length;
        }
    }
    result
}

/// How many blocks of their own this many entries need.
pub fn blocks_for(entries: usize) -> usize {
    let mut level = entries;
    let mut total = 0;
    while level > IN_INODE {
        level = level.div_ceil(IN_BLOCK);
        total += level;
    }
    total
}

/// An encoded tree: the 60 bytes of the inode and the blocks, each with its place.
pub struct Encoded {
    /// `i_block`.
    pub root: [u8; 60],
    /// Nodes outside of the inode.
    pub blocks: Vec<(u64, Vec<u8>)>,
}

/// Encodes a tree over `entries`, its nodes in `places` (as many as [`blocks_for`] says).
pub fn encode(entries: &[Extent], places: &[u64], inode_seed: u32) -> Encoded {
    let mut places = places.iter().copied();
    let mut blocks = Vec::new();
    let mut depth = 0;
    let mut level: Vec<[u8; ENTRY]> = entries.iter().map(leaf).collect();
    let mut firsts: Vec<u64> = entries.iter().map(|entry| entry.logical).collect();
    while level.len() > IN_INODE {
        let mut above = Vec::new();
        let mut above_firsts = Vec::new();
        for (chunk, first) in level.chunks(IN_BLOCK).zip(firsts.iter().step_by(IN_BLOCK)) {
            let Some(place) = places.next() else { break };
            let mut block = vec![0; BLOCK_LEN];
            fill(&mut block, chunk, depth, IN_BLOCK);
            let tail = ENTRY + IN_BLOCK * ENTRY;
            let sum = crc32c(inode_seed, &block[..tail]);
            put32(&mut block, tail, sum);
            blocks.push((place, block));
            above.push(index(*first, place));
            above_firsts.push(*first);
        }
        level = above;
        firsts = above_firsts;
        depth += 1;
    }
    let mut root = [0; 60];
    fill(&mut root, &level, depth, IN_INODE);
    Encoded { root, blocks }
}

fn fill(node: &mut [u8], entries: &[[u8; ENTRY]], depth: u16, most: usize) {
    put16(node, 0, MAGIC);
    put16(node, 2, entries.len() as u16);
    put16(node, 4, most as u16);
    put16(node, 6, depth);
    for (slot, entry) in node[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        slot.copy_from_slice(entry);
    }
}

fn leaf(extent: &Extent) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put32(&mut entry, 0, low32(extent.logical));
    put16(&mut entry, 4, extent.run.length as u16);
    put16(&mut entry, 6, high32(extent.run.start) as u16);
    put32(&mut entry, 8, low32(extent.run.start));
    entry
}

fn index(first: u64, place: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put32(&mut entry, 0, low32(first));
    put32(&mut entry, 4, low32(place));
    put16(&mut entry, 8, high32(place) as u16);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_as_many_blocks_as_were_counted() {
        for count in [0usize, 1, 4, 5, 340, 341, 1360, 1361, 200_000] {
            let entries: Vec<Extent> = (0..count as u64)
                .map(|n| Extent {
                    logical: 2 * n,
                    run: Run {
                        start: 100 + n,
                        length: 1,
                    },
                })
                .collect();
            let places: Vec<u64> = (0..blocks_for(count) as u64).collect();
            assert_eq!(encode(&entries, &places, 0).blocks.len(), places.len());
        }
    }

    #[test]
    fn an_entry_maps_at_most_32768_blocks() {
        let cut = entries(&[Extent {
            logical: 5,
            run: Run {
                start: 9,
                length: 70_000,
            },
        }]);
        assert_eq!(
            cut.iter().map(|e| e.run.length).collect::<Vec<_>>(),
            [32768, 32768, 4464]
        );
        assert_eq!(cut[2].logical, 5 + 65536);
    }
}
