//! Tar archives of publishers: plain, or packed with gzip, xz or zstd, whatever they are called.

use super::{Holds, Member, Take, damaged};
use crate::image::deb::{self, unpacked};
use crate::image::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

/// How packed archives begin, and what their suffix would be: RFC 1952 §2.3.1, "The .xz File
/// Format" §2.1.1.1, RFC 8878 §3.1.1.
const MAGIC: [(&[u8], &str); 3] = [
    (&[0x1f, 0x8b], ".gz"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], ".xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], ".zst"),
];

/// Gives every member of an archive to `take`. They hold `room` bytes at most.
pub(super) fn each(name: &str, mut file: File, room: u64, take: Take<'_>) -> Result<(), Error> {
    let failed = |error: std::io::Error| damaged(name, &error);
    let mut first = Vec::new();
    (&mut file)
        .take(6)
        .read_to_end(&mut first)
        .map_err(failed)?;
    file.rewind().map_err(failed)?;
    let known = MAGIC.iter().find(|(magic, _)| first.starts_with(magic));
    let suffix = known.map_or("", |(_, suffix)| suffix);
    let plain = BufReader::with_capacity(64 * 1024, file);
    let Some(stream) = unpacked(suffix, plain).map_err(failed)? else {
        return Err(failed(std::io::Error::other("unknown compression")));
    };
    let read = deb::tar(name, "the archive", stream, room, |tar| {
        tar.each(|entry| {
            let header = entry.header();
            let kind = header.entry_type();
            if kind.is_pax_global_extensions() {
                return Ok(());
            }
            let link = || entry.link_name_bytes().unwrap_or_default().into_owned();
            let holds = if kind.is_dir() {
                Holds::Directory
            } else if kind.is_file() || kind.is_contiguous() {
                Holds::File
            } else if kind.is_symlink() {
                Holds::Symlink(link())
            } else if kind.is_hard_link() {
                Holds::HardLink(link())
            } else if kind.is_block_special() || kind.is_character_special() {
                Holds::Device
            } else {
                Holds::Other(char::from(kind.as_byte()))
            };
            let member = Member {
                path: entry.path_bytes().into_owned(),
                holds,
                mode: Some(header.mode().map_err(failed)?),
                mtime: i64::try_from(header.mtime().map_err(failed)?).unwrap_or(0),
            };
            take(member, entry)
        })
    });
    read.map_err(super::of_artifact)
}
