//! Archives of publishers made in memory, as no packer would make them where a test wants that.

use std::io::Write;
use tar::{EntryType, Header};

/// A member of either kind of archive.
#[derive(Clone)]
pub struct Member {
    pub path: Vec<u8>,
    pub mode: u32,
    pub kind: EntryType,
    /// Content of a file, target of a link.
    pub content: Vec<u8>,
    /// What a zip archive says of its size, instead of the truth.
    pub said: Option<u32>,
}

fn member(kind: EntryType, path: impl AsRef<[u8]>, mode: u32, content: impl AsRef<[u8]>) -> Member {
    Member {
        path: path.as_ref().to_vec(),
        mode,
        kind,
        content: content.as_ref().to_vec(),
        said: None,
    }
}

pub fn file(path: impl AsRef<[u8]>, mode: u32, content: impl AsRef<[u8]>) -> Member {
    member(EntryType::Regular, path, mode, content)
}

pub fn directory(path: impl AsRef<[u8]>, mode: u32) -> Member {
    member(EntryType::Directory, path, mode, "")
}

pub fn symlink(path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Member {
    member(EntryType::Symlink, path, 0o777, to)
}

pub fn link(path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Member {
    member(EntryType::Link, path, 0o644, to)
}

pub fn other(kind: EntryType, path: impl AsRef<[u8]>) -> Member {
    member(kind, path, 0o644, "")
}

/// 2001-09-09T01:46:40Z, of everything in a tar archive.
pub const TAR_TIME: u64 = 1_000_000_000;

/// A tar archive, its paths written as they stand.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..member.path.len()].copy_from_slice(&member.path);
        let linked = matches!(member.kind, EntryType::Link | EntryType::Symlink);
        if linked {
            fields.linkname[..member.content.len()].copy_from_slice(&member.content);
        }
        let content = if linked { &[][..] } else { &member.content };
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        // Somebody else's account, as publishers have.
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_mtime(TAR_TIME);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A zip archive (APPNOTE.TXT 6.3, §4.3), made on Unix at 2001-09-09 01:46:40 of no zone.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let kind = match member.kind {
            EntryType::Symlink => 0o120_000,
            EntryType::Directory => 0o040_000,
            EntryType::Char => 0o020_000,
            EntryType::Fifo => 0o010_000,
            _ => 0o100_000,
        };
        let mut sum = flate2::Crc::new();
        sum.update(&member.content);
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        packer.write_all(&member.content).unwrap();
        let packed = packer.finish().unwrap();
        let offset = u32::try_from(bytes.len()).unwrap();
        let mut common = Vec::new();
        // Version, flags (UTF-8 names), deflated, time, date.
        for number in [
            20_u16,
            1 << 11,
            8,
            (1 << 11) | (46 << 5) | 20,
            (21 << 9) | (9 << 5) | 9,
        ] {
            common.extend(number.to_le_bytes());
        }
        let size = u32::try_from(member.content.len()).unwrap();
        let size = member.said.unwrap_or(size);
        for number in [sum.sum(), u32::try_from(packed.len()).unwrap(), size] {
            common.extend(number.to_le_bytes());
        }
        common.extend(u16::try_from(member.path.len()).unwrap().to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(&member.path);
        bytes.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        // Comment, disk, internal attributes.
        directory.extend([0; 6]);
        directory.extend(((kind | member.mode) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&member.path);
    }
    let count = u16::try_from(members.len()).unwrap();
    let start = u32::try_from(bytes.len()).unwrap();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes
}
