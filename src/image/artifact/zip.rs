//! Zip archives of publishers (APPNOTE.TXT 6.3): stored and deflated members.

use super::{Holds, Member, Take, damaged};
use crate::image::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};

/// Members of one archive.
const MEMBERS: usize = 500_000;
/// Bytes of a symbolic link's target (PATH_MAX).
const LINK: u64 = 4096;
/// File types in a mode (inode(7)).
const TYPE: u32 = 0o170_000;

/// Gives every member of an archive to `take`. They hold `room` bytes at most.
pub(super) fn each(name: &str, file: File, room: u64, take: Take<'_>) -> Result<(), Error> {
    let wrong = |reason: String| Error::Artifact {
        artifact: name.to_owned(),
        reason,
    };
    let broken =
        |error: zip::result::ZipError| wrong(format!("the archive cannot be read: {error}"));
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > MEMBERS {
        return Err(wrong(format!(
            "the archive has more than {MEMBERS} members"
        )));
    }
    let mut bytes = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let path = entry.name_raw().to_vec();
        bytes = bytes
            .saturating_add(entry.size())
            .saturating_add(path.len() as u64);
        if bytes > room {
            return Err(wrong(format!(
                "the archive holds more than {} MiB",
                room >> 20
            )));
        }
        let mode = entry.unix_mode();
        let holds = match mode.unwrap_or(0) & TYPE {
            0o120_000 => {
                let mut target = Vec::new();
                (&mut entry)
                    .take(LINK)
                    .read_to_end(&mut target)
                    .map_err(|error| damaged(name, &error))?;
                Holds::Symlink(target)
            }
            _ if path.ends_with(b"/") => Holds::Directory,
            0 | 0o100_000 => Holds::File,
            0o040_000 => Holds::Directory,
            0o020_000 | 0o060_000 => Holds::Device,
            _ => Holds::Other('?'),
        };
        // Its clock has no zone: it is taken for UTC wherever the image is made.
        let mtime = entry.last_modified().map_or(0, seconds);
        let member = Member {
            path,
            holds,
            mode: mode.map(|mode| mode & 0o7777),
            mtime,
        };
        let size = entry.size();
        // The sum at its end is looked at only by who reads on to it.
        let mut content = Exactly {
            inner: entry,
            left: size,
        };
        take(member, &mut content)?;
    }
    Ok(())
}

/// Seconds since 1970 of a time of the archive.
fn seconds(time: zip::DateTime) -> i64 {
    let part = |number: u8| i8::try_from(number).unwrap_or(0);
    let year = i16::try_from(time.year()).unwrap_or(1980);
    let made = jiff::civil::DateTime::new(
        year,
        part(time.month()),
        part(time.day()),
        part(time.hour()),
        part(time.minute()),
        part(time.second().min(59)),
        0,
    );
    made.ok()
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map_or(0, |time| time.timestamp().as_second())
}

/// A member that holds what it announces, and not a byte more or less.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(std::io::Error::other("a member goes on after its end")),
        }
    }
}
