//! FAT volumes read back by mtools and fsck.fat (the kernel here may have no vfat).

use std::fs::File;
use std::path::Path;
use std::process::Command;

use muster::image::filesystem::Filesystem;
use muster::image::filesystem::fat::Fat;
use muster::image::tree::{Content, Kind, Tree};

use crate::mounted::{run, scratch};
use crate::random::{Random, add, directory, empty_tree, file, node};

const MIB: u64 = 1 << 20;

fn format() -> Fat {
    Fat {
        label: "esp".into(),
        volume_id: 0x1234_abcd,
    }
}

fn write(tree: &Tree, size: u64, image: &Path) {
    let out = File::create(image).unwrap();
    out.set_len(size).unwrap();
    format().write(tree, size, &out).unwrap();
    // 1: only what is not worth a word, such as a summary that is not up to date.
    run("fsck.fat", &["-n".as_ref(), "-v".as_ref(), image.as_ref()]);
}

fn esp(files: u64, largest: u64) -> Tree {
    let random = &mut Random(files);
    let mut tree = empty_tree();
    let efi = add(&mut tree, 0, "EFI", directory());
    let boot = add(&mut tree, efi, "BOOT", directory());
    let debian = add(&mut tree, efi, "debian", directory());
    add(&mut tree, boot, "BOOTX64.EFI", file(random.bytes(950_000)));
    add(&mut tree, debian, "grub.cfg", file("set timeout=1\n"));
    add(&mut tree, debian, "empty", file(""));
    for number in 0..files {
        let name = format!("a file with a rather long näme {number}.txt");
        let length = random.below(largest) as usize;
        add(&mut tree, debian, name, file(random.bytes(length)));
    }
    tree
}

fn read(image: &Path, path: &str) -> Vec<u8> {
    let output = Command::new("mtype")
        .args([
            "-i".as_ref(),
            image.as_os_str(),
            format!("::{path}").as_ref(),
        ])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn assert_equal(tree: &Tree, image: &Path, index: usize, path: &str) {
    match &tree.nodes[index].kind {
        Kind::Directory(entries) => {
            for (name, child) in entries {
                let name = String::from_utf8(name.clone()).unwrap();
                assert_equal(tree, image, *child, &format!("{path}/{name}"));
            }
        }
        Kind::File(Content::Bytes(bytes)) => assert!(read(image, path) == *bytes, "{path}"),
        _ => panic!("{path}"),
    }
}

#[test]
fn fsck_is_content_and_mtools_reads_every_file_at_the_least_size_and_above() {
    let folder = scratch();
    let image = folder.path().join("esp");
    for (files, largest) in [
        (0, 1),
        (40, 4000),
        (60, 300_000),
        (30, 3_000_000),
        (9, 60_000_000),
    ] {
        let tree = esp(files, largest);
        let least = format().minimum_size(&tree).unwrap();
        for size in [least, least + 3 * MIB, 64 * MIB, 300 * MIB] {
            if size >= least {
                write(&tree, size, &image);
                assert_equal(&tree, &image, 0, "");
            }
        }
    }
}

#[test]
fn an_esp_is_fat32_with_the_label_and_the_serial_number_given() {
    let folder = scratch();
    let image = folder.path().join("esp");
    write(&esp(3, 1000), 64 * MIB, &image);
    let information = run("minfo", &["-i".as_ref(), image.as_ref(), "::".as_ref()]);
    assert!(
        information.contains("disk type=\"FAT32   \""),
        "{information}"
    );
    assert!(
        information.contains("serial number: 1234ABCD"),
        "{information}"
    );
    let listing = run("mdir", &["-i".as_ref(), image.as_ref(), "::".as_ref()]);
    assert!(listing.contains("is ESP"), "{listing}");
    assert!(listing.contains("1980-01-01"), "{listing}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let folder = scratch();
    let tree = esp(30, 10_000);
    let mut images = ["a", "b"].map(|name| {
        let image = folder.path().join(name);
        write(&tree, 48 * MIB, &image);
        std::fs::read(image).unwrap()
    });
    let [a, b] = &mut images;
    assert!(a == b);
}

#[test]
fn what_fat_cannot_hold_is_refused_by_path_and_reason() {
    let refusal = |change: &dyn Fn(&mut Tree, usize)| {
        let mut tree = empty_tree();
        let parent = add(&mut tree, 0, "EFI", directory());
        change(&mut tree, parent);
        format().minimum_size(&tree).unwrap_err().to_string()
    };
    let named = |name: &[u8]| {
        let name = name.to_vec();
        refusal(&move |tree, parent| {
            add(tree, parent, &name, file("x"));
        })
    };
    assert_eq!(
        named(b"a:b"),
        "`/EFI/a:b`: a name in FAT cannot hold one of its characters"
    );
    assert_eq!(
        named(b"\xff"),
        "`/EFI/\u{fffd}`: a name in FAT must be UTF-8"
    );
    assert_eq!(
        named(b"x."),
        "`/EFI/x.`: a name in FAT cannot end with a dot or a space"
    );
    let long = "n".repeat(256);
    assert_eq!(
        named(long.as_bytes()),
        format!("`/EFI/{long}`: a name in FAT has at most 255 characters")
    );
    assert_eq!(
        refusal(&|tree, parent| {
            let (path, size) = ("/nonexistent".into(), 1 << 32);
            let huge = Kind::File(Content::Path { path, size });
            add(tree, parent, "huge", node(huge));
        }),
        "`/EFI/huge`: FAT holds files below 4 GiB"
    );
    assert_eq!(
        refusal(&|tree, parent| {
            add(tree, parent, "boot", file(""));
            add(tree, parent, "BOOT", file(""));
        }),
        "`/EFI/boot`: FAT does not tell it from a name in other case"
    );
    assert_eq!(
        refusal(&|tree, parent| {
            add(tree, parent, "link", node(Kind::Symlink(b"x".to_vec())));
        }),
        "`/EFI/link`: FAT holds only files and directories"
    );
    assert_eq!(
        refusal(&|tree, parent| {
            tree.nodes[parent].xattrs.insert("user.x".into(), vec![]);
        }),
        "`/EFI`: FAT holds no extended attributes"
    );
    let label = Fat {
        label: "a label too long".into(),
        volume_id: 1,
    };
    assert_eq!(
        label.minimum_size(&empty_tree()).unwrap_err().to_string(),
        "FAT: the label `a label too long` is not 1 to 11 letters or digits"
    );
    let out = tempfile::tempfile().unwrap();
    let error = format()
        .write(&esp(0, 1), MIB, &out)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("1048576 bytes are too few for this tree, which needs "),
        "{error}"
    );
    assert!(error.ends_with(" bytes as FAT"), "{error}");
}
