//! `muster agent data`: the data partition and what lives on it, before local-fs.target.
//!
//! Every part may have been done before, in whole or, after a power cut, in half; doing it
//! again finishes it.

use super::facts::Facts;
use super::partition::{self, Partition};
use super::state;
use super::{AgentError, OWN, Result, at, write_if_new};
use crate::bringup::process::{ProcessError, Program};
use crate::site::durable;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{major, minor, stat};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Where the data partition is mounted.
pub const MOUNT: &str = "/data";

/// File systems can take hours to check.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Checks and mounts the data partition, and binds the state of this host.
pub fn run() -> Result<()> {
    let root = Path::new("/");
    let data = Path::new(MOUNT);
    let facts = Facts::read(root)?;
    if !state::mounted(data)? {
        let status = stat("/").map_err(|error| AgentError::System {
            what: "cannot look at /",
            error,
        })?;
        let own = (major(status.st_dev), minor(status.st_dev));
        let partition = partition::find(Path::new("/sys"), own, "data")?;
        bring(&partition, data)?;
    }
    for path in facts.state() {
        let copy = state::copy(root, data, &path)?;
        state::bind(root, &copy, &path)?;
    }
    // Services read certificates below it; what is secret there has its own mode.
    durable::make_directory(&root.join(OWN), 0o755).map_err(at(&root.join(OWN)))?;
    machine_id(root, data)
}

/// Checks, mounts and grows the file system.
fn bring(partition: &Partition, data: &Path) -> Result<()> {
    let device = partition.path();
    let word = device.to_string_lossy().into_owned();
    let check = Program {
        limit: PATIENCE,
        ..Program::new(["e2fsck", "-p", word.as_str()])
    }
    .run();
    match check {
        // 1: errors were there and are corrected.
        Ok(_) | Err(ProcessError::Failed { code: Some(1), .. }) => {}
        Err(error) => return Err(error.into()),
    }
    durable::make_directory(data, 0o755).map_err(at(data))?;
    mount(
        Some(&device),
        data,
        Some("ext4"),
        MsFlags::MS_NOSUID,
        None::<&str>,
    )
    .map_err(|error| AgentError::Mount {
        what: device.clone(),
        at: data.into(),
        error,
    })?;
    if room_to_grow(&device)? {
        // Mounted, the kernel grows it in its journal: a power cut does no harm.
        Program {
            limit: PATIENCE,
            ..Program::new(["resize2fs", word.as_str()])
        }
        .run()?;
    }
    Ok(())
}

/// Whether the partition is larger than its file system by a block group or more.
fn room_to_grow(device: &Path) -> Result<bool> {
    let mut file = std::fs::File::open(device).map_err(at(device))?;
    let size = file.seek(SeekFrom::End(0)).map_err(at(device))?;
    let mut superblock = [0; 1024];
    file.seek(SeekFrom::Start(1024)).map_err(at(device))?;
    file.read_exact(&mut superblock).map_err(at(device))?;
    let (used, group) = extent(&superblock);
    Ok(size >= used + group)
}

/// Bytes of the file system and of one block group (ext4 disk layout, "The Super Block").
fn extent(superblock: &[u8; 1024]) -> (u64, u64) {
    let number = |at: usize| {
        let bytes = [
            superblock[at],
            superblock[at + 1],
            superblock[at + 2],
            superblock[at + 3],
        ];
        u64::from(u32::from_le_bytes(bytes))
    };
    // Feature bit 0x80 of s_feature_incompat: block counts have 64 bits.
    let high = if number(0x60) & 0x80 != 0 {
        number(0x150)
    } else {
        0
    };
    let block = 1024_u64 << number(0x18).min(6);
    (
        (high << 32 | number(0x04)).saturating_mul(block),
        number(0x20).saturating_mul(block),
    )
}

/// A host keeps its machine-id (machine-id(5)) when its root is replaced. systemd has read
/// the image's one before us; in a new root the old id is put back for the next start.
fn machine_id(root: &Path, data: &Path) -> Result<()> {
    let (own, kept) = (root.join("etc/machine-id"), data.join("machine-id"));
    let valid = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let id = text.trim();
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_string())
    };
    match (valid(&own), valid(&kept)) {
        (Some(id), None) => write_if_new(&kept, &format!("{id}\n"), 0o444).map(|_| ()),
        (now, Some(id)) if now.as_ref() != Some(&id) && !state::mounted(&own)? => {
            write_if_new(&own, &format!("{id}\n"), 0o444).map(|_| ())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_smaller_than_its_partition_is_seen() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("disk");
        for options in [&["-O", "64bit"][..], &["-O", "^64bit"], &["-b", "1024"]] {
            let file = std::fs::File::create(&path).expect("a file");
            file.set_len(64 << 20).expect("sized");
            let status = std::process::Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-F"])
                .args(options)
                .arg(&path)
                .status()
                .expect("mke2fs runs");
            assert!(status.success());
            assert!(!room_to_grow(&path).expect("read"), "{options:?}");
            file.set_len(512 << 20).expect("grown");
            assert!(room_to_grow(&path).expect("read"), "{options:?}");
        }
    }

    #[test]
    fn the_machine_id_is_kept_and_put_back_into_a_new_root() {
        let (root, data) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let own = root.path().join("etc/machine-id");
        let kept = data.path().join("machine-id");
        let first = "0123456789abcdef0123456789abcdef\n";
        std::fs::create_dir(root.path().join("etc")).expect("a folder");
        std::fs::write(&own, "uninitialized\n").expect("written");
        machine_id(root.path(), data.path()).expect("nothing yet");
        assert!(!kept.exists());
        std::fs::write(&own, first).expect("written");
        machine_id(root.path(), data.path()).expect("kept");
        assert_eq!(std::fs::read_to_string(&kept).expect("read"), first);
        std::fs::write(&own, first.replace('0', "f")).expect("a new root");
        machine_id(root.path(), data.path()).expect("put back");
        assert_eq!(std::fs::read_to_string(&own).expect("read"), first);
    }
}
