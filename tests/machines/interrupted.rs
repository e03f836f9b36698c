//! A build that is stopped or killed in the middle leaves no half image, no process and no
//! mount; the next one stands on nothing it left.

use crate::cache::Cache;
use crate::ordinary::User;
use crate::site::{images, wait};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const BUILD: [&str; 6] = ["build", "office", "--locked", "--offline", "--out", "out"];

/// What stands below `out`, but for the log.
fn results(out: &Path) -> Vec<String> {
    let mut found: Vec<String> = walkdir::WalkDir::new(out)
        .min_depth(1)
        .max_depth(2)
        .into_iter()
        .filter_map(Result::ok)
        .map(|entry| entry.path().strip_prefix(out).expect("below").to_owned())
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| !path.contains(".building") && !path.ends_with(".log") && path != "office")
        .collect();
    found.sort();
    found
}

/// Processes whose command line or working directory speaks of `out`.
fn processes(out: &Path) -> Vec<String> {
    let out = out.to_string_lossy();
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&*out).then_some(line)
        })
        .collect()
}

/// Runs a build until it says `moment`, and ends it by a signal.
fn stop(build: &mut Command, moment: &str, signal: &str) {
    let mut child = build.stderr(Stdio::piped()).spawn().expect("muster starts");
    let said = BufReader::new(child.stderr.take().expect("piped"));
    let reached = said
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains(moment));
    assert!(reached, "the build never said {moment:?}");
    let sent = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill starts").success());
    let status = child.wait().expect("it ends");
    assert!(!status.success(), "{moment}: {status}");
}

/// No image, no process and no mount.
pub fn nothing_is_left(folder: &Path, what: &str) {
    let out = folder.join("out");
    assert_eq!(results(&out), Vec::<String>::new(), "{what}");
    wait(
        "the build's processes to be gone",
        Duration::from_secs(20),
        || processes(folder).is_empty().then_some(()),
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
    assert!(!mounts.contains(&*folder.to_string_lossy()), "{mounts}");
    println!("[interrupted] {what}: nothing is left");
}

#[test]
fn a_build_stopped_anywhere_leaves_no_half_image_and_the_next_one_without_root_is_as_roots() {
    let root = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let cache = Cache::below(root.path());
    for (moment, signal) in [("of the base", "TERM"), ("add the overlays", "INT")] {
        let mut build = cache.command(&BUILD[..5]);
        build.arg(root.path().join("out"));
        stop(&mut build, moment, signal);
        nothing_is_left(root.path(), &format!("{signal} at {moment:?}"));
        // What it finished is whole, and the rest is not taken for it.
        cache.says(&["cache", "verify"]);
    }

    let user = User::new();
    stop(&mut user.command(&BUILD), "write the disk", "KILL");
    nothing_is_left(user.home(), "KILL at \"write the disk\", without root");
    let qcow2 = [&BUILD[..], &["--format", "qcow2-zstd"]].concat();
    let whole = user.command(&qcow2).output().expect("muster starts");
    let said = String::from_utf8_lossy(&whole.stderr).into_owned();
    assert!(whole.status.success(), "{said}");
    is_as_roots(&user);
    println!("[interrupted] a user without root has then built the image that root built");
}

/// The qcow2 holds the disk of the raw image, kernel and initial RAM filesystem are the same.
fn is_as_roots(user: &User) {
    let (ours, theirs) = (images().join("out/office"), user.home().join("out/office"));
    let check = Command::new("qemu-img")
        .arg("check")
        .arg(theirs.join("office.qcow2"))
        .output();
    let check = check.expect("qemu-img starts");
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && text.contains("No errors"),
        "{text}"
    );
    let mut disk = Command::new("qemu-img");
    disk.args(["compare", "-f", "qcow2", "-F", "raw"])
        .arg(theirs.join("office.qcow2"))
        .arg(ours.join("office.raw"));
    let mut kernel = Command::new("cmp");
    let mut initrd = Command::new("cmp");
    for (file, command) in [
        ("office.vmlinuz", &mut kernel),
        ("office.initrd", &mut initrd),
    ] {
        command.args([theirs.join(file), ours.join(file)]);
    }
    for command in [&mut disk, &mut kernel, &mut initrd] {
        let compared = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&compared.stdout);
        assert!(compared.status.success(), "{text}");
    }
    for file in ["office.qcow2", "office.vmlinuz", "office.initrd"] {
        assert!(user.owns(&theirs.join(file)), "{file}");
    }
    let hidden: Vec<_> = walkdir::WalkDir::new(&theirs)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}
