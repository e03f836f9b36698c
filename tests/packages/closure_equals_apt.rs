//! The closure of the stack `starter` is what apt itself picks, in a private root of the same
//! suites on the same mirror. Needs apt and the network to the machine's mirror.
//!
//! apt is asked in one go for every essential package and every package the role names, with
//! nothing installed: the question that the resolver answers, once without and once with
//! recommended packages. No difference is known for servers; if one appears, the test prints
//! both sides. (Whole desktops with recommended packages differ where one of these clashes with
//! another: apt weighs the two and may take the first back, muster keeps the first.)

use muster::packages::cache::Cache;
use muster::packages::lock::{LockOptions, RoleLock, lock_stack};
use muster::packages::{Mirrors, Preferences};
use muster::profile::{Base, Source, Stack};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[test]
fn on_debian_12() {
    compare("debian-12");
}

#[test]
fn on_debian_13() {
    compare("debian-13");
}

fn compare(base: &str) {
    if Command::new("apt-get").arg("--version").output().is_err() {
        eprintln!("skipped: there is no apt-get to compare with");
        return;
    }
    let mut stack = Stack::load(&Source::new(None), "starter", Some(base)).unwrap();
    let mirrors = Mirrors::choose(stack.bases.values(), &Preferences::read(&[]).unwrap());
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), &stack.bases[base], &mirrors);
    for recommends in [false, true] {
        for role in &mut stack.roles {
            role.recommends = recommends;
        }
        let locked = lock_stack(
            &stack,
            &LockOptions {
                mirrors: &mirrors,
                cache: &Cache::new(Cache::default_root()),
                offline: false,
                previous: None,
                update: true,
                now: jiff::Timestamp::now(),
            },
        )
        .unwrap();
        for (role, closure) in &locked.lock.roles {
            let ours = names_and_versions(closure);
            let theirs = apt.simulate(&closure.manual, recommends);
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                one.difference(other).cloned().collect::<Vec<_>>().join(" ")
            };
            assert!(
                ours == theirs,
                "role {role} on {base}\nonly muster: {}\nonly apt: {}",
                only(&ours, &theirs),
                only(&theirs, &ours)
            );
            assert!(ours.len() > 200, "{} packages", ours.len());
        }
    }
}

/// `name=version` of a closure.
fn names_and_versions(closure: &RoleLock) -> BTreeSet<String> {
    let keys = closure.essential.iter().chain(&closure.packages);
    keys.map(|key| {
        let (name, rest) = key.split_once(':').unwrap();
        format!("{name}={}", rest.split_once('=').unwrap().1)
    })
    .collect()
}

/// apt with a root of its own and nothing installed.
struct Apt {
    configuration: std::path::PathBuf,
}

impl Apt {
    fn new(root: &Path, base: &Base, mirrors: &Mirrors) -> Apt {
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg",
            "var/cache/apt/archives/partial",
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        let mut sources = String::new();
        for archive in &base.archives {
            let keys = root.join(format!("{}.asc", archive.name));
            std::fs::write(&keys, &archive.keys).unwrap();
            for suite in &archive.suites {
                sources += &format!(
                    "deb [signed-by={}] {} {suite} {}\n",
                    keys.display(),
                    mirrors.url(&base.name, &archive.name).unwrap(),
                    archive.components.join(" ")
                );
            }
        }
        std::fs::write(root.join("etc/apt/sources.list"), sources).unwrap();
        let configuration = root.join("apt.conf");
        let settings = format!(
            "Dir \"{0}\";\nDir::State::status \"{0}/var/lib/dpkg/status\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Acquire::Languages \"none\";\n\
             APT::Sandbox::User \"\";\nDebug::NoLocking \"true\";\n",
            root.display()
        );
        std::fs::write(&configuration, settings).unwrap();
        let apt = Apt { configuration };
        apt.run("apt-get", &["-q", "update"]);
        apt
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", &self.configuration)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `apt-get install` of these and of everything essential would install.
    fn simulate(&self, manual: &[String], recommends: bool) -> BTreeSet<String> {
        let recommends = format!("APT::Install-Recommends={recommends}");
        let mut arguments = vec!["-s", "-y", "-o", &recommends, "install"];
        let essential = self.essential();
        arguments.extend(essential.iter().map(String::as_str));
        arguments.extend(manual.iter().map(String::as_str));
        // Inst name (version Archive:suite [architecture]) …
        let simulated = self.run("apt-get", &arguments);
        let lines = simulated
            .lines()
            .filter_map(|line| line.strip_prefix("Inst "));
        lines
            .map(|line| {
                let (name, rest) = line.split_once(" (").unwrap();
                format!("{name}={}", rest.split(' ').next().unwrap())
            })
            .collect()
    }

    fn essential(&self) -> BTreeSet<String> {
        let format = [
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ];
        let mut names = BTreeSet::new();
        for file in self.run("apt-get", &format).lines() {
            let text = self.run("/usr/lib/apt/apt-helper", &["cat-file", file]);
            for stanza in text
                .split("\n\n")
                .filter(|s| s.contains("\nEssential: yes"))
            {
                let name = stanza
                    .lines()
                    .find_map(|line| line.strip_prefix("Package: "));
                names.insert(name.unwrap().to_owned());
            }
        }
        names
    }
}
