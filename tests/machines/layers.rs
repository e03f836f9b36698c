//! What is kept between builds: a build does again what it must, what was damaged is noticed,
//! and nothing of it shows in the image.

use crate::cache::Cache;
use crate::site::images;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The project's profiles, with a file more in the overlay of Debian.
pub fn changed(folder: &Path) -> PathBuf {
    let profiles = folder.join("changed");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("overlays/debian");
    fs::create_dir_all(profiles.join("overlays")).expect("made");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(own)
        .arg(profiles.join("overlays"))
        .status();
    assert!(copied.expect("cp starts").success());
    let file = profiles.join("overlays/debian/etc/motd.d/hours");
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, "Open from nine to five.\n").expect("written");
    profiles
}

/// Whether two files hold the same; where not, cmp says so.
fn same(one: File, other: &Path) -> bool {
    let mut compared = Command::new("cmp");
    compared.arg("-").arg(other).stdin(one);
    compared.status().expect("cmp starts").success()
}

const BUILD: [&str; 5] = ["build", "office", "--locked", "--offline", "--out"];

#[test]
fn a_build_does_again_what_it_must_and_the_layers_do_not_show_in_the_image() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let cache = Cache::below(folder.path());
    let out = folder.path().join("out");
    let out = out.to_str().expect("UTF-8");
    let first = [&BUILD[..], &[out]].concat();
    let image = format!("{out}/office/office.raw");
    cache.says(&first);
    let read = File::open(&image).expect("it stands");
    assert!(same(read, &images().join("out/office/office.raw")));
    println!("[layers] with another cache, in another folder: the same bits");

    // The image that is there would be made from the same.
    let said = cache.says(&first);
    let words = "office: nothing has changed since this image was made";
    assert!(said.contains(words), "{said}");

    // One file more: no package is touched, and the file is in the image.
    let profiles = changed(folder.path());
    let build = [&first[..], &["--profiles", profiles.to_str().unwrap()]].concat();
    let said = cache.says(&build);
    for line in [
        "take the base debian-12 from the cache",
        "take the role office from the cache",
    ] {
        assert!(said.contains(line), "{said}");
    }
    for line in ["unpack", "configure", "make the initial RAM filesystem"] {
        assert!(!said.contains(line), "{line}: {said}");
    }
    let said = String::from_utf8(cache.muster(&["verify-image", &image]).stdout).unwrap();
    assert!(said.contains("packages as locked"), "{said}");
    println!("[layers] {}", said.trim());

    // Back to what it was: the disk that stands becomes the next one, with the same bits.
    let inode = || fs::metadata(&image).expect("it stands").ino();
    let original = images().join("out/office/office.raw");
    let before = inode();
    cache.says(&first);
    assert_eq!(inode(), before, "it was written anew");
    assert!(same(File::open(&image).expect("it stands"), &original));
    // One that somebody reads stays theirs.
    let read = File::open(&image).expect("it stands");
    cache.says(&build);
    assert_ne!(inode(), before);
    assert!(same(read, &original), "it was changed under its reader");
    println!("[layers] a disk becomes the next one, unless somebody has it");

    // A layer that somebody wrote to is thrown away and made again.
    let layer = cache.layer_with("etc/roundcube/config.inc.php");
    fs::write(layer.join("tree/etc/roundcube/config.inc.php"), "oops").expect("written");
    let said = cache.says(&[&build[..], &["--format", "qcow2"]].concat());
    assert!(
        said.contains("take the base debian-12 from the cache"),
        "{said}"
    );
    assert!(said.contains("packages of the role office"), "{said}");
    println!("[layers] a layer that was written to is made again");

    // `cache verify` says so, too, and that what is left is whole.
    let layer = cache.layer_with("etc/roundcube/config.inc.php");
    fs::write(layer.join("tree/etc/roundcube/config.inc.php"), "oops").expect("written");
    let verified = cache.muster(&["cache", "verify"]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    let words = "/etc/roundcube/config.inc.php is not as it was left; removed, to be made again";
    assert!(said.contains(words), "{said}");
    cache.says(&["cache", "verify"]);

    // Built again without any layer, on one processor and under another sky: the same bits,
    // raw as qcow2. The role's layer is made for the next tests.
    let said = cache.says(&[&build[..], &["--check"]].concat());
    let words = "office: a second build under other conditions gave the same bits";
    assert!(said.contains(words), "{said}");
    println!("[layers] without layers, on one processor: the same bits");
}

#[test]
fn an_image_is_what_its_lock_says_and_one_that_was_written_to_is_not() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let cache = Cache::below(folder.path());
    let original = images().join("out/office/office.raw");
    let whole = cache.muster(&[
        "verify-image",
        original.to_str().unwrap(),
        "--lock",
        "office/muster.lock",
    ]);
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert!(
        whole.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&whole.stderr)
    );
    println!("[layers] {}", said.trim());

    let image = folder.path().join("office.raw");
    let copied = Command::new("cp")
        .args(["--sparse=always"])
        .args([&original, &image])
        .status();
    assert!(copied.expect("cp starts").success());
    // As somebody would who has the image and wants in.
    let login = folder.path().join("login");
    fs::write(&login, "#!/bin/sh\nexec sh\n").expect("written");
    let place = format!("{}?offset={}", image.display(), start(&image, 3));
    let login = login.display();
    let edited = Command::new("debugfs")
        .args(["-w", "-f", "-", &place])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| {
            let orders = format!(
                "rm /usr/bin/login\nwrite {login} /usr/bin/login\nwrite {login} /usr/bin/more-power\n\
                 set_inode_field /usr/bin/more-power mode 0104755\n"
            );
            std::io::Write::write_all(child.stdin.as_mut().expect("piped"), orders.as_bytes())?;
            child.wait()
        });
    assert!(edited.expect("debugfs starts").success());
    let disk = fs::File::options().read(true).write(true).open(&image);
    let disk = disk.expect("writable");
    for place in [
        0x80,
        // In the packed kernel and modules of GRUB.
        start(&image, 1) + 100_000,
        start(&image, 4) + 5000,
        start(&image, 5) + (900 << 20),
    ] {
        disk.write_all_at(b"in", place).expect("written");
    }
    let added = Command::new("mcopy")
        .arg("-i")
        .arg(format!("{}@@{}", image.display(), start(&image, 2)))
        .arg(folder.path().join("login"))
        .arg("::/EFI/BOOT/more.efi")
        .status();
    assert!(added.expect("mcopy starts").success());
    let lock = images().join("office/muster.lock");
    let found = cache.muster(&[
        "verify-image",
        image.to_str().unwrap(),
        "--lock",
        lock.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{said}");
    for line in [
        "/usr/bin/login is not what its package brings",
        "/usr/bin/more-power is privileged, and no package brings it",
        "the first sector is not GRUB's boot.img of the image",
        "the BIOS boot partition does not hold GRUB's kernel and modules alone, as packaged",
        "the partition esp is not shim, GRUB and their configuration alone, as packaged: byte ",
        "the partition root-b is not empty: byte 5000 is not 0",
        "the partition data is not empty: byte 943718400 differs",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

/// Where a partition begins, in bytes.
fn start(image: &Path, number: u32) -> u64 {
    let table = Command::new("sgdisk")
        .arg(format!("-i{number}"))
        .arg(image)
        .output()
        .expect("sgdisk starts");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let mut lines = table.lines();
    let first = lines.find_map(|line| line.strip_prefix("First sector: "));
    let first = first.and_then(|first| first.split(' ').next());
    let first: u64 = first.expect("a sector").parse().expect("a number");
    first * 512
}
