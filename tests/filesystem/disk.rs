//! Partition tables read back by sgdisk, qcow2 images by qemu-img.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use muster::image::disk::gpt::{Description, Guid, SECTOR, Table};
use muster::image::disk::qcow2::{self, Compression};
use muster::image::disk::{grow, kernel, raw};
use muster::image::filesystem::ext4::Ext4;
use muster::image::filesystem::{BlockSink, Filesystem, Window};

use crate::mounted::{Mounted, assert_equal, run, scratch};
use crate::random::{Random, random_tree};

const MIB: u64 = 1 << 20;

fn descriptions() -> Vec<Description> {
    let plain = |name: &str, kind, size| Description {
        name: name.into(),
        kind,
        id: Guid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + size as u128),
        size,
        attributes: 0,
    };
    vec![
        plain("bios", Guid::BIOS_BOOT, MIB),
        plain("esp", Guid::EFI_SYSTEM, 64 * MIB),
        Description {
            attributes: 1 << 60,
            ..plain("root-a", Guid::LINUX_ROOT_X86_64, 200 * MIB)
        },
        plain("root-b", Guid::LINUX_ROOT_X86_64, 200 * MIB + 1),
        plain("data", Guid::LINUX_DATA, 90 * MIB),
    ]
}

fn table() -> Table {
    Table::lay_out(Guid::from_u128(0xabcd), &descriptions()).unwrap()
}

fn create(path: &Path, size: u64) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    file.set_len(size).unwrap();
    file
}

fn sgdisk_is_content(image: &Path) -> String {
    let verdict = run("sgdisk", &["--verify".as_ref(), image.as_ref()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    run("sgdisk", &["-p".as_ref(), image.as_ref()])
}

#[test]
fn sgdisk_reads_the_table_that_was_described() {
    let folder = scratch();
    let image = folder.path().join("disk");
    let table = table();
    let file = create(&image, table.size);
    table.write(&[0xaa; 440], &file).unwrap();
    let listing = sgdisk_is_content(&image);
    for expected in [
        "   1            2048            4095   1024.0 KiB  EF02  bios",
        "   2            4096          135167   64.0 MiB    EF00  esp",
        "   4          544768          956415   201.0 MiB   8304  root-b",
    ] {
        assert!(listing.contains(expected), "{expected}: {listing}");
    }
    let root = run("sgdisk", &["-i".as_ref(), "3".as_ref(), image.as_ref()]);
    assert!(root.contains("Attribute flags: 1000000000000000"), "{root}");
    assert!(
        root.contains("GUID: 10000000-0000-4000-8000-00000C800000"),
        "{root}"
    );
    assert!(root.contains("(Linux x86-64 root (/))"), "{root}");
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).unwrap();
    assert_eq!(boot[..440], [0xaa; 440]);
    assert_eq!(boot[510..], [0x55, 0xaa]);
    assert_eq!(grow::read(&file).unwrap(), table);
}

#[test]
fn a_larger_disk_gives_its_space_to_the_last_partition_and_keeps_the_boot_code() {
    let folder = scratch();
    let image = folder.path().join("disk");
    let table = table();
    let file = create(&image, table.size);
    table.write(&[0xaa; 440], &file).unwrap();
    assert_eq!(grow::grow(&file).unwrap(), None);
    file.set_len(5 << 30).unwrap();
    let grown = grow::grow(&file).unwrap().unwrap();
    assert_eq!((grown.number, grown.partition.name.as_str()), (5, "data"));
    assert_eq!(
        grown.partition.start() + grown.partition.length(),
        (5 << 30) - MIB
    );
    let listing = sgdisk_is_content(&image);
    assert!(listing.contains("4.5 GiB     8300  data"), "{listing}");
    assert_eq!(grow::grow(&file).unwrap(), None);
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).unwrap();
    assert_eq!(boot[..440], [0xaa; 440]);
    assert_eq!(
        grow::read(&file).unwrap().find("root-a"),
        table.find("root-a")
    );
}

/// A disk that stops taking writes after some sectors, as when the power goes.
struct Cut<'a> {
    file: &'a File,
    left: std::sync::atomic::AtomicU64,
}

impl BlockSink for Cut<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        for (sector, at) in bytes.chunks(512).zip((offset..).step_by(512)) {
            use std::sync::atomic::Ordering::Relaxed;
            if self
                .left
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_err()
            {
                return Err(std::io::Error::other("the power is gone"));
            }
            self.file.write_all_at(sector, at)?;
        }
        Ok(())
    }
}

#[test]
fn a_power_cut_while_a_table_is_replaced_leaves_one_that_grows_again() {
    let folder = scratch();
    let image = folder.path().join("disk");
    let larger = 700 * MIB;
    for sectors in 0..70 {
        let table = table();
        let file = create(&image, table.size);
        table.write(&[], &file).unwrap();
        file.set_len(larger).unwrap();
        let mut new = Table {
            size: larger,
            ..table.clone()
        };
        if let Some(Some(data)) = new.partitions.last_mut() {
            data.last = larger / SECTOR - 2049;
        }
        let cut = Cut {
            file: &file,
            left: sectors.into(),
        };
        let _ = new
            .write_backup(&cut)
            .and_then(|()| new.write_primary(&cut));
        let _ = grow::grow(&file).unwrap();
        assert_eq!(grow::read(&file).unwrap(), new, "after {sectors} sectors");
        sgdisk_is_content(&image);
    }
}

#[test]
fn a_damaged_second_table_is_written_anew_though_the_first_says_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let table = table();
    let file = create(&folder.path().join("disk"), table.size);
    table.write(&[], &file).unwrap();
    let last = table.size / SECTOR - 1;
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8], last * SECTOR).unwrap();
    assert_eq!(grow::grow(&file).unwrap(), None);
    let mut read = |at, into: &mut [u8]| std::os::unix::fs::FileExt::read_exact_at(&file, into, at);
    assert_eq!(
        Table::read_copy(table.size, last, &mut read).unwrap().0,
        table
    );
}

/// Little-endian numbers at places of the header.
type Change<'a> = &'a [(usize, u64, usize)];

/// What is said of a disk whose first table was changed and whose second one is gone: in its
/// header, then in its first entry, with checksums that fit.
fn refusal(header: Change<'_>, entry: Change<'_>) -> String {
    let folder = scratch();
    let table = table();
    let file = create(&folder.path().join("disk"), table.size);
    table.write(&[], &file).unwrap();
    file.write_all_at(&[0; 512], table.size - SECTOR).unwrap();
    let mut start = vec![0; 34 * SECTOR as usize];
    file.read_exact_at(&mut start, 0).unwrap();
    let put = |bytes: &mut [u8], (at, value, length): (usize, u64, usize)| {
        bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
    };
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        u64::from(crc.sum())
    };
    for change in entry {
        put(&mut start[1024..], *change);
    }
    let sum = crc(&start[1024..]);
    put(&mut start[512..], (88, sum, 4));
    let length = header.iter().find(|change| change.0 == 12);
    let length = length.map_or(92, |change| change.1 as usize);
    for change in header {
        put(&mut start[512..], *change);
    }
    if header.iter().all(|change| change.0 != 16) {
        put(&mut start[512..], (16, 0, 4));
        let sum = crc(&start[512..512 + length.min(512)]);
        put(&mut start[512..], (16, sum, 4));
    }
    file.write_all_at(&start, 0).unwrap();
    let error = grow::grow(&file).unwrap_err();
    let mut after = vec![0; start.len()];
    file.read_exact_at(&mut after, 0).unwrap();
    assert!(after == start, "{error}: the disk was written to");
    error.to_string()
}

#[test]
fn a_table_that_makes_no_sense_is_refused_and_left_as_it_is() {
    for (header, entry, what) in [
        (&[(0, 0, 1)][..], &[][..], "no header"),
        (&[(12, 91, 4)], &[], "a header of impossible length"),
        (&[(12, 513, 4)], &[], "a header of impossible length"),
        (&[(16, 7, 4)], &[], "a damaged header"),
        (&[(24, 2, 8)], &[], "a damaged header"),
        (&[(80, 129, 4)], &[], "a table of an unusual size"),
        (&[(84, 256, 4)], &[], "a table of an unusual size"),
        (&[(88, 7, 4)], &[], "damaged entries for the header"),
        (&[(72, u64::MAX, 8)], &[], "a bad place"),
        (
            &[],
            &[(32, 33, 8)],
            "the partition `bios` has no valid place",
        ),
        (
            &[],
            &[(40, 40, 8)],
            "the partition `bios` has no valid place",
        ),
        (
            &[],
            &[(40, u64::MAX / 512 - 33, 8)],
            "the partition `bios` has no valid place",
        ),
    ] {
        assert_eq!(
            refusal(header, entry),
            format!("no valid GUID partition table: {what} in sector 1")
        );
    }
    for sector in [1 << 40, u64::MAX / 512] {
        let said = refusal(&[(72, sector, 8)], &[]);
        assert!(
            said.starts_with("cannot access the partition table: "),
            "{said}"
        );
    }
}

#[test]
fn a_disk_without_a_table_is_refused() {
    let folder = scratch();
    let file = create(&folder.path().join("disk"), 4 * MIB);
    assert_eq!(
        grow::grow(&file).unwrap_err().to_string(),
        "no valid GUID partition table: no header in sector 1"
    );
    let file = create(&folder.path().join("disk"), 100);
    assert_eq!(
        grow::grow(&file).unwrap_err().to_string(),
        "cannot access the partition table: failed to fill whole buffer"
    );
}

#[test]
fn a_filesystem_inside_a_partition_can_be_mounted_and_never_leaves_it() {
    let folder = scratch();
    let image = folder.path().join("disk");
    let host = scratch();
    let tree = random_tree(3, 400, host.path());
    let table = table();
    let file = create(&image, table.size);
    table.write(&[], &file).unwrap();
    let root = table.find("root-a").unwrap();
    let window = Window {
        sink: &file,
        start: root.start(),
        length: root.length(),
    };
    Ext4::new("root-a", [9; 16], 0)
        .write(&tree, root.length(), &window)
        .unwrap();
    assert!(window.write_at(root.length() - 1, &[1, 2]).is_err());
    sgdisk_is_content(&image);
    let options = format!(
        "ro,noload,offset={},sizelimit={}",
        root.start(),
        root.length()
    );
    if let Some(mounted) = Mounted::new(&image, &options) {
        assert_equal(&tree, mounted.path());
    }
}

/// A disk with data in odd places: compressible, random, zeros, an odd end.
fn odd_disk(path: &Path, size: u64, seed: u64) -> File {
    let random = &mut Random(seed);
    let file = create(path, size);
    for _ in 0..40 {
        let length = 1 + random.below(400_000) as usize;
        let offset = random.below(size - length as u64);
        let bytes = match random.below(3) {
            0 => random.bytes(length),
            1 => format!("line {}\n", random.next())
                .into_bytes()
                .repeat(length / 20),
            _ => vec![0; length],
        };
        let bytes = &bytes[..bytes.len().min(length)];
        file.write_all_at(bytes, offset).unwrap();
    }
    file.write_all_at(b"end", size - 3).unwrap();
    file
}

#[test]
fn qemu_finds_qcow2_images_without_faults_and_equal_to_the_raw_one() {
    let folder = scratch();
    let raw_path = folder.path().join("raw");
    let image = folder.path().join("image.qcow2");
    for (seed, size) in [
        (1, MIB),
        (2, 700 * MIB),
        (3, 5 << 30),
        (4, 64 * MIB + 512 * 3),
    ] {
        let raw = odd_disk(&raw_path, size, seed);
        for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
            let out = create(&image, 0);
            qcow2::write(&raw, &out, compression).unwrap();
            let verdict = run("qemu-img", &["check".as_ref(), image.as_ref()]);
            assert!(verdict.contains("No errors were found"), "{verdict}");
            let formats = ["compare", "-f", "raw", "-F", "qcow2"].map(OsStr::new);
            let mut arguments = formats.to_vec();
            arguments.extend([raw_path.as_os_str(), image.as_os_str()]);
            let verdict = run("qemu-img", &arguments);
            assert!(
                verdict.contains("identical"),
                "{compression:?} {size}: {verdict}"
            );
            let length = image.metadata().unwrap().len();
            assert!(length < 40 * MIB, "{length} bytes for {size}");
        }
    }
}

#[test]
fn an_image_of_nothing_is_small_and_without_faults() {
    let folder = scratch();
    let raw = create(&folder.path().join("raw"), 1 << 40);
    let image = folder.path().join("image.qcow2");
    qcow2::write(&raw, &create(&image, 0), Compression::None).unwrap();
    run("qemu-img", &["check".as_ref(), image.as_ref()]);
    let information = run("qemu-img", &["info".as_ref(), image.as_ref()]);
    assert!(information.contains("virtual size: 1 TiB"), "{information}");
    assert!(image.metadata().unwrap().len() < MIB);
}

#[test]
fn qemu_writes_to_an_image_and_it_stays_without_faults() {
    let folder = scratch();
    let raw = odd_disk(&folder.path().join("raw"), 90 * MIB, 8);
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let image = folder.path().join("image.qcow2");
        qcow2::write(&raw, &create(&image, 0), compression).unwrap();
        for command in ["write -P 7 1M 40M", "write -z 3M 9M", "write -P 9 88M 1M"] {
            run(
                "qemu-io",
                &["-c".as_ref(), command.as_ref(), image.as_ref()],
            );
        }
        let verdict = run("qemu-img", &["check".as_ref(), image.as_ref()]);
        assert!(verdict.contains("No errors were found"), "{verdict}");
    }
}

#[test]
fn qcow2_bytes_do_not_depend_on_holes_or_on_the_number_of_threads() {
    let folder = scratch();
    let sparse = folder.path().join("sparse");
    let raw = odd_disk(&sparse, 60 * MIB, 5);
    let full = folder.path().join("full");
    fs::write(&full, fs::read(&sparse).unwrap()).unwrap();
    let convert = |raw: &File, threads: usize| {
        let image = folder.path().join("image");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let out = create(&image, 0);
        pool.install(|| qcow2::write(raw, &out, Compression::Zstd))
            .unwrap();
        fs::read(image).unwrap()
    };
    let one = convert(&raw, 1);
    assert!(one == convert(&raw, 5));
    assert!(one == convert(&File::open(full).unwrap(), 2));
}

#[test]
fn a_raw_copy_is_equal_and_stays_sparse() {
    let folder = scratch();
    let from = odd_disk(&folder.path().join("from"), 300 * MIB + 5, 6);
    let to = create(&folder.path().join("to"), 300 * MIB + 5);
    raw::copy(&from, &to).unwrap();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("from") == read("to"));
    assert!(to.metadata().unwrap().blocks() * 512 < 20 * MIB);
}

#[test]
fn the_kernel_takes_over_the_new_length_of_a_partition_in_use() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root, no loop device");
        return;
    }
    let folder = scratch();
    let image = folder.path().join("disk");
    let table = table();
    let file = create(&image, table.size);
    table.write(&[], &file).unwrap();
    file.set_len(table.size + 100 * MIB).unwrap();
    let arguments = ["--partscan", "--find", "--show"].map(OsStr::new);
    let device = run("losetup", &[&arguments[..], &[image.as_os_str()]].concat());
    let device = device.trim();
    let name = device.trim_start_matches("/dev/");
    let size = || fs::read_to_string(format!("/sys/block/{name}/{name}p5/size")).ok();
    let before = size();
    let disk = File::options().read(true).write(true).open(device).unwrap();
    let grown = grow::grow(&disk).unwrap().unwrap();
    let result = kernel::resize_partition(&disk, &grown);
    let after = size();
    drop(disk);
    run("losetup", &["-d".as_ref(), device.as_ref()]);
    if before.is_none() {
        eprintln!("SKIPPED: this kernel shows no partitions of loop devices");
        return;
    }
    result.unwrap();
    assert_eq!(before.unwrap().trim(), (90 * 2048).to_string());
    assert_eq!(after.unwrap().trim(), (190 * 2048).to_string());
}
