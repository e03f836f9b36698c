//! Folders of packages without `dists`, as some vendors publish them (sources.list(5)).

use crate::apt::Apt;
use crate::archive::{Miniature, Suite, mirrors, stack};
use crate::key::Key;
use indicatif::ProgressBar;
use muster::image::apt::files;
use muster::packages::fetch::fetch;
use muster::profile::{Archive, Base};

const OWN: &str = "Package: lib\nVersion: 1\n";
const VENDOR: &str = "Package: agent\nVersion: 2\nDepends: lib\n\nPackage: lib\nVersion: 0.5\n";

/// A base with a folder beside its own archive.
fn base(mini: &Miniature, folder: &str) -> Base {
    let mut base = mini.base(&["noble"], &["main"]);
    base.archives.push(Archive {
        name: "vendor".into(),
        suites: vec![folder.into()],
        components: vec![],
        ..base.archives[0].clone()
    });
    base
}

#[test]
fn packages_of_a_folder_are_locked_and_fetched_and_apt_chooses_alike() {
    for folder in ["deb/stable/", "./", "/"] {
        let mini = Miniature::new(Key::new());
        mini.write(&Suite::new("noble", OWN));
        mini.write_folder(folder.trim_matches('/'), VENDOR, 10, "");
        let request = stack(base(&mini, folder), &["agent"]);
        let lock = mini.lock(&request, 11, None, false).unwrap().lock;
        let found: Vec<String> = lock
            .packages
            .iter()
            .map(|package| format!("{} {} {}", package.name, package.version, package.archive))
            .collect();
        assert_eq!(found, ["agent 2 vendor", "lib 1 mini"], "{folder}");
        let from = mirrors(&request);
        fetch(&lock, &mini.cache(), Some(&from), &ProgressBar::hidden()).unwrap();
        mini.is_unharmed();
        if Apt::is_missing() {
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        let base = &request.bases["mini-1"];
        let apt = Apt::new(root.path(), base, &mirrors(&request));
        let theirs = apt.candidates(&["agent", "lib"]);
        assert_eq!(theirs["agent"].as_deref(), Some("2"), "{folder}");
        assert_eq!(theirs["lib"].as_deref(), Some("1"), "{folder}");
    }
}

#[test]
fn the_host_looks_into_the_folder_too() {
    let mini = Miniature::new(Key::new());
    let base = base(&mini, "deb/stable/");
    let request = stack(base.clone(), &[]);
    let sources = &files(&base, &request.roles[0])["/etc/apt/sources.list.d/vendor.sources"];
    assert!(sources.contains("\nSuites: deb/stable/\n"), "{sources}");
    assert!(!sources.contains("Components"), "{sources}");
}

#[test]
fn a_folder_is_held_to_its_signature_its_date_and_its_list() {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", OWN));
    mini.write_folder("deb", VENDOR, 10, "");
    let request = stack(base(&mini, "deb/"), &["agent"]);
    let locked = mini.lock(&request, 11, None, false).unwrap().lock;
    let told = |day| {
        let error = mini.lock(&request, day, Some(&locked), true).unwrap_err();
        error.to_string()
    };
    mini.write_folder("deb", VENDOR, 9, "");
    let words = told(11);
    assert!(words.contains("is refused: it is of "), "{words}");
    mini.write_folder(
        "deb",
        VENDOR,
        10,
        "Valid-Until: Thu, 01 Jan 1970 00:00:00 UTC\n",
    );
    let words = told(11);
    assert!(
        words.contains("is refused: it was valid until 1970-01-01"),
        "{words}"
    );
    mini.write_folder("deb", &VENDOR.replace("2", "3"), 12, "");
    std::fs::write(mini.mirror().join("deb/Packages.gz"), "something else").unwrap();
    let words = told(12);
    assert!(
        words.starts_with("an index of deb/ (archive vendor of mini-1)"),
        "{words}"
    );
    let file = mini.mirror().join("deb/InRelease");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("Origin: Mini", "Origin: Many")).unwrap();
    let words = told(12);
    assert!(
        words.contains("of deb/ (archive vendor of mini-1) is refused"),
        "{words}"
    );
    mini.is_unharmed();
}
