//! ext4 read back without mounting it (ext4 disk layout, in the kernel's
//! Documentation/filesystems/ext4): what mke2fs or this program writes, after a clean unmount.
//! A filesystem with anything else in it is refused by name, and nothing in it is believed
//! beyond its own size.

use super::field::{get16, get32};
use crate::image::disk::image::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

const SUPERBLOCK: u64 = 1024;
/// What must be understood to read: filetype, extents, 64bit, flex_bg, csum_seed.
const UNDERSTOOD: u32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000;
/// The journal holds what the filesystem does not yet.
const RECOVER: u32 = 0x4;
const ROOT: u32 = 2;
const USES_EXTENTS: u32 = 0x8_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// Levels of an extent tree at most.
const DEEPEST: u16 = 5;
/// Blocks of an extent that was set aside and reads as zeros are counted from here.
const UNWRITTEN: u16 = 32768;
const XATTR_MAGIC: u32 = 0xea02_0000;
/// Bytes of a directory, and of a target; none has more.
const MOST_NAMES: u64 = 256 << 20;

/// An ext4 filesystem.
pub struct Reader<'a> {
    source: &'a dyn Source,
    block: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    tables: Vec<u64>,
}

/// One inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Number.
    pub ino: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes with full names.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Its entries: name → inode.
    Directory(BTreeMap<Vec<u8>, u32>),
    /// A regular file of so many bytes.
    File(u64),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

struct Inode {
    record: Vec<u8>,
    size: u64,
    flags: u32,
}

struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    written: bool,
}

impl<'a> Reader<'a> {
    /// Opens the filesystem that begins where the source does.
    pub fn open(source: &'a dyn Source) -> io::Result<Reader<'a>> {
        let mut record = vec![0; 1024];
        source.read_at(SUPERBLOCK, &mut record)?;
        if get16(&record, 0x38) != 0xef53 {
            return Err(wrong("it holds no ext4 filesystem"));
        }
        let needs = get32(&record, 0x60);
        if needs & RECOVER != 0 {
            return Err(wrong(
                "its filesystem was not unmounted: its journal has not been replayed",
            ));
        }
        if needs & !UNDERSTOOD != 0 {
            return Err(wrong(format!(
                "its filesystem has features that are not known here: {:#x}",
                needs & !UNDERSTOOD
            )));
        }
        let log = get32(&record, 0x18);
        if log > 6 {
            return Err(wrong("the size of its blocks is impossible"));
        }
        let block = 1024 << log;
        let inodes = get32(&record, 0x00);
        let per_group = get32(&record, 0x28);
        let inode_size = u64::from(get16(&record, 0x58));
        let wide = needs & 0x80 != 0;
        let descriptor = match wide {
            true => u64::from(get16(&record, 0xfe)),
            false => 32,
        };
        let sound = per_group > 0 && (128..=block).contains(&inode_size) && descriptor >= 32;
        if !sound || wide && descriptor < 64 {
            return Err(wrong("its superblock contradicts itself"));
        }
        let groups = inodes.div_ceil(per_group);
        let length = u64::from(groups) * descriptor;
        if length > source.size() {
            return Err(wrong("its superblock speaks of more than there is"));
        }
        let first = u64::from(get32(&record, 0x14));
        let mut descriptors = vec![0; length as usize];
        source.read_at((first + 1) * block, &mut descriptors)?;
        let tables = descriptors.chunks_exact(descriptor as usize).map(|record| {
            let high = if wide { get32(record, 0x28) } else { 0 };
            u64::from(get32(record, 0x08)) | u64::from(high) << 32
        });
        Ok(Reader {
            source,
            block,
            inodes,
            inodes_per_group: per_group,
            inode_size,
            tables: tables.collect(),
        })
    }

    /// Everything in it, by path without a first slash; the root directory is the empty path. A
    /// file with several names has each of them, with one inode number.
    pub fn walk(&self) -> io::Result<BTreeMap<Vec<u8>, Node>> {
        let mut found = BTreeMap::new();
        let mut directories = BTreeSet::new();
        let mut waiting = vec![(Vec::new(), ROOT)];
        while let Some((path, ino)) = waiting.pop() {
            let node = self.node(ino)?;
            if let Kind::Directory(names) = &node.kind {
                if !directories.insert(ino) {
                    return Err(wrong(format!("the directory {ino} has two names")));
                }
                for (name, ino) in names {
                    let mut below = path.clone();
                    if !below.is_empty() {
                        below.push(b'/');
                    }
                    below.extend_from_slice(name);
                    waiting.push((below, *ino));
                }
            }
            found.insert(path, node);
        }
        Ok(found)
    }

    /// One node.
    pub fn node(&self, ino: u32) -> io::Result<Node> {
        let inode = self.inode(ino)?;
        let record = &inode.record;
        let mode = u32::from(get16(record, 0x00));
        let kind = match mode & 0o170_000 {
            0o040_000 => Kind::Directory(self.names(&inode)?),
            0o100_000 => Kind::File(inode.size),
            0o120_000 => Kind::Symlink(self.target(&inode)?),
            0o020_000 => device(record, Kind::CharDevice),
            0o060_000 => device(record, Kind::BlockDevice),
            0o010_000 => Kind::Fifo,
            0o140_000 => Kind::Socket,
            _ => return Err(wrong(format!("the inode {ino} is nothing that is known"))),
        };
        let seconds = i64::from(get32(record, 0x10) as i32);
        let more = match self.inode_size >= 0x8c {
            true => i64::from(get32(record, 0x88) & 3) << 32,
            false => 0,
        };
        Ok(Node {
            ino,
            mode: mode & 0o7777,
            uid: u32::from(get16(record, 0x02)) | u32::from(get16(record, 0x78)) << 16,
            gid: u32::from(get16(record, 0x18)) | u32::from(get16(record, 0x7a)) << 16,
            mtime: seconds + more,
            xattrs: self.xattrs(&inode)?,
            kind,
        })
    }

    /// Hands out the content of a file in order, in parts.
    pub fn content(&self, ino: u32, part: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let inode = self.inode(ino)?;
        self.each(&inode, &mut |bytes| {
            part(bytes);
            Ok(())
        })
    }

    fn inode(&self, ino: u32) -> io::Result<Inode> {
        let index = ino.wrapping_sub(1);
        let table = self.tables.get((index / self.inodes_per_group) as usize);
        let Some(table) = table.filter(|_| index < self.inodes) else {
            return Err(wrong(format!("there is no inode {ino}")));
        };
        let place = u64::from(index % self.inodes_per_group) * self.inode_size;
        let mut record = vec![0; self.inode_size.max(256) as usize];
        let own = self.inode_size as usize;
        self.source
            .read_at(table.saturating_mul(self.block) + place, &mut record[..own])?;
        let high = match get16(&record, 0x00) & 0o170_000 {
            0o100_000 | 0o040_000 => get32(&record, 0x6c),
            _ => 0,
        };
        Ok(Inode {
            size: u64::from(get32(&record, 0x04)) | u64::from(high) << 32,
            flags: get32(&record, 0x20),
            record,
        })
    }

    fn names(&self, inode: &Inode) -> io::Result<BTreeMap<Vec<u8>, u32>> {
        let bytes = self.all(inode)?;
        let mut names = BTreeMap::new();
        // Nodes of a hash tree look like blocks of empty entries.
        for block in bytes.chunks(self.block as usize) {
            let mut at = 0;
            while at + 8 <= block.len() {
                let ino = get32(block, at);
                let length = usize::from(get16(block, at + 4));
                let name = usize::from(block[at + 6]);
                if length < 8 || at + length > block.len() || name + 8 > length {
                    return Err(wrong("a directory in it is damaged"));
                }
                let name = &block[at + 8..at + 8 + name];
                if ino != 0 && !matches!(name, b"" | b"." | b"..") {
                    names.insert(name.to_vec(), ino);
                }
                at += length;
            }
        }
        Ok(names)
    }

    fn target(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        if inode.size < 60 && inode.flags & USES_EXTENTS == 0 {
            return Ok(inode.record[0x28..0x28 + inode.size as usize].to_vec());
        }
        self.all(inode)
    }

    fn all(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        if inode.size > MOST_NAMES.min(self.source.size()) {
            return Err(wrong("a directory in it is longer than there is room"));
        }
        let mut bytes = Vec::with_capacity(inode.size as usize);
        self.each(inode, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// The content of an inode in order, holes as zeros.
    fn each(&self, inode: &Inode, part: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if inode.flags & USES_EXTENTS == 0 {
            return match inode.size {
                0 => Ok(()),
                _ => Err(wrong("a file in it is not mapped by extents")),
            };
        }
        let mut extents = Vec::new();
        self.extents(&inode.record[0x28..0x64], None, &mut extents)?;
        extents.sort_by_key(|extent| extent.logical);
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        let end = Extent {
            logical: inode.size.div_ceil(self.block),
            physical: 0,
            length: 0,
            written: false,
        };
        for extent in extents.iter().chain([&end]) {
            let start = extent.logical.saturating_mul(self.block).min(inode.size);
            if start < at {
                return Err(wrong("a file in it has two contents"));
            }
            self.span(None, start - at, &mut buffer, part)?;
            let length = (extent.length * self.block).min(inode.size - start);
            let place = extent.physical.saturating_mul(self.block);
            self.span(extent.written.then_some(place), length, &mut buffer, part)?;
            at = start + length;
        }
        Ok(())
    }

    /// So many bytes from a place of the disk, or zeros.
    fn span(
        &self,
        mut place: Option<u64>,
        mut left: u64,
        buffer: &mut [u8],
        part: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while left > 0 {
            let length = left.min(buffer.len() as u64);
            let bytes = &mut buffer[..length as usize];
            match &mut place {
                Some(place) => {
                    self.source.read_at(*place, bytes)?;
                    *place += length;
                }
                None => bytes.fill(0),
            }
            part(bytes)?;
            left -= length;
        }
        Ok(())
    }

    /// Entries of one node of an extent tree; `depth` is what its parent expects of it.
    fn extents(&self, node: &[u8], depth: Option<u16>, found: &mut Vec<Extent>) -> io::Result<()> {
        let own = get16(node, 6);
        let count = usize::from(get16(node, 2));
        let sound = get16(node, 0) == EXTENT_MAGIC
            && depth.map_or(own <= DEEPEST, |depth| own == depth)
            && 12 * (count + 1) <= node.len();
        if !sound {
            return Err(wrong("the extents of a file in it are damaged"));
        }
        for entry in node[12..].chunks_exact(12).take(count) {
            let logical = u64::from(get32(entry, 0));
            if own == 0 {
                let length = get16(entry, 4);
                let written = length <= UNWRITTEN;
                found.push(Extent {
                    logical,
                    physical: u64::from(get32(entry, 8)) | u64::from(get16(entry, 6)) << 32,
                    length: u64::from(if written { length } else { length - UNWRITTEN }),
                    written,
                });
            } else {
                let place = u64::from(get32(entry, 4)) | u64::from(get16(entry, 8)) << 32;
                let mut block = vec![0; self.block as usize];
                self.source
                    .read_at(place.saturating_mul(self.block), &mut block)?;
                self.extents(&block, Some(own - 1), found)?;
            }
        }
        Ok(())
    }

    fn xattrs(&self, inode: &Inode) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let record = &inode.record;
        if self.inode_size > 128 {
            let body = 128 + usize::from(get16(record, 0x80));
            if body + 4 <= record.len() && get32(record, body) == XATTR_MAGIC {
                attributes(&record[body + 4..], 0, &mut found)?;
            }
        }
        let place = u64::from(get32(record, 0x68)) | u64::from(get16(record, 0x76)) << 32;
        if place != 0 {
            let mut block = vec![0; self.block as usize];
            self.source
                .read_at(place.saturating_mul(self.block), &mut block)?;
            if get32(&block, 0) != XATTR_MAGIC {
                return Err(wrong("the attributes of a file in it are damaged"));
            }
            attributes(&block, 32, &mut found)?;
        }
        Ok(found)
    }
}

/// Entries from `first` on; their values are counted from the start of `area`.
fn attributes(area: &[u8], first: usize, found: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let damaged = || wrong("the attributes of a file in it are damaged");
    let mut at = first;
    while at + 4 <= area.len() && get32(area, at) != 0 {
        let entry = area.get(at..at + 16).ok_or_else(damaged)?;
        let length = usize::from(entry[0]);
        let name = area.get(at + 16..at + 16 + length).ok_or_else(damaged)?;
        let name = String::from_utf8_lossy(name);
        let full = match entry[1] {
            1 => format!("user.{name}"),
            2 => "system.posix_acl_access".to_owned(),
            3 => "system.posix_acl_default".to_owned(),
            4 => format!("trusted.{name}"),
            6 => format!("security.{name}"),
            7 => format!("system.{name}"),
            other => return Err(wrong(format!("an attribute in it is of class {other}"))),
        };
        let place = usize::from(get16(entry, 2));
        let size = get32(entry, 8) as usize;
        let value = place.checked_add(size).and_then(|end| area.get(place..end));
        found.insert(full, value.ok_or_else(damaged)?.to_vec());
        at += 16 + length.next_multiple_of(4);
    }
    Ok(())
}

fn device(record: &[u8], kind: impl Fn(u32, u32) -> Kind) -> Kind {
    let (old, new) = (get32(record, 0x28), get32(record, 0x2c));
    match old {
        0 => kind(new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xfff00),
        _ => kind(old >> 8 & 0xff, old & 0xff),
    }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
