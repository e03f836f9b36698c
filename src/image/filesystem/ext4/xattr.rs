//! Extended attributes in the inode's body and in one block (ext4 disk layout, §"Extended
//! Attributes").

use std::collections::BTreeMap;

use super::checksum::crc32c;
use super::field::{put16, put32};
use super::geometry::{BLOCK_LEN, INODE_LEN};
use super::inode::BODY;

const MAGIC: u32 = 0xea02_0000;
const ENTRY: usize = 16;
const BLOCK_HEADER: usize = 32;
/// What a body holds: its magic and the four zero bytes that end the entries are not counted.
const BODY_ROOM: usize = INODE_LEN - BODY - 8;
/// What a block holds.
const BLOCK_ROOM: usize = BLOCK_LEN - BLOCK_HEADER - 4;

/// The attributes of one inode, split over its body and a block.
#[derive(Debug, Default)]
pub struct Xattrs {
    body: Vec<Attribute>,
    block: Vec<Attribute>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    index: u8,
    length: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn room(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    /// `ext4_xattr_hash_entry`.
    fn hash(&self) -> u32 {
        let mut hash = 0u32;
        for byte in &self.name {
            hash = hash.rotate_left(5) ^ u32::from(*byte);
        }
        for chunk in self.value.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
        }
        hash
    }
}

impl Xattrs {
    /// Splits attributes by full name; the error is why one cannot be stored.
    pub fn new(attributes: &BTreeMap<String, Vec<u8>>) -> Result<Xattrs, String> {
        let mut all = Vec::new();
        for (full, value) in attributes {
            all.push(attribute(full, value)?);
        }
        all.sort();
        let mut result = Xattrs::default();
        let (mut body, mut block) = (0, 0);
        for attribute in all {
            let room = attribute.room();
            if body + room <= BODY_ROOM {
                body += room;
                result.body.push(attribute);
            } else {
                block += room;
                result.block.push(attribute);
            }
        }
        if block > BLOCK_ROOM {
            return Err(format!(
                "its extended attributes take {block} bytes outside of the inode, ext4 holds \
                 {BLOCK_ROOM}"
            ));
        }
        Ok(result)
    }

    /// Whether a block is needed.
    pub fn has_block(&self) -> bool {
        !self.block.is_empty()
    }

    /// The part of the inode after its fixed fields.
    pub fn body(&self) -> [u8; INODE_LEN - BODY] {
        let mut area = [0; INODE_LEN - BODY];
        if !self.body.is_empty() {
            put32(&mut area, 0, MAGIC);
            store(&mut area[4..], 0, &self.body);
        }
        area
    }

    /// The block, for its place.
    pub fn block(&self, place: u64, seed: u32) -> Vec<u8> {
        let mut block = vec![0; BLOCK_LEN];
        put32(&mut block, 0, MAGIC);
        put32(&mut block, 4, 1);
        put32(&mut block, 8, 1);
        let whole = self
            .block
            .iter()
            .fold(0u32, |hash, a| hash.rotate_left(16) ^ a.hash());
        let whole = if self.block.iter().any(|a| a.hash() == 0) {
            0
        } else {
            whole
        };
        put32(&mut block, 12, whole);
        store(&mut block, BLOCK_HEADER, &self.block);
        let sum = crc32c(crc32c(seed, &place.to_le_bytes()), &block);
        put32(&mut block, 16, sum);
        block
    }
}

/// Entries from `first` on, values from the end down; value offsets count from the start of
/// `area`.
fn store(area: &mut [u8], first: usize, attributes: &[Attribute]) {
    let mut entry = first;
    let mut values = area.len();
    for attribute in attributes {
        let value = &attribute.value;
        values -= value.len().next_multiple_of(4);
        area[values..values + value.len()].copy_from_slice(value);
        area[entry] = attribute.name.len() as u8;
        area[entry + 1] = attribute.index;
        put16(
            area,
            entry + 2,
            if value.is_empty() { 0 } else { values as u16 },
        );
        put32(area, entry + 8, value.len() as u32);
        put32(area, entry + 12, attribute.hash());
        let name = entry + ENTRY;
        area[name..name + attribute.name.len()].copy_from_slice(&attribute.name);
        entry = name + attribute.name.len().next_multiple_of(4);
    }
}

fn attribute(full: &str, value: &[u8]) -> Result<Attribute, String> {
    let acl = |index| match access_list(value) {
        Some(value) => Ok((index, "", value)),
        None => Err(format!(
            "the value of `{full}` is not an access control list"
        )),
    };
    let (index, name, value) = match full {
        "system.posix_acl_access" => acl(2)?,
        "system.posix_acl_default" => acl(3)?,
        _ => {
            let (index, name) = [
                (1, "user."),
                (4, "trusted."),
                (6, "security."),
                (7, "system."),
            ]
            .into_iter()
            .find_map(|(index, prefix)| Some((index, full.strip_prefix(prefix)?)))
            .ok_or_else(|| format!("ext4 has no class for the attribute `{full}`"))?;
            (index, name, value.to_vec())
        }
    };
    let bare = matches!(index, 2 | 3);
    if name.len() > 255 || name.contains('\0') || (name.is_empty() && !bare) {
        return Err(format!(
            "`{full}` cannot be the name of an extended attribute"
        ));
    }
    let name = name.as_bytes().to_vec();
    Ok(Attribute {
        index,
        length: name.len(),
        name,
        value,
    })
}

/// The kernel's attribute form of an access control list (version 2, eight bytes an entry) to
/// ext4's own (version 1, ids only where they mean something; fs/ext4/acl.h).
fn access_list(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let mut result = 1u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let named = matches!(u16::from_le_bytes([entry[0], entry[1]]), 0x02 | 0x08);
        result.extend_from_slice(&entry[..if named { 8 } else { 4 }]);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_stays_in_the_inode_and_a_large_value_goes_to_the_block() {
        let mut attributes = BTreeMap::new();
        attributes.insert("security.capability".to_string(), vec![1; 20]);
        assert!(!Xattrs::new(&attributes).unwrap().has_block());
        attributes.insert("user.big".to_string(), vec![1; 4000]);
        let split = Xattrs::new(&attributes).unwrap();
        assert_eq!((split.body.len(), split.block.len()), (1, 1));
    }

    #[test]
    fn refusals_say_what_is_wrong_with_an_attribute() {
        let refusal = |name: &str, value: Vec<u8>| {
            Xattrs::new(&BTreeMap::from([(name.to_string(), value)])).unwrap_err()
        };
        assert_eq!(
            refusal("user.big", vec![0; 5000]),
            "its extended attributes take 5020 bytes outside of the inode, ext4 holds 4060"
        );
        assert_eq!(
            refusal("odd", vec![]),
            "ext4 has no class for the attribute `odd`"
        );
        assert_eq!(
            refusal("user.", vec![]),
            "`user.` cannot be the name of an extended attribute"
        );
        assert_eq!(
            refusal("system.posix_acl_access", vec![9; 4]),
            "the value of `system.posix_acl_access` is not an access control list"
        );
    }
}
