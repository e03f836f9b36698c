//! An image that is built on another workstation: an ordinary user's, of another distribution, with
//! another kernel and filesystem, another name, and in another year.

use crate::cache::Cache;
use crate::hosts::Hosts;
use crate::site::images;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The workstation. Its packages are what a workstation needs that builds without root.
const STACK: &str = r#"
[stack]
name = "workstation"
summary = "Somebody's workstation"
base = "debian-13"

[[role]]
name = "desk"
summary = "Builds images"
memory = 3072
disk = 16384
packages = ["uidmap"]
services = ["node-exporter"]

[[phase]]
name = "figures"
title = "The host knows its figures"
services = ["node-exporter"]

[demo.answers]
"organisation.name" = "Example Company"
"organisation.domain" = "example.org"
"network.mode" = "dhcp"
"time.zone" = "Pacific/Auckland"
"keyboard.layout" = "us"
"#;

const UP: [&str; 8] = [
    "up",
    "./workstation",
    "--no-input",
    "--direct-kernel",
    "--cpus",
    "2",
    "--clock",
    "2040-01-31T12:00:00",
];

/// Package files of the lock that the images here were built from.
fn locked() -> BTreeSet<PathBuf> {
    let lock = fs::read_to_string(images().join("office/muster.lock")).expect("a lock");
    let lock: toml::Table = lock.parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let digest = package["sha256"].as_str().expect("a digest");
            PathBuf::from("muster/sha256")
                .join(&digest[..2])
                .join(digest)
        })
        .collect()
}

/// Carries the lock and its packages to a folder of the host.
fn carry(site: &Hosts, to: &str) {
    let cache = Cache::of_everybody();
    let [(_, cache)] = cache.variable();
    let mut tar = Command::new("tar")
        .args(["--create", "--dereference"])
        .arg("--directory")
        .arg(images())
        .arg("office/muster.lock")
        .arg("--directory")
        .arg(cache)
        .arg("muster/release")
        .args(locked())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar starts");
    let unpack = [
        "ssh",
        "workstation",
        "desk",
        "--",
        "tar",
        "--extract",
        "--directory",
        to,
    ];
    let mut carried = site.command(&unpack);
    carried.stdin(tar.stdout.take().expect("piped"));
    assert!(carried.status().expect("muster starts").success());
    assert!(tar.wait().expect("it ends").success());
}

pub fn an_image_of_another_workstation_is_the_same() {
    let site = Hosts::of("workstation", STACK);
    site.must(&[&UP[..], &["--wait"]].concat());
    let on = |script: &str| site.on("desk", script).expect(script);
    let is = on(". /etc/os-release; echo $ID $VERSION_ID, $(uname -r), $(date +%Y), $(id -un)");
    assert!(
        is.starts_with("debian 13, ") && is.contains(", 2040, "),
        "{is}"
    );
    site.saw(&format!("the workstation is up: {is}"));

    site.as_root(
        "desk",
        "for file in /etc/subuid /etc/subgid; do echo admin:700000:65536 >$file; done; \
         mkdir /data/work; chown admin: /data/work",
    );
    carry(&site, "/data/work");
    site.saw("it has the lock and its packages");
    let built = site.run(
        "desk",
        "cd /data/work; mkdir cache; mv muster cache; umask 027; \
         LC_ALL=C XDG_CACHE_HOME=/data/work/cache \
         muster build office --locked --offline --out out",
    );
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    site.saw("it has built the image");
    let sum = "cd /data/work/out/office; sha256sum <office.raw";
    let here = Command::new("sha256sum")
        .stdin(File::open(images().join("out/office/office.raw")).expect("an image"))
        .output();
    let here = String::from_utf8(here.expect("sha256sum starts").stdout).expect("UTF-8");
    assert_eq!(on(sum), here.trim());
    site.saw("it is the same, bit by bit");
}
