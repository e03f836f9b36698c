//! A list of everything in a tree, in one order: what an entry is, whose, how long, when it was
//! last changed in any way (ctime), and the digest of a file's content.

use crate::image::identity::digest;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What stands in the place of a digest for what has no content.
const NONE: &str = "-";

/// An entry: its path, what `lstat` says of it, and whether it is a file.
struct Entry {
    path: PathBuf,
    metadata: String,
    file: bool,
}

/// One line per entry, each ended by a zero byte: metadata, digest, path.
pub fn take(tree: &Path) -> io::Result<Vec<u8>> {
    let entries = walk(tree)?;
    let lines: Vec<Vec<u8>> = entries
        .par_iter()
        .map(|entry| {
            let digest = match entry.file {
                true => content(&tree.join(&entry.path))?,
                false => NONE.to_owned(),
            };
            let mut line = format!("{} {digest} ", entry.metadata).into_bytes();
            line.extend(entry.path.as_os_str().as_bytes());
            line.push(0);
            Ok(line)
        })
        .collect::<io::Result<_>>()?;
    Ok(lines.concat())
}

/// The first path at which a tree differs from its survey.
pub fn compare(tree: &Path, survey: &[u8], by_content: bool) -> io::Result<Option<PathBuf>> {
    let now = walk(tree)?;
    let mut then = survey.split_inclusive(|byte| *byte == 0);
    let mut files = Vec::new();
    for entry in &now {
        let line = then.next().and_then(|line| line.strip_suffix(&[0]));
        let Some(rest) = line.and_then(|line| line.strip_prefix(entry.metadata.as_bytes())) else {
            return Ok(Some(entry.path.clone()));
        };
        let rest = rest.strip_prefix(b" ").unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(0);
        if rest.get(end + 1..) != Some(entry.path.as_os_str().as_bytes()) {
            return Ok(Some(entry.path.clone()));
        }
        if entry.file {
            files.push((&entry.path, &rest[..end]));
        }
    }
    if let Some(line) = then.next() {
        let path = line.splitn(7, |byte| *byte == b' ').last();
        let path = path.and_then(|path| path.strip_suffix(&[0]));
        let path = path.unwrap_or_default().to_vec();
        return Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(path))));
    }
    if !by_content {
        return Ok(None);
    }
    let wrong = files
        .par_iter()
        .map(|(path, then)| Ok((content(&tree.join(path))?.as_bytes() != *then).then_some(*path)))
        .find_map_first(|found: io::Result<Option<&PathBuf>>| found.transpose());
    wrong.transpose().map(|path| path.cloned())
}

/// Bytes of all files that a survey lists.
pub fn size(survey: &[u8]) -> u64 {
    let lines = survey.split(|byte| *byte == 0);
    let sizes = lines.filter_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let length = std::str::from_utf8(words.nth(2)?).ok()?;
        let digest = words.nth(2)?;
        let length = length
            .split_once('.')
            .filter(|_| digest != NONE.as_bytes())?;
        length.0.parse::<u64>().ok()
    });
    sizes.sum()
}

fn content(path: &Path) -> io::Result<String> {
    digest(&mut File::open(path)?)
}

/// Everything below `tree`, and the tree itself with an empty path, sorted by path.
fn walk(tree: &Path) -> io::Result<Vec<Entry>> {
    let mut found = vec![entry(tree, PathBuf::new())?.0];
    found.extend(below(tree, Path::new(""))?);
    Ok(found)
}

fn below(tree: &Path, folder: &Path) -> io::Result<Vec<Entry>> {
    let mut names = fs::read_dir(tree.join(folder))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    let one = |name: &std::ffi::OsString| {
        let path = folder.join(name);
        let (entry, is_folder) = entry(&tree.join(&path), path.clone())?;
        let mut found = vec![entry];
        if is_folder {
            found.extend(below(tree, &path)?);
        }
        Ok(found)
    };
    let found: Vec<Vec<Entry>> = names.par_iter().map(one).collect::<io::Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn entry(at: &Path, path: PathBuf) -> io::Result<(Entry, bool)> {
    let found = fs::symlink_metadata(at)?;
    let kind = found.file_type();
    // The length of a folder is the filesystem's own business.
    let size = match () {
        () if kind.is_dir() => "d".to_owned(),
        () if kind.is_symlink() => {
            let target = fs::read_link(at)?;
            hex::encode(&Sha256::digest(target.as_os_str().as_bytes())[..8])
        }
        () => format!("{}.{}", found.len(), found.rdev()),
    };
    // One word each, so that a line can be taken apart again.
    let metadata = format!(
        "{:o} {}:{} {size} {}.{} {}.{}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec()
    );
    let entry = Entry {
        path,
        metadata,
        file: kind.is_file(),
    };
    Ok((entry, kind.is_dir()))
}
