//! A build that is stopped or killed in the middle leaves no half image, no process and no
//! mount; the next one stands on nothing it left.

use crate::site::{MUSTER, images, wait};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn build(out: &Path, format: &str) -> Command {
    let mut command = Command::new(MUSTER);
    command
        .current_dir(images())
        .args([
            "build",
            "starter",
            "--locked",
            "--offline",
            "--format",
            format,
        ])
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// What stands below `out`, but for the log.
fn results(out: &Path) -> Vec<String> {
    let mut found: Vec<String> = walkdir::WalkDir::new(out)
        .min_depth(1)
        .max_depth(2)
        .into_iter()
        .filter_map(Result::ok)
        .map(|entry| entry.path().strip_prefix(out).expect("below").to_owned())
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| !path.contains(".building") && !path.ends_with(".log") && path != "starter")
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

#[test]
fn a_build_stopped_anywhere_leaves_no_half_image_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let out = folder.path().join("out");
    for (moment, signal) in [
        ("unpack the other", "TERM"),
        ("add the overlays", "INT"),
        ("write the disk", "KILL"),
    ] {
        let mut child = build(&out, "raw").spawn().expect("muster starts");
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
        assert_eq!(
            results(&out),
            Vec::<String>::new(),
            "after {signal} at {moment}"
        );
        wait(
            "the build's processes to be gone",
            Duration::from_secs(20),
            || processes(&out).is_empty().then_some(()),
        );
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
        assert!(!mounts.contains(&*out.to_string_lossy()), "{mounts}");
        println!("[interrupted] {signal} at {moment:?}: nothing is left");
    }

    let whole = build(&out, "qcow2").output().expect("muster starts");
    assert!(
        whole.status.success(),
        "{}",
        String::from_utf8_lossy(&whole.stderr)
    );
    let image = out.join("starter/office.qcow2");
    assert!(image.is_file(), "{:?}", results(&out));
    let check = Command::new("qemu-img").arg("check").arg(&image).output();
    let check = check.expect("qemu-img starts");
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && text.contains("No errors"),
        "{text}"
    );
    let compared = Command::new("qemu-img")
        .args(["compare", "-f", "qcow2", "-F", "raw"])
        .arg(&image)
        .arg(images().join("out/starter/office.raw"))
        .output()
        .expect("qemu-img starts");
    let text = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{text}");
    println!("[interrupted] the qcow2 of the next build holds the same disk as the raw image");
    let left: Vec<_> = std::fs::read_dir(out.join("starter"))
        .expect("readable")
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "working folders");
}
