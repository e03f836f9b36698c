//! Long names and the short ones that stand beside them (FAT specification, §"Long File Name
//! Implementation", §"The Basis-Name Generation Algorithm").

use std::collections::BTreeSet;

use super::{ENTRY, Entries};

const LONG: u8 = 0x0f;
/// UTF-16 units of a long name in one entry, and where they lie.
const UNITS: usize = 13;
const PLACES: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const LAST: u8 = 0x40;

/// A name in both of its forms.
#[derive(Debug)]
pub struct Named<'t> {
    /// As the tree has it.
    pub long: &'t str,
    /// Eight and three bytes, padded by spaces.
    pub short: [u8; 11],
    /// Whether the short form is the whole name.
    exact: bool,
    /// The node.
    pub node: usize,
}

impl Named<'_> {
    /// Directory entries that it takes.
    pub fn entries(&self) -> usize {
        if self.exact {
            1
        } else {
            1 + self.long.encode_utf16().count().div_ceil(UNITS)
        }
    }

    /// Appends the entries of the long form, which come before the one of the short form.
    pub fn long_entries(&self, into: &mut Vec<u8>) {
        if self.exact {
            return;
        }
        let sum = self
            .short
            .iter()
            .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let units: Vec<u16> = self.long.encode_utf16().collect();
        for (number, chunk) in units.chunks(UNITS).enumerate().rev() {
            let mut record = [0; ENTRY];
            let last = if (number + 1) * UNITS >= units.len() {
                LAST
            } else {
                0
            };
            record[0] = (number + 1) as u8 | last;
            record[11] = LONG;
            record[13] = sum;
            let end = [0u16];
            let padded = chunk.iter().chain(&end).chain(std::iter::repeat(&u16::MAX));
            for (place, unit) in PLACES.into_iter().zip(padded) {
                record[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            into.extend_from_slice(&record);
        }
    }
}

/// The names of a directory, or the one that FAT cannot hold and why.
pub fn all(entries: &Entries) -> Result<Vec<Named<'_>>, (&[u8], &'static str)> {
    let mut names = Vec::with_capacity(entries.len());
    let mut folded = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for (name, node) in entries {
        let long = checked(name).map_err(|reason| (name.as_slice(), reason))?;
        if !folded.insert(long.to_uppercase()) {
            return Err((name, "FAT does not tell it from a name in other case"));
        }
        let short = plain(&long.to_ascii_uppercase()).unwrap_or_default();
        let exact = plain(long).is_some();
        taken.insert(short);
        names.push(Named {
            long,
            short,
            exact,
            node: *node,
        });
    }
    for named in names.iter_mut().filter(|named| named.short == [0; 11]) {
        named.short = numbered(named.long, &mut taken);
    }
    Ok(names)
}

fn checked(name: &[u8]) -> Result<&str, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "a name in FAT must be UTF-8")?;
    match name {
        "" => Err("a name cannot be empty"),
        _ if name.contains(|c: char| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c)) => {
            Err("a name in FAT cannot hold one of its characters")
        }
        _ if name.ends_with(['.', ' ']) => Err("a name in FAT cannot end with a dot or a space"),
        _ if name.encode_utf16().count() > 255 => Err("a name in FAT has at most 255 characters"),
        _ => Ok(name),
    }
}

/// The short form of a name that needs no other.
fn plain(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = |part: &str, most: usize| part.len() <= most && part.bytes().all(is_short);
    if base.is_empty() || name.ends_with('.') || !fits(base, 8) || !fits(extension, 3) {
        return None;
    }
    Some(padded(base.as_bytes(), extension.as_bytes()))
}

fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn padded(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// A short form that is not taken: the first letters, `~` and a number.
fn numbered(long: &str, taken: &mut BTreeSet<[u8; 11]>) -> [u8; 11] {
    let (base, extension) = match long.rfind('.') {
        Some(dot) if dot > 0 => (&long[..dot], &long[dot + 1..]),
        _ => (long, ""),
    };
    let letters = |part: &str, most: usize| -> Vec<u8> {
        let kept = part.chars().filter(|c| *c != ' ' && *c != '.');
        let upper = kept.map(|c| u8::try_from(c.to_ascii_uppercase()).unwrap_or(b'_'));
        upper
            .map(|byte| if is_short(byte) { byte } else { b'_' })
            .take(most)
            .collect()
    };
    let (base, extension) = (letters(base, 8), letters(extension, 3));
    let mut number = 1u64;
    loop {
        let tail = format!("~{number}");
        let mut head = base.clone();
        head.truncate(8 - tail.len());
        head.extend_from_slice(tail.as_bytes());
        let short = padded(&head, &extension);
        if taken.insert(short) {
            return short;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let entries: Entries = names
            .iter()
            .map(|name| (name.as_bytes().to_vec(), 0))
            .collect();
        let names = all(&entries).unwrap();
        names
            .iter()
            .map(|named| String::from_utf8_lossy(&named.short).into_owned())
            .collect()
    }

    #[test]
    fn short_names_are_unique_and_plain_where_they_can_be() {
        assert_eq!(
            shorts(&[
                ".x",
                "A long name.text",
                "BOOTX64.EFI",
                "a long note.text",
                "grub.cfg",
                "näh"
            ]),
            [
                "X~1        ",
                "ALONGN~1TEX",
                "BOOTX64 EFI",
                "ALONGN~2TEX",
                "GRUB    CFG",
                "N_H~1      "
            ]
        );
    }

    #[test]
    fn a_thousand_names_of_one_beginning_have_a_thousand_short_names() {
        let names: Vec<String> = (0..1000)
            .map(|n| format!("the same beginning {n}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut shorts = shorts(&names);
        shorts.sort();
        shorts.dedup();
        assert_eq!(shorts.len(), 1000);
    }
}
