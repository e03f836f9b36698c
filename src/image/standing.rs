//! Whether the files of a build are still what its manifest says.
//!
//! A build does not wait until its files have reached the disk, which can take longer than the
//! rest of it. So files that were made before this computer was started are read, once: the
//! power may have failed before they were written.

use super::error::Error;
use super::identity::{digest, digest_parts};
use super::manifest::{Manifest, Output};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What became of a file since its build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Missing,
    /// It has this many bytes, and should have others.
    Size(u64),
    /// It was written to after the manifest.
    Newer,
    /// Its content has another digest.
    Content,
}

/// The first file of the manifest at `path` that is not as the build left it.
pub fn changed<'a>(
    manifest: &'a Manifest,
    path: &Path,
) -> Result<Option<(&'a Output, Change)>, Error> {
    let last = fs::metadata(path).and_then(|found| found.modified());
    let last = last.map_err(Error::io("cannot read", path))?;
    let read = last < started();
    for output in manifest.outputs.values() {
        let file = path.with_file_name(&output.file);
        let change = change(&file, output, last, read);
        if let Some(change) = change.map_err(Error::io("cannot read", file))? {
            return Ok(Some((output, change)));
        }
    }
    if read {
        // Where this fails they are read again.
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }
    Ok(None)
}

/// What became of one file; its content counts if it is to be read.
fn change(
    file: &Path,
    output: &Output,
    last: SystemTime,
    read: bool,
) -> io::Result<Option<Change>> {
    let found = match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Change::Missing)),
        found => found?,
    };
    Ok(match () {
        () if found.len() != output.size => Some(Change::Size(found.len())),
        () if found.modified()? > last => Some(Change::Newer),
        () if read && content(file, output)? != output.digest => Some(Change::Content),
        () => None,
    })
}

/// The digest of a file, of the kind that the manifest has.
fn content(file: &Path, output: &Output) -> io::Result<String> {
    let mut file = File::open(file)?;
    match output.digest.starts_with("sha256:") {
        true => Ok(format!("sha256:{}", digest(&mut file)?)),
        false => digest_parts(&file),
    }
}

/// When this computer was started (`btime` of proc_stat(5)); if it does not say, now.
fn started() -> SystemTime {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut lines = stat.lines();
    let seconds = lines.find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    seconds.map_or_else(SystemTime::now, |seconds| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::PathBuf;

    /// A manifest of a disk and a kernel, and the files; all made at `time`.
    fn made(folder: &Path, time: SystemTime) -> (Manifest, PathBuf) {
        let write = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, content).unwrap();
            File::open(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let disk = write("box.raw", &[7; 10_000]);
        let kernel = write("box.vmlinuz", b"kernel");
        let output = |path: &Path, digest: String| {
            json!({
                "file": path.file_name().unwrap().to_str(),
                "size": fs::metadata(path).unwrap().len(),
                "digest": digest,
            })
        };
        let disk_digest = digest_parts(&File::open(&disk).unwrap()).unwrap();
        let kernel_digest = digest(&mut File::open(&kernel).unwrap()).unwrap();
        let manifest = json!({
            "version": 2, "stack": "tiny", "role": "box", "base": "debian-12",
            "image-id": "0", "epoch": 0, "format": "raw", "disk-size": 10_000, "partitions": [],
            "inputs": {"agent": "", "builder": "", "overlay": {}, "request": "", "packages": []},
            "outputs": {
                "image": output(&disk, disk_digest),
                "kernel": output(&kernel, format!("sha256:{kernel_digest}")),
            },
        });
        let path = write("box.manifest.json", manifest.to_string().as_bytes());
        (serde_json::from_value(manifest).unwrap(), path)
    }

    fn overwrite(path: &Path, time: SystemTime) {
        let length = fs::metadata(path).unwrap().len();
        fs::write(path, vec![0; usize::try_from(length).unwrap()]).unwrap();
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn what_was_made_since_the_start_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let (manifest, path) = made(folder.path(), now);
        assert_eq!(changed(&manifest, &path).unwrap(), None);
        overwrite(&folder.path().join("box.vmlinuz"), now);
        assert_eq!(changed(&manifest, &path).unwrap(), None);
        let change = |path: &Path| {
            let found = changed(&manifest, path).unwrap();
            found.map(|(output, change)| (output.file.clone(), change))
        };
        overwrite(&folder.path().join("box.raw"), now + Duration::from_secs(1));
        assert_eq!(change(&path), Some(("box.raw".into(), Change::Newer)));
        fs::write(folder.path().join("box.raw"), "short").unwrap();
        assert_eq!(change(&path), Some(("box.raw".into(), Change::Size(5))));
        fs::remove_file(folder.path().join("box.raw")).unwrap();
        assert_eq!(change(&path), Some(("box.raw".into(), Change::Missing)));
    }

    #[test]
    fn what_was_made_before_the_start_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let then = started() - Duration::from_secs(60);
        for lost in ["box.raw", "box.vmlinuz"] {
            let (manifest, path) = made(folder.path(), then);
            overwrite(&folder.path().join(lost), then);
            let found = changed(&manifest, &path).unwrap();
            let found = found.map(|(output, change)| (output.file.as_str(), change));
            assert_eq!(found, Some((lost, Change::Content)));
        }
        let (manifest, path) = made(folder.path(), then);
        assert_eq!(changed(&manifest, &path).unwrap(), None);
        overwrite(&folder.path().join("box.raw"), then);
        assert_eq!(changed(&manifest, &path).unwrap(), None, "it was read");
    }
}
