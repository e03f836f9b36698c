//! Where two images differ: which path, and in what.

use super::disk::gpt::GptError;
use super::disk::image::Source;
use super::filesystem::ext4::read::{Kind, Node, Reader};
use super::inspect::{partition, table};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;

/// Bytes compared at a time.
const STEP: usize = 1 << 20;

/// The differences of two images, each in words, sorted; nothing when they are the same.
pub fn compare(left: &dyn Source, right: &dyn Source) -> io::Result<Vec<String>> {
    if left.size() != right.size() {
        return Ok(vec![format!(
            "one disk has {} bytes, the other {}",
            left.size(),
            right.size()
        )]);
    }
    let read = |error: GptError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let (one, other) = (table(left).map_err(read)?, table(right).map_err(read)?);
    if one != other {
        return Ok(vec!["their partition tables differ".into()]);
    }
    let mut found = Vec::new();
    for entry in one.partitions.iter().flatten() {
        let (one, other) = (
            partition(left, &entry.name)?,
            partition(right, &entry.name)?,
        );
        if same(&one, &other)? {
            continue;
        }
        let name = &entry.name;
        match (Reader::open(&one), Reader::open(&other)) {
            (Ok(one), Ok(other)) => {
                let paths = trees(&one, &other)?;
                match paths.is_empty() {
                    true => found.push(format!(
                        "{name}: the files are the same and lie in different places"
                    )),
                    false => found.extend(paths.into_iter().map(|what| format!("{name}: {what}"))),
                }
            }
            _ => found.push(format!("{name}: its bytes differ")),
        }
    }
    if found.is_empty() && !same(left, right)? {
        found.push("they differ outside of their partitions".into());
    }
    Ok(found)
}

fn same(left: &dyn Source, right: &dyn Source) -> io::Result<bool> {
    let (mut one, mut other) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    while at < left.size() {
        let length = (left.size() - at).min(STEP as u64) as usize;
        left.read_at(at, &mut one[..length])?;
        right.read_at(at, &mut other[..length])?;
        if one[..length] != other[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

fn trees(left: &Reader, right: &Reader) -> io::Result<Vec<String>> {
    let (ours, theirs) = (left.walk()?, right.walk()?);
    let paths: BTreeSet<&Vec<u8>> = ours.keys().chain(theirs.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let what = match (ours.get(path), theirs.get(path)) {
            (Some(one), Some(other)) => nodes(left, one, right, other)?,
            (Some(_), None) => Some("is only in the first".to_owned()),
            _ => Some("is only in the second".to_owned()),
        };
        if let Some(what) = what {
            found.push(format!("/{} {what}", String::from_utf8_lossy(path)));
        }
    }
    Ok(found)
}

fn nodes(left: &Reader, one: &Node, right: &Reader, other: &Node) -> io::Result<Option<String>> {
    let mut what = Vec::new();
    for (name, one, other) in [
        (
            "mode",
            format!("{:o}", one.mode),
            format!("{:o}", other.mode),
        ),
        (
            "owner",
            format!("{}:{}", one.uid, one.gid),
            format!("{}:{}", other.uid, other.gid),
        ),
        ("time", one.mtime.to_string(), other.mtime.to_string()),
    ] {
        if one != other {
            what.push(format!("{name} {one} and {other}"));
        }
    }
    if one.xattrs != other.xattrs {
        what.push("extended attributes".into());
    }
    match (&one.kind, &other.kind) {
        // Names show at their own paths.
        (Kind::Directory(_), Kind::Directory(_)) => {}
        (Kind::File(one_size), Kind::File(other_size)) => {
            if one_size != other_size {
                what.push(format!("{one_size} and {other_size} bytes"));
            } else if digest(left, one.ino)? != digest(right, other.ino)? {
                what.push("content".into());
            }
        }
        (one, other) if one != other => what.push("what it is, or where it leads".into()),
        _ => {}
    }
    Ok((!what.is_empty()).then(|| format!("differs: {}", what.join(", "))))
}

fn digest(reader: &Reader, ino: u32) -> io::Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    reader.content(ino, &mut |part| hasher.update(part))?;
    Ok(hasher.finalize().to_vec())
}
