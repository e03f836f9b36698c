//! An image without docs, manual pages and locales, beside the tree that mmdebstrap, apt and dpkg
//! make of the same packages with the same options.

use crate::site::MUSTER;
use muster::image::disk::image;
use muster::image::filesystem::ext4::read::Reader;
use muster::image::inspect::{root, text};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const STACK: &str = r#"
[stack]
name = "slim"
summary = "Without docs"
base = "debian-12"

[[role]]
name = "host"
summary = "One host"
services = []
"#;

const EXCLUDE: &str = r#"
[exclude]
paths = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]
keep = ["/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias"]
"#;

fn run(folder: &Path, program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{complaints}");
    said
}

#[test]
fn an_image_without_docs_is_what_dpkg_makes_of_the_same_packages_without_them() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = folder.path();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(at.join("slim/bases/keys")).unwrap();
    fs::write(at.join("slim/stack.toml"), STACK).unwrap();
    let base = fs::read_to_string(project.join("profiles/bases/debian-12.toml")).unwrap();
    fs::write(at.join("slim/bases/debian-12.toml"), base + EXCLUDE).unwrap();
    let key = "bases/keys/debian-12.asc";
    fs::copy(
        project.join("profiles").join(key),
        at.join("slim").join(key),
    )
    .unwrap();
    run(at, Path::new(MUSTER), &["build", "./slim"]);
    let said = run(
        at,
        Path::new(MUSTER),
        &["verify-image", "out/slim/host.raw"],
    );
    println!("[excluded] {}", said.lines().last().unwrap_or_default());

    let source = image::open(&at.join("out/slim/host.raw")).unwrap();
    let part = root(&*source).unwrap();
    let reader = Reader::open(&part).unwrap();
    let nodes = reader.walk().unwrap();
    let read = |path: &str| text(&reader, &nodes, path).unwrap();

    let options = read("etc/dpkg/dpkg.cfg.d/muster");
    assert_eq!(options.lines().count(), 5);
    let peer = project.join("tests/peer");
    run(at, &peer, &["archive", "slim/muster.lock", "pool"]);
    let install = ["root", "pool", "theirs"].into_iter();
    run(
        at,
        &peer,
        &install.chain(options.lines()).collect::<Vec<_>>(),
    );

    let theirs = at.join("theirs");
    let mut right: BTreeSet<String> = BTreeSet::new();
    for entry in walkdir::WalkDir::new(theirs.join("usr/share")) {
        let path = entry.unwrap().into_path();
        let path = path.strip_prefix(&theirs).unwrap();
        right.insert(path.to_str().unwrap().to_owned());
    }
    let left: BTreeSet<String> = nodes
        .keys()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .filter(|path| path == "usr/share" || path.starts_with("usr/share/"))
        .filter(|path| !path.starts_with("usr/share/muster"))
        .collect();
    assert!(left.contains("usr/share/doc/apt/copyright"));
    assert!(!left.contains("usr/share/man/man1"));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(only(&left, &right), "", "only in the image");
    assert_eq!(only(&right, &left), "", "only in theirs");

    let mut lists = 0;
    for entry in fs::read_dir(theirs.join("var/lib/dpkg/info")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".list") {
            let sorted =
                |text: String| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
            let ours = sorted(read(&format!("var/lib/dpkg/info/{name}")));
            assert_eq!(ours, sorted(fs::read_to_string(&path).unwrap()), "{name}");
            lists += 1;
        }
    }
    assert!(lists > 100, "{lists} packages");
}
