//! A qcow2 disk laid over an image: the empty copy-on-write file, as QEMU's own
//! docs/interop/qcow2.txt describes it (version 3, clusters of 64 KiB).

use std::io::{self, Read};
use std::path::Path;

/// Bytes per cluster.
const CLUSTER: u64 = 1 << 16;
/// Bytes one L1 entry reaches: a cluster of 8-byte L2 entries, each a cluster.
const L1_REACH: u64 = CLUSTER / 8 * CLUSTER;
/// `QFI\xfb`.
const MAGIC: u32 = 0x5146_49fb;
/// Header extension that names the format of the backing file.
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Length of a version 3 header without optional fields.
const HEADER: u32 = 104;

/// The bytes of an empty disk of `size` bytes over the file `backing`, named relative to
/// where the disk will stand.
///
/// Cluster 0 is the header, 1 the refcount table, 2 the only refcount block, then the L1
/// table; L2 tables and data come when the guest writes.
pub fn empty(backing: &str, format: &str, size: u64) -> Vec<u8> {
    let l1_entries = size.div_ceil(L1_REACH);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER).max(1);
    let clusters = 3 + l1_clusters;

    let mut header = Vec::new();
    let mut word = |value: u32| header.extend(value.to_be_bytes());
    let long = |value: u64| [(value >> 32) as u32, value as u32];
    let extensions = 8 + format.len().next_multiple_of(8) as u32 + 8;
    word(MAGIC);
    word(3);
    long(u64::from(HEADER + extensions))
        .into_iter()
        .for_each(&mut word);
    word(backing.len() as u32);
    word(16); // cluster bits
    long(size).into_iter().for_each(&mut word);
    word(0); // no encryption
    word(l1_entries as u32);
    long(3 * CLUSTER).into_iter().for_each(&mut word);
    long(CLUSTER).into_iter().for_each(&mut word);
    word(1); // clusters of the refcount table
    word(0); // snapshots
    long(0).into_iter().for_each(&mut word);
    for _features in 0..6 {
        word(0); // incompatible, compatible, autoclear: none
    }
    word(4); // refcounts of 16 bits
    word(HEADER);
    word(BACKING_FORMAT);
    word(format.len() as u32);
    header.extend(format.as_bytes());
    header.resize(header.len().next_multiple_of(8), 0);
    header.extend([0; 8]); // end of extensions
    header.extend(backing.as_bytes());

    let mut disk = header;
    disk.resize(CLUSTER as usize, 0);
    disk.extend((2 * CLUSTER).to_be_bytes());
    disk.resize(2 * CLUSTER as usize, 0);
    for _cluster in 0..clusters {
        disk.extend(1u16.to_be_bytes());
    }
    disk.resize((clusters * CLUSTER) as usize, 0);
    disk
}

/// Format and size in bytes of an image, told by its content: qcow2 by its magic, anything
/// else raw.
pub fn measure(image: &Path) -> io::Result<(&'static str, u64)> {
    let mut file = std::fs::File::open(image)?;
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    file.by_ref().take(32).read_to_end(&mut header)?;
    let size = header.get(24..32).and_then(|bytes| bytes.try_into().ok());
    match size {
        Some(size) if header.starts_with(&MAGIC.to_be_bytes()) => {
            Ok(("qcow2", u64::from_be_bytes(size)))
        }
        _ => Ok(("raw", length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn qemu_finds_nothing_wrong_with_an_empty_disk() {
        let dir = tempfile::tempdir().unwrap();
        for (size, format) in [(64 << 20, "raw"), (40 << 30, "raw"), (5 << 40, "qcow2")] {
            let image = dir.path().join("image");
            match format {
                "raw" => std::fs::File::create(&image)
                    .unwrap()
                    .set_len(1 << 20)
                    .unwrap(),
                _ => std::fs::write(&image, empty("image.raw", "raw", 1 << 20)).unwrap(),
            }
            std::fs::File::create(dir.path().join("image.raw")).unwrap();
            let disk = dir.path().join("disk.qcow2");
            std::fs::write(&disk, empty("image", format, size)).unwrap();
            let output = Command::new("qemu-img")
                .arg("check")
                .arg(&disk)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("No errors were found"), "{said}{output:?}");
            let info = Command::new("qemu-img")
                .args(["info", "--output=json", "--backing-chain"])
                .arg(&disk)
                .output()
                .unwrap();
            let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
            assert_eq!(info[0]["virtual-size"], size);
            assert_eq!(info[0]["backing-filename-format"], format);
            assert_eq!(info[0]["backing-filename"], "image");
            assert_eq!(measure(&disk).unwrap(), ("qcow2", size));
        }
    }

    #[test]
    fn anything_without_the_magic_is_raw() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("x.raw");
        std::fs::write(&image, b"").unwrap();
        assert_eq!(measure(&image).unwrap(), ("raw", 0));
        std::fs::write(&image, vec![1; 4096]).unwrap();
        assert_eq!(measure(&image).unwrap(), ("raw", 4096));
    }
}
