//! Files that people write, or should not have written in.

use super::Walk;
use crate::desk::{Desk, PROFILES};
use muster::packages::lock::{Artifact, Lock};
use muster::profile::{Source, Stack};
use sha2::{Digest, Sha256};

const HASH: &str = "$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn answers_are_refused_by_file_and_line() {
    let desk = Desk::new();
    desk.file("typo.toml", "[organisation]\nnmae = \"X\"\n");
    desk.file("latin1.toml", b"[organisation]\nname = \"B\xfcro\"\n");
    desk.file("utf16.toml", b"\xff\xfe[\0o\0]\0");
    desk.file("empty.toml", "");
    desk.file("yaml.toml", "organisation:\n  name: X\n");
    desk.file(
        "windows.toml",
        "\u{feff}[organisation]\r\nname = \"X\"\r\ndomain = \"x.local\"\r\n",
    );
    desk.file("short.toml", "[admin]\npassword = \"short\"\n");
    desk.file("other.toml", "[services]\nwiki = true\n");
    std::fs::create_dir(desk.path().join("folder.toml")).unwrap();
    let mut walk = Walk::default();
    for (why, words) in [
        (
            "a question misspelt",
            &["answers", "check", "typo.toml"][..],
        ),
        ("not there", &["answers", "check", "none.toml"]),
        ("not there", &["up", "starter", "--answers", "none.toml"]),
        ("a directory", &["answers", "check", "folder.toml"]),
        ("Latin-1", &["answers", "check", "latin1.toml"]),
        ("Latin-1", &["up", "starter", "--answers", "latin1.toml"]),
        ("UTF-16", &["answers", "check", "utf16.toml"]),
        ("empty", &["answers", "check", "empty.toml"]),
        ("YAML", &["answers", "check", "yaml.toml"]),
        (
            "byte order mark and CRLF, and a domain that cannot be",
            &["answers", "check", "windows.toml"],
        ),
        ("a password in clear", &["answers", "check", "short.toml"]),
        (
            "of another stack",
            &["answers", "check", "other.toml", "--stack", "starter"],
        ),
        (
            "a role misspelt",
            &[
                "answers",
                "check",
                "other.toml",
                "--stack",
                "starter",
                "--role",
                "ofice",
            ],
        ),
        (
            "there already",
            &["--no-input", "answers", "init", "typo.toml"],
        ),
        (
            "in a folder that there is not",
            &["--no-input", "answers", "init", "no/such.toml"],
        ),
    ] {
        walk.takes(&desk, why, words);
    }
    insta::assert_snapshot!(walk.0);
    assert_eq!(
        std::fs::read_to_string(desk.path().join("typo.toml")).unwrap(),
        "[organisation]\nnmae = \"X\"\n"
    );
}

#[test]
fn answers_from_windows_are_good_answers() {
    let desk = Desk::new();
    let text = format!(
        "\u{feff}[organisation]\r\nname = \"X\"\r\ndomain = \"example.org\"\r\n\r\n[admin]\r\npassword-hash = \"{HASH}\"\r\n"
    );
    desk.file("windows.toml", text);
    desk.muster(&["answers", "check", "windows.toml"])
        .assert()
        .code(0)
        .stdout("windows.toml: every answer is good\n");
}

#[test]
fn locks_are_refused_with_the_way_to_a_good_one() {
    let desk = Desk::new();
    let mut walk = Walk::default();
    let head = "version = 1\nstack = \"one\"\nrequest = \"00\"\n";
    for (why, text) in [
        ("of another version", "version = 2\n".to_owned()),
        ("a key misspelt", "versoin = 1\n".to_owned()),
        (
            "with a conflict of the version control in it",
            format!("{head}<<<<<<< HEAD\n"),
        ),
        (
            "a package taken out by hand",
            format!(
                "{head}[roles.all]\nbase = \"small-1\"\nessential = [\"a:all=1\"]\npackages = []\nmanual = []\n"
            ),
        ),
        ("stale", format!("{head}[roles]\n")),
    ] {
        desk.file("one/muster.lock", text);
        walk.takes(&desk, why, &["--profiles", PROFILES, "fetch", "one"]);
    }
    walk.takes(
        &desk,
        "stale, and demanded",
        &["--profiles", PROFILES, "build", "one", "--locked"],
    );
    walk.takes(
        &desk,
        "stale, and no network",
        &["--profiles", PROFILES, "build", "one", "--offline"],
    );
    desk.file("one/muster.lock", b"\xff");
    walk.takes(&desk, "bytes", &["--profiles", PROFILES, "lock", "one"]);
    std::fs::remove_file(desk.path().join("one/muster.lock")).unwrap();
    std::fs::create_dir(desk.path().join("one/muster.lock")).unwrap();
    walk.takes(
        &desk,
        "a directory",
        &["--profiles", PROFILES, "lock", "one"],
    );
    insta::assert_snapshot!(walk.0.replace(PROFILES, "[profiles]"));
}

#[test]
fn files_that_people_supply_are_asked_for_by_name() {
    let desk = Desk::new();
    let mut walk = Walk::default();
    let role = "[[role]]\nname = \"box\"\nsummary = \"B\"\nservices = [\"shop\"]\n";
    let phase = "[[phase]]\nname = \"all\"\ntitle = \"All\"\nservices = [\"shop\"]\n";
    let stack = "[stack]\nname = \"s\"\nsummary = \"S\"\nbase = \"debian-12\"\n";
    desk.file("s/stack.toml", format!("{stack}\n{role}\n{phase}"));
    desk.file(
        "s/services/shop.toml",
        "[service]\nname = \"shop\"\nsummary = \"A shop\"\n\n\
         [[artifact]]\nname = \"shop\"\nsupplied = \"shop-8.zip\"\nsize = 7\nto = \"/opt/shop\"\n",
    );
    walk.takes(&desk, "not supplied yet", &["lock", "./s"]);
    desk.file("elsewhere/shop-8.zip", "longer than that");
    walk.takes(
        &desk,
        "another file, in another folder",
        &["lock", "./s", "--artifacts", "elsewhere"],
    );
    let source = Source::new(None);
    let folder = desk.path().join("s");
    let loaded = Stack::load(&source, folder.to_str().unwrap(), None).unwrap();
    let lock = Lock {
        version: 1,
        stack: "s".into(),
        request: Lock::request_digest(&loaded),
        releases: vec![],
        roles: Default::default(),
        packages: vec![],
        artifacts: vec![Artifact {
            service: "shop".into(),
            name: "shop".into(),
            version: None,
            url: None,
            file: Some("shop-8.zip".into()),
            size: 7,
            sha256: hex::encode(Sha256::digest("content")),
            checksums: None,
            signed_by: None,
        }],
        images: vec![],
        accounts: vec![],
    };
    lock.write(&folder.join("muster.lock")).unwrap();
    walk.takes(&desk, "locked elsewhere", &["fetch", "./s", "--offline"]);
    desk.file("s/artifacts/shop-8.zip", "another");
    walk.takes(&desk, "another version", &["fetch", "./s", "--offline"]);
    desk.file("s/artifacts/shop-8.zip", "content");
    walk.takes(&desk, "no mistake", &["fetch", "./s", "--offline"]);
    std::fs::remove_dir_all(desk.path().join("s/artifacts")).unwrap();
    walk.takes(&desk, "taken already", &["fetch", "./s", "--offline"]);
    insta::assert_snapshot!(walk.0);
}

#[test]
fn profiles_are_refused_by_file_and_line() {
    let desk = Desk::new();
    let mut walk = Walk::default();
    for (why, text) in [
        ("empty", &b""[..]),
        ("a key twice", b"[stack]\nname = \"s\"\nname = \"t\"\n"),
        ("YAML", b"[stack]\nname: s\n"),
        (
            "tabs, and a number for text",
            b"[stack]\n\tname = \"s\"\n\tsummary = 5\n",
        ),
        (
            "byte order mark, CRLF and a key misspelt",
            b"\xef\xbb\xbf[stack]\r\nname = \"s\"\r\nsummary = \"S\"\r\nbsae = \"debian-12\"\r\n",
        ),
        ("Latin-1", b"[stack]\nname = \"B\xfcro\"\n"),
        (
            "several things at once",
            b"[stack]\nname = \"s\"\nsumary = \"S\"\nbsae = \"debian-12\"\n",
        ),
    ] {
        desk.file("s/stack.toml", text);
        walk.takes(&desk, why, &["check", "./s"]);
    }
    for (why, mirror) in [
        ("the user's own configuration", "5"),
        (
            "a mirror there that nobody can ask",
            "\"ftp://mirror.example/debian\"",
        ),
    ] {
        let text = format!("[mirrors]\ndebian = {mirror}\ndebian-security = {mirror}\n");
        desk.file("config/muster/config.toml", text);
        let output = desk
            .muster(&["lock", "starter"])
            .env("XDG_CONFIG_HOME", desk.path().join("config"))
            .output()
            .unwrap();
        walk.notes(&desk, why, "muster lock starter", &output);
    }
    insta::assert_snapshot!(walk.0);
}
