//! The same image from other firmware, another disk and more processors; and firmware that
//! refuses what nobody has signed.

use crate::outside;
use crate::site::{Site, images, wait};
use crate::traffic::{self, Recording};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Where the ESP begins, for mtools.
const ESP: &str = "@@2M";
const SHIM: &str = "::/EFI/BOOT/BOOTX64.EFI";
/// A text of shim's that is shown only when something fails: with another letter in it the
/// program does the same, but it is not what was signed.
const TEXT: &str = "Could not install security protocol";

/// Starts the host on what a newer computer has, and finds all as it was. What it sends is
/// recorded from its first packet on.
pub fn start_elsewhere(site: &Site) -> Recording {
    let hardware = [
        "--firmware",
        "secure-boot",
        "--disk-bus",
        "nvme",
        "--cpus",
        "4",
    ];
    let up = ["up", "office", "--no-input", "--out", "out"];
    site.must(&[&up[..], &hardware].concat());
    let recording = traffic::record(site);
    site.must(&[&up[..], &["--wait"]].concat());
    let found = site.on_host(
        "mokutil --sb-state; findmnt -no SOURCE /; findmnt -no SOURCE /data; nproc; \
         systemctl --failed --plain --no-legend | cat",
    );
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(
        found,
        [
            "SecureBoot enabled",
            "/dev/nvme0n1p3",
            "/dev/nvme0n1p5",
            "4"
        ]
    );
    site.saw("a host made with BIOS and virtio runs with Secure Boot, NVMe and four processors");
    recording
}

#[test]
fn a_loader_that_nobody_signed_and_a_disk_that_is_too_small_are_refused() {
    let site = Site::new("firmware");
    let folder = tempfile::Builder::new()
        .prefix("muster-test-")
        .tempdir_in("/var/tmp")
        .expect("a folder");
    let image = folder.path().join("office/office.raw");
    fs::create_dir(folder.path().join("office")).expect("a folder");
    let original = images().join("out/office/office.raw");
    run("cp", &["--sparse=always", &text(&original), &text(&image)]);
    tamper(&image, folder.path());

    let out = text(folder.path());
    let up = |firmware: &str| {
        let hardware = ["--firmware", firmware, "--cpus", "1"];
        let always = ["up", "office", "--no-input", "--out", &out];
        site.must(&[&always[..], &hardware].concat());
    };
    let serial = site.folder().join("office/serial.log");
    let said = || String::from_utf8_lossy(&fs::read(&serial).unwrap_or_default()).into_owned();
    let soon = Duration::from_secs(180);
    up("secure-boot");
    wait("the firmware to refuse the loader", soon, || {
        said().contains("Access Denied").then_some(())
    });
    let refused = said();
    assert!(!refused.contains("Welcome to GRUB"), "{refused}");
    site.must(&["down", "office", "--grace", "1"]);
    site.saw("Secure Boot refuses the changed loader");

    up("uefi");
    wait("the loader to start", soon, || {
        said()[refused.len()..]
            .contains("Welcome to GRUB")
            .then_some(())
    });
    let events = site.folder().join("office/events.jsonl");
    wait("the host to speak", Duration::from_secs(300), || {
        let told = fs::read_to_string(&events).unwrap_or_default();
        told.contains("ssh-host-key").then_some(())
    });
    site.saw("without Secure Boot the changed loader starts the host, on one processor");
    site.must(&["down", "office", "--purge", "--yes", "--grace", "1"]);

    // As after `dd` to a disk that is too small.
    let file = File::options().write(true).open(&image);
    file.and_then(|file| file.set_len(6000 << 20)).expect("cut");
    site.must(&[
        "up",
        "office",
        "--no-input",
        "--out",
        &out,
        "--disk",
        "6000",
    ]);
    wait("the host to refuse the disk", soon, || {
        let words = "has 6000 MiB, but the image on it was made for 8192 MiB.";
        said().contains(words).then_some(())
    });
    site.saw("a disk smaller than the image is refused in words");
}

/// Changes one letter of the loader on the ESP.
fn tamper(image: &Path, folder: &Path) {
    let esp = format!("{}{ESP}", text(image));
    let shim = folder.join("shim.efi");
    run("mcopy", &["-n", "-i", &esp, SHIM, &text(&shim)]);
    let program = fs::read(&shim).expect("readable");
    let wanted: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let place = program
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("shim has the text");
    let file = File::options().write(true).open(&shim).expect("writable");
    file.write_all_at(b"X", place as u64).expect("written");
    run("mcopy", &["-n", "-o", "-i", &esp, &text(&shim), SHIM]);
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn run(program: &str, arguments: &[&str]) {
    let (fine, said) = outside::run(program, arguments);
    assert!(fine, "{program}: {said}");
}
