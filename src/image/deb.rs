//! Reading binary packages: deb(5), an ar archive of `debian-binary`, `control.tar.*` and
//! `data.tar.*`. Everything is streamed; a package is verified before it is parsed.

use super::ar;
use super::error::Error;
use crate::packages::lock::Package;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Bytes that the files of a control archive may hold together; the largest known have one.
const MOST_CONTROL: u64 = 64 << 20;
/// Memory that unpacking xz may take: what its highest level needs is a quarter of this.
const MOST_XZ: u64 = 256 << 20;

/// The cache as an open directory, so that it stays readable after `chroot`.
#[derive(Debug)]
pub struct Store {
    directory: OwnedFd,
}

impl Store {
    /// Opens the folder that holds `sha256/`.
    pub fn open(root: &Path) -> Result<Store, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(root, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open the cache", root)(errno.into()))?;
        Ok(Store { directory })
    }

    /// Opens a pinned package without looking at it.
    pub fn package(&self, package: &Package) -> Result<File, Error> {
        let name = format!("sha256/{}/{}", &package.sha256[..2], package.sha256);
        match openat(
            &self.directory,
            name.as_str(),
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(descriptor) => Ok(File::from(descriptor)),
            Err(nix::Error::ENOENT) => Err(Error::NotCached {
                package: package.key(),
            }),
            Err(errno) => Err(Error::io("cannot read", name)(errno.into())),
        }
    }

    /// Opens a pinned package after comparing its size and SHA-256 with the lock.
    pub fn verified(&self, package: &Package) -> Result<File, Error> {
        let mut file = self.package(package)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(Error::io("cannot read", &package.path))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let found = hex::encode(hasher.finalize());
        if found != package.sha256 {
            return Err(Error::Digest {
                package: package.key(),
                found,
                wanted: package.sha256.clone(),
            });
        }
        self.package(package)
    }
}

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
pub type Tar<'a> = tar::Archive<Box<dyn Read + 'a>>;

/// Reads the control archive.
pub fn control(name: &str, file: impl Read) -> Result<Control, Error> {
    let bad = |reason: String| Error::Package {
        package: name.to_owned(),
        reason,
    };
    with_member(name, file, "control.tar", |tar| {
        let mut text = None;
        let mut files = BTreeMap::new();
        let mut left = MOST_CONTROL;
        for entry in tar
            .entries()
            .map_err(|error| bad(truncated("control.tar", &error)))?
        {
            let mut entry = entry.map_err(|error| bad(truncated("control.tar", &error)))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = PathBuf::from(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
            let Some(file) = path.file_name().and_then(|file| file.to_str()) else {
                continue;
            };
            let file = file.to_owned();
            let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
            let mut bytes = Vec::new();
            (&mut entry)
                .take(left + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| bad(truncated("control.tar", &error)))?;
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| bad("its control archive is larger than 64 MiB".into()))?;
            if file == "control" {
                text = Some(String::from_utf8_lossy(&bytes).into_owned());
            } else {
                files.insert(file, (bytes, mode));
            }
        }
        let text = text.ok_or_else(|| bad("its control archive has no `control`".into()))?;
        Ok(Control {
            fields: fields(&text),
            files,
        })
    })
}

/// Gives the data archive to `read`, and after it makes sure that the member ends properly.
pub fn data<T>(
    name: &str,
    file: impl Read,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    with_member(name, file, "data.tar", read)
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
    member: &str,
    read: impl FnOnce(&mut Tar) -> Result<T, Error>,
) -> Result<T, Error> {
    let bad = |reason: String| Error::Package {
        package: name.to_owned(),
        reason,
    };
    let foreign = |error: std::io::Error| bad(format!("not a Debian package: {error}"));
    let file = BufReader::with_capacity(64 * 1024, file);
    let mut archive = ar::Archive::new(file).map_err(foreign)?;
    let mut first = true;
    while let Some(found) = archive.next_member().map_err(foreign)? {
        if std::mem::take(&mut first) {
            let mut version = [0; 2];
            let read = archive.read_exact(&mut version);
            if found != "debian-binary" || read.is_err() || version != *b"2." {
                return Err(bad("not a Debian package of format 2".into()));
            }
            continue;
        }
        let Some(suffix) = found.strip_prefix(member) else {
            continue;
        };
        let plain = BufReader::with_capacity(64 * 1024, &mut archive);
        let stream: Box<dyn Read> = match suffix {
            "" => Box::new(plain),
            ".gz" => Box::new(flate2::bufread::GzDecoder::new(plain)),
            ".xz" => Box::new(liblzma::bufread::XzDecoder::new_stream(
                plain,
                liblzma::stream::Stream::new_stream_decoder(MOST_XZ, 0)
                    .map_err(|error| bad(truncated(member, &error.into())))?,
            )),
            ".zst" => Box::new(
                zstd::stream::read::Decoder::with_buffer(plain)
                    .map_err(|error| bad(truncated(member, &error)))?,
            ),
            other => return Err(bad(format!("{member}{other}: unknown compression"))),
        };
        let mut tar = tar::Archive::new(stream);
        let value = read(&mut tar)?;
        std::io::copy(&mut tar.into_inner(), &mut std::io::sink())
            .map_err(|error| bad(truncated(member, &error)))?;
        return Ok(value);
    }
    Err(bad(format!("it has no {member}")))
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
