//! Reading binary packages: deb(5), an ar archive of `debian-binary`, `control.tar.*` and
//! `data.tar.*`. Everything is streamed; a package is verified before it is parsed.

use super::ar;
use super::error::Error;
use super::meter::{Meter, Metered};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

/// Members of one archive. The largest packages of Debian and Ubuntu, icon themes and
/// documentation of TeX, have some hundred thousand.
const MEMBERS: usize = 500_000;
/// Bytes of headers before one member: its own, and those that hold its long names.
const HEADERS: u64 = 1 << 20;
/// Bytes of padding after the last member; tar fills up to a record of 10 KiB.
const TRAILER: u64 = 1 << 20;
/// Bytes of a control archive, which is kept in memory: scripts, and lists of files.
const CONTROL: u64 = 64 << 20;
/// Bytes that the files of any package may hold, whatever it announces.
pub const LARGEST: u64 = 32 << 30;
/// Bytes that unpacking xz may take: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Power of two of the bytes that unpacking zstd may take: `zstd -19` needs 8 MiB.
const ZSTD_WINDOW: u32 = 27;

/// The control archive of a package.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// Fields of `control` in order.
    pub fields: Vec<(String, String)>,
    /// The other files: name → content and permission bits.
    pub files: BTreeMap<String, (Vec<u8>, u32)>,
}

impl Control {
    /// A field, by its name as written in Debian policy.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A text file of the control archive, empty when it has none.
    pub fn text(&self, name: &str) -> String {
        let found = self.files.get(name);
        found
            .map(|(bytes, _)| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// The configuration files it declares: absolute paths (deb-conffiles(5); entries with
    /// the `remove-on-upgrade` flag are not shipped).
    pub fn conffiles(&self) -> Vec<String> {
        let text = self.text("conffiles");
        let paths = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('/'));
        paths.map(str::to_owned).collect()
    }
}

/// The decompressed tar archive of one member of a package.
pub struct Tar<'a> {
    package: &'a str,
    member: &'static str,
    archive: tar::Archive<Metered<Box<dyn Read + 'a>>>,
    meter: Meter,
    /// Bytes that all members together may hold.
    room: u64,
}

/// A member of a tar archive.
pub type Entry<'a, 'b> = tar::Entry<'a, Metered<Box<dyn Read + 'b>>>;

impl<'b> Tar<'b> {
    /// Gives each member to `take`. What the archive says of itself is held against the limits
    /// before it is followed, so that a small file cannot fill the memory or the disk.
    pub fn each(
        &mut self,
        mut take: impl FnMut(&mut Entry<'_, 'b>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (package, member, room) = (self.package, self.member, self.room);
        let bad = |reason: String| Error::Package {
            package: package.to_owned(),
            reason,
        };
        let damaged = |error: std::io::Error| bad(truncated(member, &error));
        let (mut count, mut bytes) = (0, 0_u64);
        let mut entries = self.archive.entries().map_err(damaged)?;
        loop {
            self.meter
                .allow(HEADERS, "the headers of one member fill more than 1 MiB");
            let Some(entry) = entries.next() else {
                self.meter
                    .allow(TRAILER, "more than 1 MiB follow its last member");
                return Ok(());
            };
            let mut entry = entry.map_err(damaged)?;
            count += 1;
            if count > MEMBERS {
                return Err(bad(format!("{member} has more than {MEMBERS} members")));
            }
            // Names are kept until the end, and are no less than the files.
            let link = entry.link_name_bytes().map_or(0, |link| link.len());
            let names = (entry.path_bytes().len() + link) as u64;
            bytes = bytes.saturating_add(entry.size()).saturating_add(names);
            if bytes > room {
                let announced = match member {
                    "data.tar" if room == LARGEST => ", the most that a package may hold",
                    "data.tar" => ", which its Installed-Size does not announce",
                    _ => "",
                };
                return Err(bad(format!(
                    "{member} holds more than {} MiB{announced}",
                    room >> 20
                )));
            }
            self.meter
                .allow(entry.size(), "a member goes on after its end");
            take(&mut entry)?;
            std::io::copy(&mut entry, &mut std::io::sink()).map_err(damaged)?;
        }
    }
}

/// Reads the control archive.
pub fn control(name: &str, file: impl Read) -> Result<Control, Error> {
    let bad = |reason: String| bad(name, reason);
    with_member(name, file, "control.tar", CONTROL, |tar| {
        let mut text = None;
        let mut files = BTreeMap::new();
        tar.each(|entry| {
            if !entry.header().entry_type().is_file() {
                return Ok(());
            }
            let path = PathBuf::from(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
            let Some(file) = path.file_name().and_then(|file| file.to_str()) else {
                return Ok(());
            };
            let file = file.to_owned();
            let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .map_err(|error| bad(truncated("control.tar", &error)))?;
            if file == "control" {
                text = Some(String::from_utf8_lossy(&bytes).into_owned());
            } else {
                files.insert(file, (bytes, mode));
            }
            Ok(())
        })?;
        let text = text.ok_or_else(|| bad("its control archive has no `control`".into()))?;
        Ok(Control {
            fields: fields(&text),
            files,
        })
    })
}

/// Gives the data archive, whose files may hold `room` bytes, to `read`, and after it makes
/// sure that the member ends properly.
pub fn data<T>(
    name: &str,
    file: impl Read,
    room: u64,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    with_member(name, file, "data.tar", room, read)
}

/// As [`data`], from the archive that [`unpack_data`] wrote.
pub fn plain<T>(
    name: &str,
    file: impl Read,
    room: u64,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    let stream = Box::new(BufReader::with_capacity(256 * 1024, file));
    tar(name, "data.tar", stream, room, read)
}

/// Writes the data archive into `out` as tar has it. Its length, if all of it fits in `room`
/// bytes; if not, what was written is of no use.
pub fn unpack_data(
    name: &str,
    file: impl Read,
    room: u64,
    out: &mut impl Write,
) -> Result<Option<u64>, Error> {
    packed(name, file, "data.tar", |stream| {
        let written = std::io::copy(&mut stream.take(room), out);
        written
            .map(|bytes| (bytes < room).then_some(bytes))
            .map_err(|error| bad(name, truncated("data.tar", &error)))
    })
}

/// What to say about a member that could not be read to its end.
pub fn truncated(member: &str, error: &std::io::Error) -> String {
    // The tar reader has words of its own for it.
    let short = error.kind() == std::io::ErrorKind::UnexpectedEof
        || error.to_string().contains("unexpected EOF");
    match short {
        true => format!("{member} ends in the middle"),
        false => format!("{member} cannot be read: {error}"),
    }
}

fn with_member<T>(
    name: &str,
    file: impl Read,
    member: &'static str,
    room: u64,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    packed(name, file, member, |stream| {
        tar(name, member, stream, room, read)
    })
}

/// Gives the tar archive that a member packs to `read`.
fn packed<T>(
    name: &str,
    file: impl Read,
    member: &'static str,
    read: impl FnOnce(Box<dyn Read + '_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let bad = |reason: String| bad(name, reason);
    let not_one = |error: std::io::Error| bad(format!("not a Debian package: {error}"));
    let file = BufReader::with_capacity(64 * 1024, file);
    let mut members = ar::Archive::new(file).map_err(not_one)?;
    let mut first = true;
    while let Some(found) = members.next_member().map_err(not_one)? {
        if std::mem::take(&mut first) {
            let mut version = [0; 2];
            let read = members.read_exact(&mut version);
            if found != "debian-binary" || read.is_err() || version != *b"2." {
                return Err(bad("not a Debian package of format 2".into()));
            }
            continue;
        }
        let Some(suffix) = found.strip_prefix(member) else {
            continue;
        };
        let plain = BufReader::with_capacity(64 * 1024, &mut members);
        let damaged = |error: std::io::Error| bad(truncated(member, &error));
        return match unpacked(suffix, plain).map_err(damaged)? {
            Some(stream) => read(stream),
            None => Err(bad(format!("{member}{suffix}: unknown compression"))),
        };
    }
    Err(bad(format!("it has no {member}")))
}

fn bad(name: &str, reason: String) -> Error {
    Error::Package {
        package: name.to_owned(),
        reason,
    }
}

/// What is in a file with this suffix; nothing where nobody knows.
pub fn unpacked<'r>(
    suffix: &str,
    plain: impl BufRead + 'r,
) -> std::io::Result<Option<Box<dyn Read + 'r>>> {
    Ok(Some(match suffix {
        "" => Box::new(plain),
        // Some packers write one file as several, one after the other (RFC 1952, §2.2).
        ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(plain)),
        ".xz" => {
            let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(plain, decoder))
        }
        ".zst" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(plain)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        _ => return Ok(None),
    }))
}

/// Gives a tar archive, whose files may hold `room` bytes, to `read`, and after it makes sure
/// that the stream ends properly.
pub fn tar<T>(
    name: &str,
    member: &'static str,
    stream: Box<dyn Read + '_>,
    room: u64,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    let meter = Meter::default();
    let mut tar = Tar {
        package: name,
        member,
        archive: tar::Archive::new(meter.on(stream)),
        meter,
        room,
    };
    let value = read(&mut tar)?;
    let rest = std::io::copy(&mut tar.archive.into_inner(), &mut std::io::sink());
    rest.map_err(|error| Error::Package {
        package: name.to_owned(),
        reason: truncated(member, &error),
    })?;
    Ok(value)
}

/// Fields of one deb822 paragraph, continuation lines kept as they stand.
pub fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.to_owned(), value.trim().to_owned()));
        }
    }
    fields
}
