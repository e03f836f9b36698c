//! Identities that follow from what goes into an image, so that the same inputs give the same
//! image and different inputs never share an identity.

use super::disk::raw::data_ranges;
use super::error::Error;
use super::job::Job;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// SHA-256 of a file, hex.
pub fn digest_file(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io("cannot read", path))?;
    digest(&mut file).map_err(Error::io("cannot read", path))
}

/// SHA-256 of what is left to read, hex.
pub fn digest(reader: &mut impl Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// SHA-256 of a whole file, hex; its holes are not read.
pub fn digest_sparse(file: &File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let zeros = vec![0; 256 * 1024];
    let mut at = 0;
    let size = file.metadata()?.len();
    let length = |bytes: u64| {
        usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(zeros.len())
    };
    for range in data_ranges(file)?
        .into_iter()
        .chain(std::iter::once(size..size))
    {
        while at < range.start {
            let part = length(range.start - at);
            hasher.update(&zeros[..part]);
            at += part as u64;
        }
        while at < range.end {
            let part = length(range.end - at);
            file.read_exact_at(&mut buffer[..part], at)?;
            hasher.update(&buffer[..part]);
            at += part as u64;
        }
    }
    Ok(hex::encode(hasher.finalize()))
}

impl Job {
    /// The image's id: SHA-256 over everything that goes into it.
    pub fn image_id(&self) -> Result<String, Error> {
        let closure = self.closure()?;
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        let json = |value: serde_json::Result<String>| {
            value.map_err(|error| Error::Layout(format!("the inputs do not fit JSON: {error}")))
        };
        add("muster image 1");
        add(&self.role);
        add(&json(serde_json::to_string(&self.stack))?);
        add(&json(serde_json::to_string(&self.lock.accounts))?);
        add(&json(serde_json::to_string(&self.layout))?);
        add(&self.grub);
        add(&self.agent_sha256);
        add(&self.epoch.to_string());
        for keys in [&closure.essential, &closure.packages, &closure.manual] {
            add(&keys.len().to_string());
            for key in keys {
                add(key);
            }
        }
        for package in self.packages(&closure.essential)? {
            add(&package.sha256);
        }
        for package in self.packages(&closure.packages)? {
            add(&package.sha256);
        }
        Ok(hex::encode(hasher.finalize()))
    }
}

/// A UUID that belongs to one thing of one image (RFC 9562, version 8).
pub fn uuid(image_id: &str, what: &str) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(image_id);
    hasher.update([0]);
    hasher.update(what);
    let hash = hasher.finalize();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    uuid[6] = 0x80 | (uuid[6] & 0x0f);
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    uuid
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_as_the_zeros_they_are() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 3 << 20).unwrap();
        file.set_len(5_000_001).unwrap();
        let found = digest_sparse(&file).unwrap();
        // Looking for holes moves the file's offset.
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(found, digest(&mut file).unwrap());
    }

    #[test]
    fn identities_differ_by_image_and_by_thing() {
        let one = uuid("a", "root-a");
        assert_eq!(one, uuid("a", "root-a"));
        assert_ne!(one, uuid("a", "root-b"));
        assert_ne!(one, uuid("b", "root-a"));
        assert_eq!((one[6] >> 4, one[8] >> 6), (8, 2));
    }
}
