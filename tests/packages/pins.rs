//! Archives of which only some packages are wanted, or not as much as those of others: a lock
//! chooses as apt does with the preferences that an image has.

use crate::apt::Apt;
use crate::archive::{Miniature, Suite, mirrors, stack};
use crate::key::Key;
use muster::packages::PackagesError;
use muster::packages::apt::pin::preferences;
use muster::packages::lock::Lock;
use muster::profile::{Archive, Base, Stack};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// An archive beside the base's own; its suite has its name.
struct Further {
    name: &'static str,
    /// name and version of each package.
    has: &'static str,
    /// Lines of its release file.
    lines: &'static str,
    packages: &'static [&'static str],
    never: &'static [&'static str],
    versions: &'static [(&'static str, &'static str)],
    priority: Option<i16>,
}

const PLAIN: Further = Further {
    name: "vendor",
    has: "",
    lines: "",
    packages: &[],
    never: &[],
    versions: &[],
    priority: None,
};

fn stanzas(short: &str) -> String {
    let pairs = short.split(", ").filter(|pair| !pair.is_empty());
    let stanzas = pairs.map(|pair| {
        let (name, version) = pair.split_once(' ').unwrap();
        format!("Package: {name}\nVersion: {version}\n\n")
    });
    stanzas.collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    let list = list.iter();
    list.map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
        .collect()
}

/// A base on the archive of `noble` and further ones, all of them published.
fn publish(mini: &Miniature, own: &str, further: &[Further]) -> Base {
    mini.write(&Suite::new("noble", &stanzas(own)));
    let mut base = mini.base(&["noble"], &["main"]);
    for one in further {
        mini.write(&Suite {
            origin: format!("The {}", one.name),
            lines: one.lines,
            ..Suite::new(one.name, &stanzas(one.has))
        });
        base.archives.push(Archive {
            name: one.name.into(),
            origin: format!("The {}", one.name),
            suites: vec![one.name.into()],
            packages: texts(one.packages),
            never: texts(one.never),
            versions: pairs(one.versions),
            priority: one.priority,
            ..base.archives[0].clone()
        });
    }
    base
}

/// The version that a lock takes of a package, or why it takes none.
fn chosen(mini: &Miniature, base: &Base, name: &str) -> Result<String, String> {
    let request = stack(base.clone(), &[name]);
    let locked = mini.lock(&request, 11, None, false);
    let lock = locked.map_err(|error| error.to_string())?.lock;
    let found = lock.packages.iter().find(|package| package.name == name);
    Ok(found.unwrap().version.clone())
}

const OWN: &str = "agent 3, common 1, tool 1, lib 1";

/// What is said of an archive, and the versions of packages taken then; `-` where none is.
fn table() -> Vec<(&'static str, Vec<Further>, &'static str)> {
    let vendor = Further {
        has: "agent 2, agent-plugin 2, common 2, tool 2, lib 2",
        ..PLAIN
    };
    vec![
        (
            "without pins the highest version wins",
            vec![Further { ..vendor }],
            "agent 3, agent-plugin 2, common 2, tool 2, lib 2",
        ),
        (
            "only what is named comes from it",
            vec![Further {
                packages: &["agent*"],
                ..vendor
            }],
            "agent 3, agent-plugin 2, common 1, tool 1, lib 1",
        ),
        (
            "a higher priority wins over a higher version",
            vec![Further {
                packages: &["agent*"],
                priority: Some(990),
                ..vendor
            }],
            "agent 2, agent-plugin 2, common 1, tool 1, lib 1",
        ),
        (
            "a lower priority only where there is nothing else",
            vec![Further {
                priority: Some(100),
                ..vendor
            }],
            "agent 3, agent-plugin 2, common 1, tool 1, lib 1",
        ),
        (
            "what never comes from it, and all else",
            vec![Further {
                never: &["lib", "agent-*"],
                ..vendor
            }],
            "agent 3, agent-plugin -, common 2, tool 2, lib 1",
        ),
        (
            "never counts before what is named",
            vec![Further {
                packages: &["agent*", "????"],
                never: &["*plug?n", "lib"],
                priority: Some(600),
                ..vendor
            }],
            "agent 2, agent-plugin -, common 1, tool 2, lib 1",
        ),
        (
            "only such versions of what is named",
            vec![Further {
                has: "agent 2, agent 3.1, agent 4, agent-plugin 2, tool 2",
                versions: &[("agent", "3.*"), ("agent-*", "1*")],
                ..vendor
            }],
            "agent 3.1, agent-plugin -, common 1, tool 2, lib 1",
        ),
        (
            "a version is wanted wherever it is",
            vec![Further {
                has: "agent 5, tool 1, tool 2, lib 2",
                versions: &[("agent", "3*"), ("tool", "1")],
                never: &["tool"],
                priority: Some(990),
                ..vendor
            }],
            "agent 3, agent-plugin -, common 1, tool -, lib 2",
        ),
        (
            "of two patterns of one archive the first in the order of the alphabet",
            vec![Further {
                has: "agent 5, agent 6, agent-plugin 6",
                versions: &[("agent", "6"), ("agent*", "5")],
                priority: Some(700),
                ..vendor
            }],
            "agent 6, agent-plugin -, common 1, tool 1, lib 1",
        ),
        (
            "an archive that is for those who ask",
            vec![Further {
                lines: "NotAutomatic: yes\n",
                ..vendor
            }],
            "agent 3, agent-plugin 2, common 1, tool 1, lib 1",
        ),
        (
            "one of those of which something is asked for",
            vec![Further {
                lines: "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
                packages: &["tool"],
                ..vendor
            }],
            "agent 3, agent-plugin -, common 1, tool 2, lib 1",
        ),
        (
            "of two the one with the higher priority",
            vec![
                Further {
                    priority: Some(600),
                    ..vendor
                },
                Further {
                    name: "other",
                    has: "agent 1, tool 9, lib 1.5",
                    packages: &["agent", "lib"],
                    priority: Some(700),
                    ..PLAIN
                },
            ],
            "agent 1, agent-plugin 2, common 2, tool 2, lib 1.5",
        ),
        (
            "the same version in two archives is one: the pin that names it counts",
            vec![
                Further {
                    has: "agent 3, tool 1, lib 2",
                    packages: &["tool", "lib"],
                    never: &["agent"],
                    priority: Some(50),
                    ..PLAIN
                },
                Further {
                    name: "second",
                    has: "tool 0.5, lib 2",
                    packages: &["tool", "lib"],
                    priority: Some(60),
                    ..PLAIN
                },
            ],
            // `lib 2` has 60: `second.pref` is read before `vendor.pref`.
            "agent -, agent-plugin -, common 1, tool 0.5, lib 1",
        ),
    ]
}

#[test]
fn a_lock_takes_what_apt_takes_with_the_preferences_of_the_image() {
    let missing = Apt::is_missing();
    for (what, further, expected) in table() {
        let mini = Miniature::new(Key::new());
        let base = publish(&mini, OWN, &further);
        let names = ["agent", "agent-plugin", "common", "tool", "lib"];
        let found = names.map(|name| {
            let version = chosen(&mini, &base, name).unwrap_or_else(|_| "-".into());
            format!("{name} {version}")
        });
        assert_eq!(found.join(", "), expected, "{what}");
        if missing {
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        let request = stack(base.clone(), &[]);
        let apt = Apt::new(root.path(), &base, &mirrors(&request));
        let theirs = apt.candidates(&names);
        let theirs = names.map(|name| format!("{name} {}", theirs[name].as_deref().unwrap_or("-")));
        assert_eq!(theirs.join(", "), expected, "apt: {what}");
    }
}

/// Random archives with random pins: 6 of them, or as many as MUSTER_SOAK says.
#[test]
fn a_lock_takes_what_apt_takes_of_random_archives() {
    if Apt::is_missing() {
        return;
    }
    let number = |variable: &str| std::env::var(variable).ok()?.parse::<u64>().ok();
    let rounds = number("MUSTER_SOAK").unwrap_or(6);
    let seed = number("MUSTER_SEED").unwrap_or(1);
    println!("{rounds} rounds, MUSTER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    const NAMES: [&str; 12] = [
        "a", "ab", "abc", "b", "bc", "bcd", "c", "ca", "cab", "d", "da", "dab",
    ];
    const PATTERNS: [&str; 9] = ["a*", "*b", "c", "d*", "?", "??", "*a*", "abc", "b?d"];
    for round in 0..rounds {
        let mini = Miniature::new(Key::new());
        let mut base = mini.base(&["noble"], &["main"]);
        for index in 0..random.gen_range(2..=4) {
            let name = ["noble", "north", "south", "west"][index];
            let mut has = Vec::new();
            for package in NAMES {
                if random.gen_bool(0.6) {
                    has.push(format!("{package} {}", random.gen_range(1..=4)));
                }
            }
            let origin = match index {
                0 => "Mini".to_owned(),
                _ => format!("The {name}"),
            };
            mini.write(&Suite {
                origin: origin.clone(),
                lines: ["", "", "NotAutomatic: yes\n"][random.gen_range(0..3)],
                ..Suite::new(name, &stanzas(&has.join(", ")))
            });
            let mut some = |chance: f64| {
                let chosen = PATTERNS.iter().filter(|_| random.gen_bool(chance));
                chosen
                    .map(|pattern| (*pattern).to_owned())
                    .collect::<Vec<_>>()
            };
            let (packages, never, named) = match index {
                0 => (Vec::new(), Vec::new(), Vec::new()),
                _ => (some(0.25), some(0.1), some(0.1)),
            };
            let versions = named.into_iter().map(|name| {
                let version = ["1", "2*", "?", "4", "3*"][random.gen_range(0..5)];
                (name, version.to_owned())
            });
            let versions = versions.collect();
            let priority = random.gen_bool(0.5);
            let priority = priority.then(|| [1, 99, 100, 500, 501, 990][random.gen_range(0..6)]);
            let archive = Archive {
                name: name.into(),
                origin,
                suites: vec![name.into()],
                packages,
                never,
                versions,
                priority,
                ..base.archives[0].clone()
            };
            match index {
                0 => base.archives[0] = archive,
                _ => base.archives.push(archive),
            }
        }
        let root = tempfile::tempdir().unwrap();
        let request = stack(base.clone(), &[]);
        let apt = Apt::new(root.path(), &base, &mirrors(&request));
        let theirs = apt.candidates(&NAMES);
        for name in NAMES {
            let ours = chosen(&mini, &base, name);
            let pins: Vec<_> = base.archives.iter().filter_map(preferences).collect();
            assert_eq!(
                ours.as_ref().ok(),
                theirs[name].as_ref(),
                "round {round}: {name}: {ours:?}\n{}",
                pins.join("\n")
            );
        }
    }
}

#[test]
fn what_pins_keep_out_is_said_with_the_way_on() {
    let mini = Miniature::new(Key::new());
    let further = Further {
        has: "agent 1, agent-plugin 1",
        never: &["agent-*"],
        ..PLAIN
    };
    let base = publish(&mini, OWN, &[further]);
    let error = |base: &Base, name| {
        let request = stack(base.clone(), &[name]);
        mini.lock(&request, 11, None, false).unwrap_err()
    };
    let barred = error(&base, "agent-plugin");
    assert_eq!(
        barred.to_string(),
        "role office needs agent-plugin, which the archives that have it are told not to give"
    );
    let hint =
        "name it in `packages` of the archive it should come from, or take it out of `never`";
    assert_eq!(barred.hint(), Some(hint));
    mini.write(&Suite::new(
        "noble",
        "Package: meta\nVersion: 1\nDepends: agent-plugin\n",
    ));
    let barred = error(&base, "meta");
    assert_eq!(
        barred.to_string(),
        "role office needs meta, which needs agent-plugin, which the archives that have it are \
         told not to give"
    );
    assert_eq!(barred.hint(), Some(hint));
}

#[test]
fn the_preferences_of_an_archive_say_what_its_table_says() {
    let mini = Miniature::new(Key::new());
    let mut archive = mini.base(&["noble"], &["main"]).archives.remove(0);
    assert_eq!(preferences(&archive), None);
    archive.priority = Some(100);
    insta::assert_snapshot!(preferences(&archive).unwrap(), @r"
    Package: *
    Pin: release o=Mini
    Pin-Priority: 100
    ");
    archive.packages = texts(&["agent*", "tool"]);
    archive.never = texts(&["agent-plugin"]);
    insta::assert_snapshot!(preferences(&archive).unwrap(), @r"
    Package: agent-plugin
    Pin: release o=Mini
    Pin-Priority: -1

    Package: agent* tool
    Pin: release o=Mini
    Pin-Priority: 100

    Package: *
    Pin: release o=Mini
    Pin-Priority: -1
    ");
}

/// A stack of two roles, of which one runs the service that brings an archive.
fn two_roles(base: Base) -> Stack {
    let mut request = stack(base, &["agent", "tool"]);
    let mut other = request.roles[0].clone();
    other.name = "files".into();
    request.roles.push(other);
    request.roles[0].services = vec!["agent".into()];
    request
}

#[test]
fn an_archive_of_a_service_is_for_the_roles_that_run_it() {
    let mini = Miniature::new(Key::new());
    let further = Further {
        has: "agent 5, tool 5",
        packages: &["agent"],
        ..PLAIN
    };
    let mut base = publish(&mini, OWN, &[further]);
    base.archives[1].services = vec!["agent".into()];
    let request = two_roles(base);
    let first = mini.lock(&request, 11, None, false).unwrap().lock;
    let of = |lock: &Lock, role: &str| {
        let keys = lock.roles[role].packages.join(" ");
        let archives = lock.roles[role].packages.iter();
        let archives = archives.map(|key| lock.package("mini-1", key).unwrap().archive.as_str());
        format!("{keys}; {}", archives.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(of(&first, "office"), "agent:all=5 tool:all=1; vendor mini");
    assert_eq!(of(&first, "files"), "agent:all=3 tool:all=1; mini mini");
    let read: Vec<&str> = first.releases.iter().map(|r| r.archive.as_str()).collect();
    assert_eq!(read, ["mini", "vendor"]);
    let back = Lock::from_text(&first.to_text()).unwrap();
    assert_eq!(back, first);

    // Each role keeps its own version, and takes the newest of its own archives.
    mini.write(&Suite::new("noble", &stanzas("agent 3, agent 4, tool 1")));
    let vendor = |has| Suite {
        origin: "The vendor".into(),
        ..Suite::new("vendor", &stanzas(has))
    };
    mini.write(&vendor("agent 5, agent 6"));
    let kept = mini.lock(&request, 11, Some(&first), false).unwrap();
    assert_eq!(
        kept.lock,
        Lock {
            releases: kept.lock.releases.clone(),
            ..first.clone()
        }
    );
    let updated = mini.lock(&request, 11, Some(&first), true).unwrap();
    assert_eq!(
        of(&updated.lock, "office"),
        "agent:all=6 tool:all=1; vendor mini"
    );
    assert_eq!(
        of(&updated.lock, "files"),
        "agent:all=4 tool:all=1; mini mini"
    );
    let changes: Vec<String> = updated
        .changes
        .iter()
        .map(|c| format!("{} {:?} {:?}", c.name, c.from, c.to))
        .collect();
    assert_eq!(changes, ["agent Some(\"3 and 5\") Some(\"4 and 6\")"]);
}

#[test]
fn a_name_and_version_that_stand_for_two_files_are_refused() {
    let mini = Miniature::new(Key::new());
    let mut base = publish(&mini, "agent 3, tool 1", &[PLAIN]);
    base.archives[1].services = vec!["agent".into()];
    // Another file of the same name, and preferred.
    let digest = "0".repeat(64);
    let stanza = format!(
        "Package: agent\nVersion: 3\nArchitecture: all\nFilename: pool/x\nSize: 1\nSHA256: {digest}\n"
    );
    mini.write(&Suite {
        origin: "The vendor".into(),
        ..Suite::new("vendor", &stanza)
    });
    base.archives[1].priority = Some(990);
    let error = mini.lock(&two_roles(base), 11, None, false).unwrap_err();
    assert!(matches!(error, PackagesError::Twice { .. }));
    assert_eq!(
        error.to_string(),
        "agent:all=3 of mini-1 is one file in the archive vendor and another one in mini"
    );
    assert_eq!(
        error.hint(),
        Some(
            "say which archive may not give it: name it in `never` of one of them, or in \
             `packages` of none but the other"
        )
    );
}

#[test]
fn what_is_said_of_an_archive_makes_a_lock_stale() {
    let mini = Miniature::new(Key::new());
    let base = publish(&mini, OWN, &[PLAIN]);
    let request = stack(base, &["agent"]);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let changes: [fn(&mut Archive); 4] = [
        |archive| archive.packages = vec!["agent".into()],
        |archive| archive.never = vec!["agent".into()],
        |archive| archive.priority = Some(500),
        |archive| archive.services = vec!["agent".into()],
    ];
    for change in changes {
        let mut request = request.clone();
        change(&mut request.bases.get_mut("mini-1").unwrap().archives[1]);
        assert!(lock.is_stale(&request));
    }
}
