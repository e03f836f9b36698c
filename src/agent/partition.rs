//! Finds a partition of our own disk by its GPT name, in sysfs: before udev has settled
//! there are no links below /dev/disk.

use super::{AgentError, Result, at};
use std::path::{Path, PathBuf};

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Name of the disk, `vda`.
    pub disk: String,
    /// Name of the partition, `vda5`.
    pub device: String,
    /// Number in the table, from 1.
    pub number: u32,
}

impl Partition {
    /// Its device file.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.device)
    }

    /// The device file of its disk.
    pub fn disk_path(&self) -> PathBuf {
        Path::new("/dev").join(&self.disk)
    }
}

/// The partition of this GPT name on the disk that holds device `major:minor` (the root);
/// when that is no partition, on the only disk that has one of this name.
pub fn find(sys: &Path, root: (u64, u64), name: &str) -> Result<Partition> {
    let (major, minor) = root;
    let own = std::fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))).ok();
    if let Some(disk) = own.as_deref().and_then(Path::parent)
        && own
            .as_deref()
            .is_some_and(|own| own.join("partition").exists())
        && let Some(found) = on_disk(disk, name)?
    {
        return Ok(found);
    }
    let folder = sys.join("block");
    let mut found = Vec::new();
    let mut disks: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map_err(at(&folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(at(&folder))?;
    disks.sort();
    for disk in disks {
        found.extend(on_disk(&disk, name)?);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(AgentError::Partition(format!(
            "no disk has a partition named `{name}`; was this disk written by muster?"
        ))),
        _ => {
            let names: Vec<&str> = found.iter().map(|found| found.device.as_str()).collect();
            Err(AgentError::Partition(format!(
                "several partitions are named `{name}` ({}) and none is on the root's disk; \
                 unplug the other disks",
                names.join(", ")
            )))
        }
    }
}

fn on_disk(disk: &Path, name: &str) -> Result<Option<Partition>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(disk)
        .map_err(at(disk))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("partition").is_file())
        .collect();
    entries.sort();
    for entry in entries {
        let path = entry.join("uevent");
        let text = std::fs::read_to_string(&path).map_err(at(&path))?;
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        if value("PARTNAME") == Some(name)
            && let (Some(device), Some(Ok(number))) =
                (value("DEVNAME"), value("PARTN").map(str::parse))
        {
            let disk = disk
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            return Ok(Some(Partition {
                disk,
                device: device.into(),
                number,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysfs(disks: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(sys.path().join("dev/block")).expect("a folder");
        for (place, (disk, partitions)) in disks.iter().enumerate() {
            let folder = sys.path().join("block").join(disk);
            std::fs::create_dir_all(&folder).expect("a folder");
            for (number, (partition, name)) in partitions.iter().enumerate() {
                let folder = folder.join(partition);
                std::fs::create_dir(&folder).expect("a folder");
                let number = number + 1;
                std::fs::write(folder.join("partition"), format!("{number}\n")).expect("written");
                let text = format!(
                    "MAJOR=254\nDEVNAME={partition}\nDEVTYPE=partition\nPARTN={number}\n\
                     PARTNAME={name}\n"
                );
                std::fs::write(folder.join("uevent"), text).expect("written");
                let link = sys
                    .path()
                    .join(format!("dev/block/254:{}", place * 16 + number));
                std::os::unix::fs::symlink(&folder, link).expect("linked");
            }
        }
        sys
    }

    const OURS: (&str, &[(&str, &str)]) = (
        "vda",
        &[("vda1", "bios"), ("vda2", "root-a"), ("vda3", "data")],
    );
    const OTHER: (&str, &[(&str, &str)]) = ("vdb", &[("vdb1", "data")]);

    #[test]
    fn the_data_partition_is_the_one_beside_the_root() {
        let sys = sysfs(&[OURS, OTHER]);
        let found = find(sys.path(), (254, 2), "data").expect("found");
        assert_eq!(found.path(), Path::new("/dev/vda3"));
        assert_eq!(found.disk_path(), Path::new("/dev/vda"));
        assert_eq!(found.number, 3);
    }

    #[test]
    fn without_a_root_on_a_partition_the_only_one_of_the_name_is_taken() {
        let sys = sysfs(&[OTHER]);
        assert_eq!(
            find(sys.path(), (0, 1), "data").expect("found").device,
            "vdb1"
        );
    }

    #[test]
    fn two_candidates_or_none_are_refused() {
        let words = |sys: tempfile::TempDir| {
            find(sys.path(), (0, 1), "data")
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            words(sysfs(&[OURS, OTHER])),
            "several partitions are named `data` (vda3, vdb1) and none is on the root's disk; \
             unplug the other disks"
        );
        assert_eq!(
            words(sysfs(&[("vda", &[("vda1", "x")])])),
            "no disk has a partition named `data`; was this disk written by muster?"
        );
    }
}
