//! The disk that was built, read back by other people's tools: the partition table, the
//! filesystems, and the whole tree beside the one that mmdebstrap, apt and dpkg make of the
//! same packages.

use crate::site::images;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SECTOR: u64 = 512;

/// Differences between the two trees, each with its reason.
const EXPLAINED: &str = include_str!("explained");

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?} ended with {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn image() -> String {
    let image = images().join("out/office/office.raw");
    image.to_str().expect("UTF-8").to_owned()
}

/// First sector and number of sectors of each partition, by its name, as sgdisk reads them.
fn partitions() -> BTreeMap<String, (u64, u64)> {
    let mut found = BTreeMap::new();
    for line in output("sgdisk", &["-p", &image()]).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [number, first, last, _, _, _, name] = words[..]
            && number.parse::<u32>().is_ok()
        {
            let sector = |text: &str| text.parse::<u64>().expect("a sector");
            found.insert(
                name.to_owned(),
                (sector(first), sector(last) + 1 - sector(first)),
            );
        }
    }
    found
}

#[test]
fn sgdisk_e2fsck_and_fsck_find_nothing_wrong_with_the_disk() {
    let verdict = output("sgdisk", &["-v", &image()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let partitions = partitions();
    assert_eq!(
        partitions.keys().map(String::as_str).collect::<Vec<_>>(),
        ["bios", "data", "esp", "root-a", "root-b"]
    );
    for name in ["root-a", "data"] {
        let place = format!("{}?offset={}", image(), partitions[name].0 * SECTOR);
        let said = output("e2fsck", &["-fn", &place]);
        println!("[disk] {name}: {}", said.lines().last().unwrap_or_default());
    }
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    for name in ["esp", "root-b"] {
        let copy = folder.path().join(name);
        let (first, count) = partitions[name];
        output(
            "dd",
            &[
                &format!("if={}", image()),
                &format!("of={}", copy.display()),
                "bs=512",
                &format!("skip={first}"),
                &format!("count={}", count.min(131_072)),
                "status=none",
            ],
        );
        let copy = copy.to_str().expect("UTF-8");
        if name == "esp" {
            output("fsck.fat", &["-n", copy]);
        } else {
            output("cmp", &["-n", "1048576", copy, "/dev/zero"]);
        }
    }
}

/// A partition of the image, mounted to be read.
struct Mounted(PathBuf);

impl Mounted {
    fn new(folder: &Path, name: &str) -> Mounted {
        let (first, count) = partitions()[name];
        let place = folder.join(name);
        std::fs::create_dir(&place).expect("a folder");
        let options = format!(
            "ro,loop,offset={},sizelimit={}",
            first * SECTOR,
            count * SECTOR
        );
        let to = place.to_str().expect("UTF-8");
        output("mount", &["-o", &options, &image(), to]);
        Mounted(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// What stands under a name.
#[derive(Debug, PartialEq)]
struct Node {
    kind: char,
    mode: u32,
    owner: String,
    group: String,
    /// Of a file, its size; of a symbolic link, its target.
    what: String,
    capabilities: Option<Vec<u8>>,
}

/// All of a tree, owners by their names in it.
fn tree(root: &Path) -> BTreeMap<String, Node> {
    let names = |file: &str| -> BTreeMap<u32, String> {
        let text = std::fs::read_to_string(root.join(file)).expect("readable");
        text.lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .map(|fields| (fields[2].parse().expect("an id"), fields[0].to_owned()))
            .collect()
    };
    let (users, groups) = (names("etc/passwd"), names("etc/group"));
    let name = |names: &BTreeMap<u32, String>, id: u32| {
        names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    };
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.expect("readable");
        let meta = entry.path().symlink_metadata().expect("readable");
        let (kind, what) = match meta.file_type() {
            kind if kind.is_symlink() => {
                let target = std::fs::read_link(entry.path()).expect("a link");
                ('l', target.to_string_lossy().into_owned())
            }
            kind if kind.is_dir() => ('d', String::new()),
            kind if kind.is_file() => ('f', meta.len().to_string()),
            _ => ('o', meta.rdev().to_string()),
        };
        let path = entry.path().strip_prefix(root).expect("below it");
        let path = format!("/{}", String::from_utf8_lossy(path.as_os_str().as_bytes()));
        found.insert(
            path,
            Node {
                kind,
                mode: match kind {
                    'l' => 0,
                    _ => meta.permissions().mode() & 0o7777,
                },
                owner: name(&users, meta.uid()),
                group: name(&groups, meta.gid()),
                what,
                capabilities: xattr::get(entry.path(), "security.capability").unwrap_or_default(),
            },
        );
    }
    found
}

/// Whether `text` is what `pattern` says, in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|at| tail.is_char_boundary(*at))
                .any(|at| fits(rest, &tail[at..]))
        }),
    }
}

#[test]
fn the_tree_is_the_one_that_apt_and_dpkg_make_of_the_same_packages() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer");
    let peer = peer.to_str().expect("UTF-8");
    image();
    let lock = images().join("office/muster.lock");
    output(
        peer,
        &["archive", lock.to_str().expect("UTF-8"), &at("pool")],
    );
    output(peer, &["root", &at("pool"), &at("theirs")]);
    let theirs = folder.path().join("theirs");
    let ours = Mounted::new(folder.path(), "root-a");

    let own = output("dpkg", &["--root", &at("root-a"), "--verify"]);
    assert_eq!(own, "", "dpkg --verify");
    assert_eq!(output("dpkg", &["--root", &at("root-a"), "--audit"]), "");

    let (left, right) = (tree(&ours.0), tree(&theirs));
    let mut differences: Vec<(char, &str)> = Vec::new();
    for (path, node) in &left {
        match right.get(path) {
            None => differences.push(('+', path)),
            Some(other) if node != other => differences.push(('~', path)),
            Some(_) if node.kind == 'f' => {
                let read = |root: &Path| std::fs::read(root.join(&path[1..])).expect("readable");
                if read(&ours.0) != read(&theirs) {
                    differences.push(('~', path));
                }
            }
            Some(_) => {}
        }
    }
    let missing = right.keys().filter(|path| !left.contains_key(*path));
    differences.extend(missing.map(|path| ('-', path.as_str())));

    let rules: Vec<(char, &str)> = EXPLAINED
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| (line.chars().next().expect("a sign"), line[1..].trim()))
        .collect();
    let mut used = BTreeSet::new();
    let mut open = Vec::new();
    for (sign, path) in &differences {
        let rule = rules
            .iter()
            .find(|(kind, pattern)| kind == sign && fits(pattern, path));
        match rule {
            Some(rule) => {
                used.insert(*rule);
            }
            None => open.push(format!(
                "{sign} {path}\n    ours   {:?}\n    theirs {:?}",
                left.get(*path),
                right.get(*path)
            )),
        }
    }
    println!(
        "[disk] {} paths, {} beside the peer's {}, all explained by {} rules",
        left.len(),
        differences.len(),
        right.len(),
        used.len()
    );
    assert!(open.is_empty(), "not explained:\n{}", open.join("\n"));
    let idle: Vec<_> = rules.iter().filter(|rule| !used.contains(*rule)).collect();
    assert!(idle.is_empty(), "explains nothing: {idle:?}");
}
