//! Identities that follow from what goes into an image, so that the same inputs give the same
//! image and different inputs never share an identity.

use super::artifact;
use super::disk::raw::data_ranges;
use super::error::Error;
use super::filesystem::PART;
use super::job::Job;
use rayon::prelude::*;
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

/// The digest of a disk image, `sha256-4MiB:` and hex: the SHA-256 over those of its parts of
/// 4 MiB, one after the other as 32 bytes each, the last part as long as it is.
pub fn digest_parts(file: &File) -> std::io::Result<String> {
    Ok(digest_of_parts(&parts(file, |_| None)?))
}

/// The digest of a disk image whose parts have these.
pub fn digest_of_parts(parts: &[[u8; 32]]) -> String {
    let digest = Sha256::digest(parts.as_flattened());
    format!("sha256-4MiB:{}", hex::encode(digest))
}

/// The digests of the parts of a disk image, where those of some are known, by their number.
/// Holes are not read, and parts are read side by side.
pub fn parts(
    file: &File,
    known: impl Fn(usize) -> Option<[u8; 32]> + Sync,
) -> std::io::Result<Vec<[u8; 32]>> {
    let size = file.metadata()?.len();
    let mut holds_data = vec![false; usize::try_from(size.div_ceil(PART)).unwrap_or(0)];
    for range in data_ranges(file)? {
        let parts = range.start / PART..range.end.div_ceil(PART);
        for part in parts {
            if let Some(holds) = holds_data.get_mut(usize::try_from(part).unwrap_or(usize::MAX)) {
                *holds = true;
            }
        }
    }
    let length = |index: usize| (size - index as u64 * PART).min(PART) as usize;
    let zeros = zeros();
    holds_data
        .par_iter()
        .enumerate()
        .with_max_len(16)
        .map_init(
            || vec![0; PART as usize],
            |buffer, (index, holds_data)| {
                if let Some(digest) = known(index) {
                    return Ok(digest);
                }
                let length = length(index);
                if !holds_data && length == PART as usize {
                    return Ok(zeros);
                }
                let part = &mut buffer[..length];
                file.read_exact_at(part, index as u64 * PART)?;
                Ok(Sha256::digest(part).into())
            },
        )
        .collect()
}

/// The digest of a whole part that holds nothing.
pub fn zeros() -> [u8; 32] {
    Sha256::digest(vec![0; PART as usize]).into()
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
        // What the stack says of them is in it already; what they are is in the lock.
        for placed in artifact::placed(&self.stack, &self.role, &self.lock)? {
            add(&placed.file.sha256);
        }
        for image in artifact::images(&self.stack, &self.role, &self.lock)? {
            image.blobs.iter().for_each(|blob| add(&blob.sha256));
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
    fn the_digest_of_a_disk_is_that_of_its_parts_and_holes_are_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 9 << 20).unwrap();
        file.set_len((13 << 20) + 5).unwrap();
        let mut bytes = vec![0; (13 << 20) + 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let parts: Vec<u8> = bytes.chunks(4 << 20).flat_map(Sha256::digest).collect();
        let wanted = format!("sha256-4MiB:{}", hex::encode(Sha256::digest(parts)));
        assert_eq!(digest_parts(&file).unwrap(), wanted);
        let empty = tempfile::tempfile().unwrap();
        let wanted = format!("sha256-4MiB:{}", hex::encode(Sha256::digest([])));
        assert_eq!(digest_parts(&empty).unwrap(), wanted);
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
