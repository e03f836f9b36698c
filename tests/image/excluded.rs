//! Files of packages that stay out of images, beside what dpkg itself leaves out.

use crate::package::{Bench, Member, data, directory, file, link, package_with, symlink};
use muster::image::apt::exclusions;
use muster::image::unpack::Unpacked;
use muster::profile::Exclude;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use tar::EntryType;

fn exclude(paths: &[&str], keep: &[&str]) -> Exclude {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Exclude {
        paths: texts(paths),
        keep: texts(keep),
    }
}

/// A package with a little of everything.
fn members() -> Vec<Member> {
    let pipe = Member {
        kind: EntryType::Fifo,
        ..directory("./usr/share/doc/tool/pipe")
    };
    vec![
        directory("./"),
        directory("./etc/"),
        file("./etc/tool.conf", "settings"),
        directory("./etc/tool.d/"),
        file("./etc/tool.d/more.conf", "more settings"),
        directory("./usr/"),
        directory("./usr/bin/"),
        file("./usr/bin/tool", "program"),
        directory("./usr/share/"),
        directory("./usr/share/doc/"),
        directory("./usr/share/doc/tool/"),
        file("./usr/share/doc/tool/changelog", "news"),
        file("./usr/share/doc/tool/copyright", "terms"),
        link(
            "./usr/share/doc/tool/hard",
            "./usr/share/doc/tool/changelog",
        ),
        directory("./usr/share/doc/tool/html/"),
        file("./usr/share/doc/tool/html/index", "manual"),
        pipe,
        symlink("./usr/share/doc/tool/symbolic", "changelog"),
        symlink("./usr/share/doc/tools", "tool"),
        directory("./usr/share/locale/"),
        directory("./usr/share/locale/de/"),
        file("./usr/share/locale/de/tool.mo", "Wörter"),
        directory("./usr/share/man/"),
        directory("./usr/share/man/de/"),
        file("./usr/share/man/de/tool.1", "Seite"),
        directory("./usr/share/man/man1/"),
        file("./usr/share/man/man1/tool.1", "page"),
        link(
            "./usr/share/man/man1/tools.1",
            "./usr/share/man/man1/tool.1",
        ),
    ]
}

fn control(name: &str, more: &str) -> String {
    format!("Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n{more}")
}

fn whole() -> Vec<u8> {
    let conffiles = "/etc/tool.conf\n/etc/tool.d/more.conf\n";
    let control = control("tool", "");
    let control = [("control", control.as_str()), ("conffiles", conffiles)];
    package_with(&control, "data.tar", &data(&members()))
}

/// What stands below a root, dpkg's own files left out.
fn tree(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        if path.starts_with("var") {
            continue;
        }
        let kind = match entry.file_type() {
            kind if kind.is_dir() => "folder".to_owned(),
            kind if kind.is_symlink() => {
                format!(
                    "link to {}",
                    std::fs::read_link(entry.path()).unwrap().display()
                )
            }
            kind if kind.is_fifo() => "pipe".to_owned(),
            _ => std::fs::read_to_string(entry.path()).unwrap(),
        };
        found.insert(format!("{}: {kind}", path.display()));
    }
    found
}

/// A root in which dpkg installs packages, with what an image has in dpkg.cfg.d.
struct Dpkg(tempfile::TempDir);

impl Dpkg {
    fn new() -> Dpkg {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join("var/lib/dpkg");
        for folder in ["info", "updates", "triggers"] {
            std::fs::create_dir_all(database.join(folder)).unwrap();
        }
        std::fs::write(database.join("status"), "").unwrap();
        Dpkg(root)
    }

    /// Installs; its last complaint when it cannot.
    fn install(&self, exclude: &Exclude, name: &str, content: &[u8]) -> Result<(), String> {
        let folder = self.0.path().join("var/tmp");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.deb"));
        std::fs::write(&file, content).unwrap();
        let options = exclusions(exclude);
        let output = Command::new("dpkg")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .arg(format!("--root={}", self.0.path().display()))
            .arg(format!("--log={}", folder.join("log").display()))
            .args(["--force-not-root", "--force-unsafe-io"])
            .args(options.lines().map(|line| format!("--{line}")))
            .arg("--install")
            .arg(&file)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join("var/lib/dpkg").join(name)).unwrap()
    }

    /// The paths that dpkg lists for a package.
    fn list(&self, name: &str) -> BTreeSet<String> {
        let text = self.read(&format!("info/{name}.list"));
        text.lines().map(str::to_owned).collect()
    }

    /// Configuration files with their digests.
    fn conffiles(&self) -> BTreeSet<(String, String)> {
        let status = self.read("status");
        let lines = status.lines().filter_map(|line| line.strip_prefix(" /"));
        let pairs = lines.map(|line| line.split_once(' ').unwrap());
        pairs
            .map(|(path, digest)| (format!("/{path}"), digest.to_owned()))
            .collect()
    }
}

fn unpacked(exclude: &Exclude, all: &[(&str, &[u8])]) -> (Bench, Result<Vec<Unpacked>, String>) {
    let mut bench = Bench::new();
    bench.exclude = exclude.clone();
    for (name, content) in all {
        bench.add(name, content);
    }
    let result = bench.unpack().map_err(|error| error.to_string());
    (bench, result)
}

/// What muster and dpkg make of the package is the same, refusals included.
fn agree(exclude: &Exclude, name: &str, content: &[u8]) -> Result<(), String> {
    let (bench, ours) = unpacked(exclude, &[(name, content)]);
    let dpkg = Dpkg::new();
    let theirs = dpkg.install(exclude, name, content);
    let ours = match (ours, theirs) {
        (Ok(mut ours), Ok(())) => ours.remove(0),
        (Err(ours), Err(theirs)) => {
            assert!(ours.contains("which `[exclude]` leaves out"), "{ours}");
            assert!(theirs.contains("No such file or directory"), "{theirs}");
            return Err(ours);
        }
        (ours, theirs) => panic!("{exclude:?}: {ours:?} and {theirs:?}"),
    };
    assert_eq!(tree(&bench.root()), tree(dpkg.0.path()), "{exclude:?}");
    let list: BTreeSet<String> = ours.list.into_iter().collect();
    assert_eq!(list, dpkg.list(name), "{exclude:?}");
    let conffiles: BTreeSet<_> = ours.conffiles.into_iter().collect();
    assert_eq!(conffiles, dpkg.conffiles(), "{exclude:?}");
    Ok(())
}

#[test]
fn what_stays_out_is_what_dpkg_leaves_out() {
    let content = whole();
    let usual = exclude(
        &[
            "/usr/share/doc/*",
            "/usr/share/man/*",
            "/usr/share/locale/*",
        ],
        &["/usr/share/doc/*/copyright"],
    );
    agree(&usual, "tool", &content).unwrap();
    let (bench, _) = unpacked(&usual, &[("tool", &content)]);
    let found: Vec<String> = tree(&bench.root()).into_iter().collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    etc/tool.conf: settings
    etc/tool.d/more.conf: more settings
    etc/tool.d: folder
    etc: folder
    usr/bin/tool: program
    usr/bin: folder
    usr/share/doc/tool/copyright: terms
    usr/share/doc/tool/html: folder
    usr/share/doc/tool/symbolic: link to changelog
    usr/share/doc/tool: folder
    usr/share/doc/tools: link to tool
    usr/share/doc: folder
    usr/share/locale: folder
    usr/share/man: folder
    usr/share: folder
    usr: folder
    ");
    for (paths, keep) in [
        (vec![], vec![]),
        (vec!["/etc/tool.d/*"], vec![]),
        (vec!["/etc/*"], vec!["/etc/tool.conf"]),
        (vec!["/usr/share/doc/*"], vec!["/usr/share/doc/tool/html/*"]),
        (vec!["/usr/*"], vec!["/usr/bin/*"]),
        (vec!["/*"], vec!["/usr/share/man/man1/*", "/usr*"]),
        (vec!["/usr/share/man/??/*", "/usr/share/man/??"], vec![]),
    ] {
        let _ = agree(&exclude(&paths, &keep), "tool", &content);
    }
}

#[test]
fn what_stays_out_of_random_patterns_is_what_dpkg_leaves_out() {
    let number = |variable: &str| std::env::var(variable).ok()?.parse::<u64>().ok();
    let rounds = number("MUSTER_SOAK").unwrap_or(40);
    let seed = number("MUSTER_SEED").unwrap_or(1);
    println!("{rounds} rounds, MUSTER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let content = whole();
    let paths: Vec<String> = members()
        .iter()
        .map(|member| {
            member
                .path
                .trim_start_matches('.')
                .trim_end_matches('/')
                .to_owned()
        })
        .filter(|path| !path.is_empty())
        .collect();
    let (mut same, mut refused) = (0, 0);
    for _ in 0..rounds {
        let mut patterns = |most: usize| -> Vec<String> {
            let count = random.gen_range(0..=most);
            let mut one = || {
                let path = paths.choose(&mut random).unwrap();
                let parts: Vec<&str> = path.split('/').collect();
                let at = random.gen_range(1..parts.len());
                let star = [parts[..at].join("/"), parts[at + 1..].join("/")].join("/*/");
                match random.gen_range(0..6) {
                    0 => path.clone(),
                    1 => format!("{path}/*"),
                    2 => star.trim_end_matches('/').to_owned(),
                    3 => format!("{}*", &path[..random.gen_range(1..path.len())]),
                    4 => format!("/*{}", &path[random.gen_range(1..path.len())..]),
                    _ => path.replace('o', "?"),
                }
            };
            (0..count).map(|_| one()).collect()
        };
        let exclude = Exclude {
            paths: patterns(3),
            keep: patterns(2),
        };
        match agree(&exclude, "tool", &content) {
            Ok(()) => same += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{same} the same, {refused} refused by both");
    assert!(same > 0);
}

/// Patterns of what stays out and of what does not, a package, and what is wrong with it.
type Row = (
    &'static [&'static str],
    &'static [&'static str],
    Vec<Member>,
    &'static str,
);

#[test]
fn what_stays_out_and_is_needed_is_refused_with_the_way_on() {
    let table: [Row; 3] = [
        (
            &["/usr/share/doc/*"],
            &[],
            vec![
                file("./usr/share/doc/a", "words"),
                link("./usr/share/a", "./usr/share/doc/a"),
            ],
            "/usr/share/a of broken is a hard link to /usr/share/doc/a, which `[exclude]` leaves \
             out",
        ),
        (
            &["/usr/*"],
            &["/usr/share/doc/a/copyright"],
            vec![
                directory("./usr/"),
                directory("./usr/share/"),
                directory("./usr/share/doc/"),
                directory("./usr/share/doc/a/"),
                file("./usr/share/doc/a/copyright", "terms"),
            ],
            "/usr/share/doc/a/copyright of broken lies in /usr/share/doc/a, which `[exclude]` \
             leaves out",
        ),
        (
            &["/opt/a"],
            &[],
            vec![
                directory("./opt/"),
                directory("./opt/a/"),
                directory("./opt/a/b/"),
            ],
            "/opt/a/b of broken lies in /opt/a, which `[exclude]` leaves out",
        ),
    ];
    for (paths, keep, members, words) in table {
        let content = package_with(
            &[("control", &control("broken", ""))],
            "data.tar",
            &data(&members),
        );
        let exclude = exclude(paths, keep);
        assert_eq!(agree(&exclude, "broken", &content).unwrap_err(), words);
        let mut bench = Bench::new();
        bench.exclude = exclude;
        bench.add("broken", &content);
        let error = bench.unpack().unwrap_err();
        assert_eq!(
            error.hint(),
            "dpkg on the host could not unpack it: exclude both in the base, or keep both"
        );
        assert_eq!(bench.words(error), words);
    }
}

#[test]
fn packages_that_both_ship_what_stays_out_are_what_they_are_to_dpkg() {
    let exclude = exclude(&["/usr/share/doc/*"], &[]);
    let ship = |name: &str, more: &str| {
        let members = [
            directory("./usr/"),
            directory("./usr/share/"),
            directory("./usr/share/doc/"),
            file("./usr/share/doc/same", name),
        ];
        package_with(
            &[("control", &control(name, more))],
            "data.tar",
            &data(&members),
        )
    };
    let one = ship("one", "");
    // Neither replaces the other.
    let two = ship("two", "");
    let (_, ours) = unpacked(&exclude, &[("one", &one), ("two", &two)]);
    assert_eq!(
        ours.unwrap_err(),
        "one and two both ship /usr/share/doc/same, and neither replaces the other"
    );
    let dpkg = Dpkg::new();
    dpkg.install(&exclude, "one", &one).unwrap();
    let theirs = dpkg.install(&exclude, "two", &two).unwrap_err();
    assert!(
        theirs.contains("trying to overwrite '/usr/share/doc/same'"),
        "{theirs}"
    );
    // One does: nobody loses what nobody has.
    let two = ship("two", "Replaces: one\n");
    let (bench, ours) = unpacked(&exclude, &[("one", &one), ("two", &two)]);
    let dpkg = Dpkg::new();
    dpkg.install(&exclude, "one", &one).unwrap();
    dpkg.install(&exclude, "two", &two).unwrap();
    assert_eq!(tree(&bench.root()), tree(dpkg.0.path()));
    for (name, ours) in ["one", "two"].into_iter().zip(ours.unwrap()) {
        let mut list: BTreeSet<String> = ours.list.into_iter().collect();
        list.insert("/.".into());
        let mut theirs = dpkg.list(name);
        theirs.insert("/.".into());
        assert_eq!(list, theirs);
        assert!(theirs.contains("/usr/share/doc/same"));
    }
}
