//! An archive of Ubuntu's shape, and a machine from it: base `ubuntu-24.04` as it is, but for
//! the mirror and the key.

mod archive;
mod shape;

use crate::apt::Apt;
use crate::site::{MUSTER, soak, wait};
use muster::packages::lock::Lock;
use muster::packages::{Mirrors, Preferences};
use muster::profile::{Source, Stack};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BASE: &str = include_str!("../../../profiles/bases/ubuntu-24.04.toml");
const HALL: &str = include_str!("../../fixtures/noble/stacks/hall/stack.toml");
/// The one key that signs Ubuntu's archive since 2018.
const FINGERPRINT: &str = "F6ECB3762474EDA9D21B7022871920D1991BC93C";

/// A workstation of its own: profiles, cache, images and machines.
struct Desk {
    folder: PathBuf,
    mirrors: [String; 2],
    started: Instant,
}

impl Desk {
    fn new(url: &str, fingerprint: &str, key: &str) -> Desk {
        let folder = tempfile::Builder::new()
            .prefix("muster-test-")
            .tempdir_in("/var/tmp");
        let folder = folder.expect("a folder").keep();
        let base = BASE
            .replace(FINGERPRINT, fingerprint)
            .replace("keys/ubuntu-24.04.asc", "keys/noble.asc");
        assert_eq!(base.matches(fingerprint).count(), 2);
        let write = |path: &str, text: &str| {
            let path = folder.join("profiles").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("bases/ubuntu-24.04.toml", &base);
        write("bases/keys/noble.asc", key);
        write("stacks/hall/stack.toml", HALL);
        Desk {
            folder,
            mirrors: [format!("ubuntu={url}"), format!("ubuntu-security={url}")],
            started: Instant::now(),
        }
    }

    fn saw(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!("[noble {:>2}m{:02}s] {what}", seconds / 60, seconds % 60);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .current_dir(&self.folder)
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .args(["--profiles", "profiles"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn must(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("muster starts");
        assert!(
            output.status.success(),
            "muster {} ended with {}\n{}\n{}\nlast serial lines:\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.last_lines()
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// With the mirrors: `lock` and `build`.
    fn with_mirrors(&self, arguments: &[&str]) -> String {
        let [main, security] = &self.mirrors;
        let mirrors = ["--mirror", main, "--mirror", security];
        self.must(&[arguments, &mirrors].concat())
    }

    fn machine(&self) -> PathBuf {
        self.folder.join("state/muster/hall/hall")
    }

    fn serial(&self) -> String {
        let text = fs::read(self.machine().join("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn last_lines(&self) -> String {
        let text = self.serial();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn lock(&self, stack: &str) -> Lock {
        let path = self.folder.join(stack).join("muster.lock");
        Lock::read_if_there(&path).unwrap().unwrap()
    }

    fn image(&self) -> String {
        let path = self.folder.join("out/hall/hall.raw");
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("[noble] last serial lines:\n{}", self.last_lines());
        }
        let down = ["down", "hall", "--purge", "--yes", "--grace", "1"];
        let _ = self.command(&down).output();
        if std::env::var_os("MUSTER_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[test]
fn an_archive_of_ubuntus_shape_becomes_a_host() {
    let begun = Instant::now();
    let mini = archive::publish();
    let desk = Desk::new(&mini.url(), &mini.key.fingerprint(), &mini.key.armoured());
    desk.saw(&format!(
        "the archive stands, after {} s",
        begun.elapsed().as_secs()
    ));

    desk.with_mirrors(&["lock", "office", "--base", "ubuntu-24.04"]);
    let lock = desk.lock("office");
    says_what_ubuntu_has(&lock);
    desk.saw(&format!(
        "`office` is locked: {} packages",
        lock.packages.len()
    ));
    is_what_apt_installs(&desk, &lock);
    desk.saw("apt, which reads the same archive, installs the same");

    desk.with_mirrors(&["build", "hall", "--out", "out"]);
    desk.saw("the image is built");
    has_ubuntus_loaders(&desk);

    // From the firmware on: SeaBIOS, GRUB, then the kernel that the root's links name.
    let up = ["up", "hall", "--no-input", "--cpus", "1", "--out", "out"];
    desk.must(&up);
    let events = desk.machine().join("events.jsonl");
    wait("the host to speak", Duration::from_secs(400), || {
        let told = fs::read_to_string(&events).unwrap_or_default();
        told.contains("ssh-host-key").then_some(())
    });
    desk.saw("the host speaks");
    if soak() {
        is_green(&desk);
    } else {
        // Who may log in is settled before anything is wired.
        wait("a login", Duration::from_secs(200), || {
            let login = desk
                .command(&["ssh", "hall", "hall", "--", "true"])
                .output();
            login.expect("muster starts").status.success().then_some(())
        });
    }
    is_ubuntu(&desk);
    desk.saw("and it is Ubuntu");

    if soak() {
        let prompts = || desk.serial().matches("hall login:").count();
        desk.must(&["down", "hall"]);
        let before = prompts();
        let uefi = ["--firmware", "uefi"];
        desk.must(&[&up[..], &uefi].concat());
        wait("the login prompt", Duration::from_secs(400), || {
            (prompts() > before).then_some(())
        });
        desk.saw("its UEFI loaders start it too");
    }
}

/// Its services come up; they are Debian's under other names, so not in every run.
fn is_green(desk: &Desk) {
    desk.must(&["up", "hall", "--no-input", "--wait", "--out", "out"]);
    desk.saw("bring-up ended green");
    let verified: Value = serde_json::from_str(&desk.must(&["verify", "hall", "--json"])).unwrap();
    let rows = verified["integrations"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row["colour"] == "green"), "{rows:?}");
}

/// Versions, pockets and names.
fn says_what_ubuntu_has(lock: &Lock) {
    let released: Vec<&str> = lock.releases.iter().map(|r| r.suite.as_str()).collect();
    assert_eq!(released, ["noble", "noble-updates", "noble-security"]);
    let of = |name: &str| {
        let found = lock.packages.iter().find(|package| package.name == name);
        found.unwrap_or_else(|| panic!("{name} is not in the lock"))
    };
    for (name, suite, newer) in [
        ("nano", "noble-security", true),
        ("sudo", "noble-updates", true),
        ("iputils-ping", "noble-updates", true),
        ("tzdata", "noble-updates", true),
        ("less", "noble", false),
        ("zstd", "noble", false),
        ("logrotate", "noble-updates", false),
        ("slapd", "noble", false),
        ("prometheus", "noble", false),
        ("ubuntu-keyring", "noble", false),
        ("shim-signed", "noble", false),
        ("grub-efi-amd64", "noble", false),
        ("libssl3t64", "noble", false),
        ("linux-image-virtual", "noble", false),
        (&format!("linux-image-{}", shape::ABI), "noble", false),
        (&format!("linux-modules-{}", shape::ABI), "noble", false),
    ] {
        let package = of(name);
        assert_eq!(package.suite, suite, "{name}");
        assert_eq!(
            package.version.ends_with("ubuntu0.1"),
            newer,
            "{}",
            package.key()
        );
    }
    assert_eq!(of("nano").archive, "ubuntu-security");
    assert!(
        lock.packages
            .iter()
            .all(|package| !shape::GONE.contains(&package.name.as_str()))
    );
}

/// What apt installs in an empty root when it, too, waits for updates that are being phased in.
fn is_what_apt_installs(desk: &Desk, lock: &Lock) {
    let source = Source::new(Some(&desk.folder.join("profiles")));
    let stack = Stack::load(&source, "office", Some("ubuntu-24.04")).unwrap();
    let preferences = Preferences {
        given: desk.mirrors.to_vec(),
        ..Preferences::default()
    };
    let mirrors = Mirrors::choose(stack.bases.values(), &preferences);
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), &stack.bases["ubuntu-24.04"], &mirrors);
    let waiting = "Package: less zstd\nPin: version *ubuntu0.1\nPin-Priority: 1\n";
    fs::write(root.path().join("etc/apt/preferences.d/phased"), waiting).unwrap();
    for role in lock.roles.values() {
        let theirs = apt.simulate(&role.manual, false).unwrap();
        let ours = role.essential.iter().chain(&role.packages).map(|key| {
            let (name, rest) = key.split_once(':').unwrap();
            format!("{name}={}", rest.split_once('=').unwrap().1)
        });
        let ours: BTreeSet<String> = ours.collect();
        let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            one.difference(other).cloned().collect::<Vec<_>>().join(" ")
        };
        assert!(
            ours == theirs,
            "only muster: {}\nonly apt: {}",
            only(&ours, &theirs),
            only(&theirs, &ours)
        );
    }
}

/// What is on the ESP, for machines with UEFI.
fn has_ubuntus_loaders(desk: &Desk) {
    let esp = format!("{}@@2M", desk.image());
    let list = Command::new("mdir")
        .args(["-/", "-b", "-i", &esp, "::/"])
        .output();
    let list = String::from_utf8(list.expect("mdir starts").stdout).unwrap();
    let found: BTreeSet<&str> = list
        .lines()
        .map(str::trim)
        .filter(|l| !l.ends_with('/'))
        .collect();
    let wanted = [
        "::/EFI/BOOT/BOOTX64.EFI",
        "::/EFI/BOOT/grubx64.efi",
        "::/EFI/BOOT/mmx64.efi",
        "::/EFI/ubuntu/grub.cfg",
        "::/grub/grub.cfg",
        "::/grub/grubenv",
    ];
    assert_eq!(found, BTreeSet::from(wanted));
}

/// What a person sees who logs in.
fn is_ubuntu(desk: &Desk) {
    let script = "set -e; . /etc/os-release; echo $ID $VERSION_CODENAME; readlink /vmlinuz \
                  /initrd.img; ls -d /boot/vmlinuz /boot/initrd.img 2>/dev/null || true; \
                  dpkg-query -W -f '${Package} ${Status}\\n' ubuntu-keyring linux-image-virtual; \
                  dpkg --audit; dpkg -V linux-base shim-signed; cat /etc/apt/sources.list.d/ubuntu.sources; \
                  readlink -f /usr/lib/shim/shimx64.efi.signed; \
                  systemctl --failed --plain --no-legend | cat";
    let said = desk.must(&[
        "ssh",
        "hall",
        "hall",
        "--",
        "sh",
        "-euc",
        &format!("'{}'", script.replace('\'', "'\\''")),
    ]);
    let abi = shape::ABI;
    let expected = format!(
        "ubuntu noble\nboot/vmlinuz-{abi}\nboot/initrd.img-{abi}\n\
         linux-image-virtual install ok installed\nubuntu-keyring install ok installed\n\
         Types: deb\nURIs: http://archive.ubuntu.com/ubuntu\nSuites: noble noble-updates\n\
         Components: main universe\nSigned-By: /etc/apt/keyrings/ubuntu.asc\n\
         /usr/lib/shim/shimx64.efi.signed.latest\n"
    );
    assert_eq!(said, expected);
}
