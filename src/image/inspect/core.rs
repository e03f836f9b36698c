//! GRUB's `core.img`, taken apart and compared with what the root has: it is not made again, since
//! a program of the root makes it, but unpacked it can hold nothing else.
//!
//! Format: `diskboot.img` (a sector), `lzma_decompress.img`, then an LZMA stream without header. In
//! it the loaded `kernel.img`, the modules' table, the modules and the prefix; GRUB's
//! util/mkimage.c, include/grub/kernel.h and include/grub/offsets.h.

use crate::image::error::Error;
use crate::image::grub::{BLOCK_LIST, File, MODULES, PREFIX, SECTOR};
use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};
use std::collections::BTreeMap;

const FOLDER: &str = "/usr/lib/grub/i386-pc";
/// Bytes of the block list that say where on the disk the rest is, and how much.
const BLOCKS: usize = 10;
/// In `lzma_decompress.img`: bytes of the stream, bytes it unpacks to, and bytes of redundancy, of
/// which an image file has none.
const SIZES: usize = 8;
/// Where the kernel is loaded; its first byte is the first of what is packed.
const KERNEL: u32 = 0x9000;
/// How the stream was packed: lc, lp, pb, and bytes of the dictionary.
const PACKED: (u32, u32, u32, u32) = (3, 0, 2, 1 << 16);

const MODULE: u32 = 0;
const PREFIX_OBJECT: u32 = 3;

/// What of it is not as the root's own files say; nothing where all is. `core` may end before
/// zeros at its end, and its block list is not looked at.
///
/// # Errors
///
/// The root lacks a file of GRUB, or one of them is not what GRUB's are.
pub fn wrong(core: &[u8], file: File) -> Result<Option<String>, Error> {
    let read = |name: &str| {
        let path = format!("{FOLDER}/{name}");
        let found = file(&path).map_err(Error::io("cannot read", &path))?;
        found.ok_or_else(|| Error::Layout(format!("the root has no {path}")))
    };
    let mut first = read("diskboot.img")?;
    let unpacker = read("lzma_decompress.img")?;
    let plain = plain(&read)?;
    let stream = SECTOR + unpacker.len();
    if first.len() != SECTOR || unpacker.len() < SIZES + 12 || core.len() < stream {
        return Ok(Some("is shorter than GRUB's programs".into()));
    }
    let blocks = BLOCK_LIST..BLOCK_LIST + BLOCKS;
    first[blocks.clone()].copy_from_slice(&core[blocks]);
    if first != core[..SECTOR] {
        return Ok(Some("does not begin with GRUB's diskboot.img".into()));
    }
    let found = &core[SECTOR..stream];
    let length = word(found, SIZES).unwrap_or(0) as usize;
    let mut expected = unpacker;
    for (index, value) in [length, plain.len(), 0].into_iter().enumerate() {
        // GRUB's sizes are of 32 bits.
        let at = SIZES + 4 * index;
        expected[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    if found != expected {
        return Ok(Some(
            "does not go on with GRUB's lzma_decompress.img".into(),
        ));
    }
    let mut packed = core[stream..].to_vec();
    if packed.len() > length {
        return Ok(Some("has something behind GRUB".into()));
    }
    packed.resize(length, 0);
    let unpacked = unpack(&packed, plain.len());
    Ok((unpacked.as_deref() != Some(&plain[..]))
        .then(|| "does not hold GRUB's kernel and modules alone, as packaged".into()))
}

/// All that is packed, from the root's files.
fn plain(read: &dyn Fn(&str) -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    let mut plain = loaded(&read("kernel.img")?)
        .ok_or_else(|| Error::Layout("GRUB's kernel.img is not an ELF program".into()))?;
    align(&mut plain);
    let mut objects = Vec::new();
    let table = read("moddep.lst")?;
    let table = String::from_utf8_lossy(&table);
    let table = table.lines().filter_map(|line| line.split_once(':'));
    let table = table
        .map(|(name, needs)| (name, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for name in MODULES {
        enter(name, &table, &mut order);
    }
    for name in order {
        object(&mut objects, MODULE, &read(&format!("{name}.mod"))?);
    }
    object(
        &mut objects,
        PREFIX_OBJECT,
        format!("{PREFIX}\0").as_bytes(),
    );
    let head = 12;
    plain.extend(*b"mimg");
    for value in [head, head + objects.len()] {
        plain.extend((value as u32).to_le_bytes());
    }
    plain.extend(objects);
    Ok(plain)
}

/// A module comes behind those it needs; of these the last named comes first.
fn enter<'a>(name: &'a str, table: &BTreeMap<&str, Vec<&'a str>>, order: &mut Vec<&'a str>) {
    if order.contains(&name) {
        return;
    }
    for needed in table.get(name).into_iter().flatten().rev() {
        enter(needed, table, order);
    }
    order.push(name);
}

fn object(objects: &mut Vec<u8>, kind: u32, content: &[u8]) {
    let size = 8 + content.len().next_multiple_of(4);
    for value in [kind, size as u32] {
        objects.extend(value.to_le_bytes());
    }
    objects.extend(content);
    align(objects);
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The segments of a 32-bit ELF program as they lie in memory, from [`KERNEL`] on (elf(5)).
fn loaded(elf: &[u8]) -> Option<Vec<u8>> {
    if !elf.starts_with(b"\x7fELF\x01\x01") {
        return None;
    }
    let table = word(elf, 28)? as usize;
    let count = u16::from_le_bytes(elf.get(44..46)?.try_into().ok()?);
    let mut memory = Vec::new();
    for index in 0..usize::from(count) {
        let at = table.checked_add(index * 32)?;
        let field = |number: usize| word(elf, at + 4 * number).map(|value| value as usize);
        let (kind, offset, address, size) = (field(0)?, field(1)?, field(2)?, field(4)?);
        if kind != 1 || size == 0 {
            continue;
        }
        let start = address.checked_sub(KERNEL as usize)?;
        let content = elf.get(offset..offset.checked_add(size)?)?;
        // A kernel has some tens of KiB; no more than 640 are there.
        let end = start.checked_add(size).filter(|end| *end < 640 << 10)?;
        memory.resize(memory.len().max(end), 0);
        memory[start..end].copy_from_slice(content);
    }
    Some(memory)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Unpacks to so many bytes; nothing where the stream is none, or is more than that.
fn unpack(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let (lc, lp, pb, dictionary) = PACKED;
    let mut options = LzmaOptions::new_preset(6).ok()?;
    options
        .literal_context_bits(lc)
        .literal_position_bits(lp)
        .position_bits(pb)
        .dict_size(dictionary);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut stream = Stream::new_raw_decoder(&filters).ok()?;
    let mut unpacked = vec![0; size];
    // The stream has no mark at its end: it is whole when both are used up.
    loop {
        let (taken, made) = (stream.total_in() as usize, stream.total_out() as usize);
        if taken == packed.len() && made == size {
            return Some(unpacked);
        }
        let status = stream.process(&packed[taken..], &mut unpacked[made..], Action::Run);
        let went_on = (stream.total_in() as usize, stream.total_out() as usize) != (taken, made);
        if status != Ok(Status::Ok) || !went_on {
            return None;
        }
    }
}
