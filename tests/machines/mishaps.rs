//! What befalls builds: they are killed at moments nobody chose, and the disk is full. Neither
//! leaves half an image, nor a cache that is not right, and the next build makes what it should.

use crate::cache::Cache;
use crate::interrupted::nothing_is_left;
use crate::layers::changed;
use crate::site::{MUSTER, images};
use muster::image::identity::digest_parts;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is common to all builds here.
const BUILD: [&str; 5] = ["build", "office", "--locked", "--offline", "--out"];
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;
/// In a filesystem of `$1` bytes at `$2`, with the cache of everybody's packages `$3`: builds,
/// says how that ended, looks at what is left, gets more room and builds again.
const FULL: &str = "\
    size=$1 place=$2 packages=$3 muster=$4\n\
    mount -t tmpfs -o size=$size none $place\n\
    mkdir -p $place/cache/muster $place/office\n\
    ln -s $packages/sha256 $packages/release $place/cache/muster/\n\
    cp office/muster.lock $place/office/\n\
    cd $place\n\
    export XDG_CACHE_HOME=$place/cache\n\
    build=\"$muster build office --locked --offline --out out\"\n\
    if $build 2>said; then echo built; else echo \"refused: $?\"; cat said; fi\n\
    $muster cache verify 2>&1\n\
    echo left: $(find out -mindepth 1 ! -name '*.log' ! -path out/office)\n\
    mount -o remount,size=8g $place\n\
    $build 2>said || cat said\n\
    echo digest: $(sed -n 's/.*\"digest\": \"\\(sha256-4MiB:[0-9a-f]*\\)\".*/\\1/p' out/office/office.manifest.json)\n";

/// The digest of the image in a folder.
fn digest(out: &Path) -> String {
    let path = out.join("office/office.manifest.json");
    let text = fs::read_to_string(path).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let digest = manifest["outputs"]["image"]["digest"].as_str();
    digest.expect("a digest").to_owned()
}

/// Builds again and again in one cache, and kills each at a random moment.
pub fn killed_at_any_moment(times: u32) {
    let right = digest(&images().join("out"));
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let out = folder.path().join("out");
    let cache = Cache::below(folder.path());
    let layers = folder.path().join("cache/muster/layers");
    let build = || {
        let mut build = cache.command(&BUILD);
        build.arg(&out).stderr(Stdio::null());
        build.spawn().expect("muster starts")
    };
    let begun = Instant::now();
    assert!(build().wait().expect("it ends").success());
    let whole = begun.elapsed();
    assert_eq!(digest(&out), right);
    let mut finished = 0;
    for time in 1..=times {
        fs::remove_dir_all(&out).expect("removed");
        if rand::Rng::gen_range(&mut rand::thread_rng(), 0..4) == 0 {
            fs::remove_dir_all(&layers).expect("removed");
        }
        let moment = rand::Rng::gen_range(&mut rand::thread_rng(), 0.0..whole.as_secs_f64());
        let end = Instant::now() + Duration::from_secs_f64(moment);
        let mut child = build();
        let status = loop {
            if let Some(status) = child.try_wait().expect("asked") {
                break Some(status);
            }
            if Instant::now() >= end {
                child.kill().expect("killed");
                child.wait().expect("it ends");
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        match status {
            Some(status) => {
                assert!(status.success(), "kill {time}: {status}");
                assert_eq!(digest(&out), right);
                finished += 1;
            }
            // Its last words are spoken when the image stands already.
            None if out.join("office/office.manifest.json").exists() => {
                assert_eq!(digest(&out), right);
                let image = out.join("office/office.raw");
                cache.says(&[
                    "verify-image",
                    &image.to_string_lossy(),
                    "--lock",
                    "office/muster.lock",
                ]);
                finished += 1;
            }
            None => nothing_is_left(folder.path(), &format!("KILL {time} after {moment:.1} s")),
        }
        cache.says(&["cache", "verify"]);
    }
    let _ = fs::remove_dir_all(&out);
    assert!(build().wait().expect("it ends").success());
    assert_eq!(digest(&out), right);
    println!("[mishaps] {times} moments, {finished} of them after the end; then the right image");
}

/// Makes one image out of another, back and forth, and kills each build at a random moment.
pub fn killed_over_a_disk(times: u32) {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let out = folder.path().join("out");
    let cache = Cache::below(folder.path());
    let profiles = changed(folder.path());
    let build = |other: bool| {
        let mut build = cache.command(&BUILD);
        build.arg(&out).stderr(Stdio::null());
        if other {
            build.arg("--profiles").arg(&profiles);
        }
        build
    };
    let made = |other: bool| {
        let begun = Instant::now();
        assert!(build(other).status().expect("muster starts").success());
        (digest(&out), begun.elapsed())
    };
    let right = digest(&images().join("out"));
    assert_eq!(made(false).0, right);
    let (different, _) = made(true);
    assert_ne!(different, right);
    let (again, whole) = made(false);
    assert_eq!(again, right, "one made out of another");
    let (mut stood, mut gone, mut ended) = (0, 0, 0);
    for time in 1..=times {
        let other = time % 2 == 1;
        let moment = rand::Rng::gen_range(&mut rand::thread_rng(), 0.0..whole.as_secs_f64());
        let mut child = build(other).spawn().expect("muster starts");
        std::thread::sleep(Duration::from_secs_f64(moment));
        let over = child.try_wait().expect("asked").is_some();
        let _ = child.kill();
        child.wait().expect("it ends");
        match File::open(out.join("office/office.raw")) {
            Err(_) => gone += 1,
            Ok(image) => {
                let found = digest_parts(&image).expect("readable");
                let known = [&right, &different];
                assert!(
                    known.contains(&&found),
                    "kill {time} after {moment:.1} s: half an image"
                );
                match over {
                    true => ended += 1,
                    false => stood += 1,
                }
            }
        }
        let wanted = if other { &different } else { &right };
        assert_eq!(made(other).0, *wanted, "the build after kill {time}");
        let image = File::open(out.join("office/office.raw")).expect("it stands");
        assert_eq!(digest_parts(&image).expect("readable"), *wanted);
    }
    println!(
        "[mishaps] {times} moments: {stood} times a whole image stood, {gone} times none, {ended} \
         times the build had ended; each time the next build made the right one"
    );
}

/// Builds where there is too little room, more of it each time.
pub fn disk_full(times: u64) {
    let right = digest(&images().join("out"));
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let home = || std::path::PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let common = std::env::var_os("XDG_CACHE_HOME");
    let common = common.map_or_else(|| home().join(".cache"), Into::into);
    let mut refused = 0;
    for time in 1..=times {
        let size = time * 2000 / times * MIB;
        let said = Command::new("unshare")
            .args(["--mount", "sh", "-euc", FULL, "sh", &size.to_string()])
            .args([folder.path(), &common.join("muster"), Path::new(MUSTER)])
            .current_dir(images())
            .output()
            .expect("unshare starts");
        let text = String::from_utf8_lossy(&said.stdout);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{size} bytes: {text}{errors}");
        if text.starts_with("refused") {
            refused += 1;
            assert!(text.contains("No space left on device"), "{text}");
            assert!(text.contains("\nleft:\n"), "{text}");
        }
        assert!(text.contains(&format!("digest: {right}\n")), "{text}");
        let how = text.lines().next().unwrap_or_default();
        println!("[mishaps] {} MiB: {how}, then the right image", size / MIB);
    }
    assert!(
        refused > times / 2,
        "only {refused} builds had too little room"
    );
}
