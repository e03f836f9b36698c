//! What apt itself would do, in a private root in which nothing is installed.

use muster::packages::Mirrors;
use muster::packages::apt::pin;
use muster::profile::Base;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// apt with a root of its own and nothing installed.
pub struct Apt {
    configuration: std::path::PathBuf,
    essential: BTreeSet<String>,
}

impl Apt {
    /// Says so when there is none.
    pub fn is_missing() -> bool {
        let missing = Command::new("apt-get").arg("--version").output().is_err();
        if missing {
            eprintln!("skipped: there is no apt-get to compare with");
        }
        missing
    }

    pub fn new(root: &Path, base: &Base, mirrors: &Mirrors) -> Apt {
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
            if let Some(text) = pin::preferences(archive) {
                let file = root.join("etc/apt/preferences.d");
                std::fs::write(file.join(pin::file_name(archive)), text).unwrap();
            }
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
        let mut apt = Apt {
            configuration,
            essential: BTreeSet::new(),
        };
        apt.run("apt-get", &["-q", "update"]).unwrap();
        apt.essential = apt.essential();
        apt
    }

    /// What it prints; its complaints when it fails.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", &self.configuration)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        match output.status.success() {
            true => Ok(printed),
            false => Err(format!(
                "{program} {}: {printed}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    /// What `apt-get install` of these and of everything essential would install.
    pub fn simulate(
        &self,
        manual: &[String],
        recommends: bool,
    ) -> Result<BTreeSet<String>, String> {
        let recommends = format!("APT::Install-Recommends={recommends}");
        let mut arguments = vec!["-s", "-y", "-o", &recommends, "install"];
        arguments.extend(self.essential.iter().map(String::as_str));
        arguments.extend(manual.iter().map(String::as_str));
        // Inst name (version Archive:suite [architecture]) …
        let simulated = self.run("apt-get", &arguments)?;
        let lines = simulated
            .lines()
            .filter_map(|line| line.strip_prefix("Inst "));
        Ok(lines
            .map(|line| {
                let (name, rest) = line.split_once(" (").unwrap();
                format!("{name}={}", rest.split(' ').next().unwrap())
            })
            .collect())
    }

    /// The version of each package that it would install.
    pub fn candidates(&self, names: &[&str]) -> BTreeMap<String, Option<String>> {
        let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
        found.extend(names.iter().map(|name| ((*name).to_owned(), None)));
        let mut of = String::new();
        for line in self
            .run("apt-cache", &[&["policy"], names].concat())
            .unwrap()
            .lines()
        {
            if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
                of = name.to_owned();
            } else if let Some(version) = line.trim().strip_prefix("Candidate: ") {
                found.insert(
                    of.clone(),
                    Some(version.to_owned()).filter(|v| v != "(none)"),
                );
            }
        }
        found
    }

    /// What `apt-get upgrade` with one setting would install, as `name=version`.
    pub fn upgrade(&self, setting: &str) -> String {
        let simulated = self.run("apt-get", &["-s", "-y", "-o", setting, "upgrade"]);
        let simulated = simulated.unwrap();
        let lines = simulated
            .lines()
            .filter_map(|line| line.strip_prefix("Inst "));
        // Inst name [version] (version …
        let mut upgraded: Vec<String> = lines
            .map(|line| {
                let (name, rest) = line.split_once(" [").unwrap();
                let (_, rest) = rest.split_once(" (").unwrap();
                format!("{name}={}", rest.split(' ').next().unwrap())
            })
            .collect();
        upgraded.sort();
        upgraded.join(" ")
    }

    fn essential(&self) -> BTreeSet<String> {
        let format = [
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ];
        let mut names = BTreeSet::new();
        for file in self.run("apt-get", &format).unwrap().lines() {
            let text = self
                .run("/usr/lib/apt/apt-helper", &["cat-file", file])
                .unwrap();
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
