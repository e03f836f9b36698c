//! `deb-systemd-helper` (deb-systemd-helper(1p)) as packages call it when their units are new: it
//! enables them, by systemctl(1), and notes what enabling means, so that a later version of the
//! package can tell whether a person has disabled them since.

use super::say;
use std::env;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::Command;

/// Where it keeps its notes: for units of the system, and of users.
const NOTES: [(&str, &str); 2] = [
    ("system", "/var/lib/systemd/deb-systemd-helper"),
    ("user", "/var/lib/systemd/deb-systemd-user-helper"),
];

/// The manager whose units are meant.
struct Manager {
    name: &'static str,
    notes: &'static str,
}

/// A link that enabling a unit makes.
#[derive(Debug, PartialEq)]
struct Link {
    path: String,
    target: String,
}

/// Does it, or returns `None` for what is not this case.
pub fn run(arguments: &[String]) -> Option<u8> {
    let options = arguments.iter().take_while(|word| word.starts_with("--"));
    let options: Vec<&str> = options.map(String::as_str).collect();
    let (action, units) = arguments.get(options.len()..)?.split_first()?;
    let quiet = options.contains(&"--quiet");
    let (name, notes) = NOTES[usize::from(options.contains(&"--user"))];
    let known = |option: &&str| ["--quiet", "--user", "--system"].contains(option);
    let mixed = options.contains(&"--user") && options.contains(&"--system");
    if !options.iter().all(known) || mixed || !is_plain() || !units.iter().all(|unit| named(unit)) {
        return None;
    }
    let manager = Manager { name, notes };
    match action.as_str() {
        "unmask" => manager.unmask(units),
        "was-enabled" => Some(manager.was_enabled(units, quiet)),
        "debian-installed" => {
            let installed = units.iter().any(|unit| manager.is_installed(unit));
            Some(u8::from(!installed))
        }
        "enable" => {
            let links = manager.all_links(units)?;
            if !Path::new("/usr/bin/systemctl").exists() {
                return None;
            }
            Some(told(
                units
                    .iter()
                    .zip(links)
                    .try_for_each(|(unit, links)| manager.enable(unit, &links)),
            ))
        }
        "update-state" => {
            let links = manager.all_links(units)?;
            Some(told(units.iter().zip(links).try_for_each(
                |(unit, links)| {
                    let lines: String = links.iter().map(|link| link.path.clone() + "\n").collect();
                    replace(&manager.state(unit), &lines)
                },
            )))
        }
        _ => None,
    }
}

/// Whether it runs as maintainer scripts run it, on a root that is not booted.
fn is_plain() -> bool {
    let none = |name: &str| env::var_os(name).is_none_or(|value| value.is_empty());
    !none("DPKG_MAINTSCRIPT_PACKAGE")
        && none("DPKG_ROOT")
        && none("_DEB_SYSTEMD_HELPER_DEBUG")
        && none("_DEB_SYSTEMD_HELPER_PURGE")
        && !Path::new("/run/systemd/system").exists()
}

/// Whether this is the plain name of a unit, or of a target.
fn named(unit: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@:._-\\".contains(&byte);
    !unit.is_empty() && !unit.starts_with('-') && unit.bytes().all(plain)
}

fn told(done: io::Result<()>) -> u8 {
    if let Err(error) = &done {
        say(format_args!("deb-systemd-helper: error: {error}"));
    }
    u8::from(done.is_err())
}

impl Manager {
    /// The file that lists the links of a unit.
    fn state(&self, unit: &str) -> String {
        format!("{}-enabled/{unit}.dsh-also", self.notes)
    }

    fn is_installed(&self, unit: &str) -> bool {
        Path::new(&self.state(unit)).is_file()
    }

    /// Where a unit is configured, or its bare name.
    fn find(&self, unit: &str) -> String {
        let folders = ["/etc/systemd", "/lib/systemd", "/usr/lib/systemd"];
        let paths = folders.map(|folder| format!("{folder}/{}/{unit}", self.name));
        let found = paths.into_iter().find(|path| Path::new(path).is_file());
        found.unwrap_or_else(|| unit.to_owned())
    }

    /// Where nothing is masked and never was.
    fn unmask(&self, units: &[String]) -> Option<u8> {
        let masks = units.iter().map(|unit| {
            let path = self.find(unit);
            let name = path.rsplit('/').next().unwrap_or_default();
            format!("/etc/systemd/{}/{name}", self.name)
        });
        let notes = NOTES.iter().map(|(_, notes)| format!("{notes}-masked"));
        let there = |path: String| fs::symlink_metadata(path).is_ok();
        (!masks.chain(notes).any(there)).then_some(0)
    }

    /// Whether all links that were noted are there, as they are where none was.
    fn was_enabled(&self, units: &[String], quiet: bool) -> u8 {
        let mut code = 1;
        for unit in units {
            let noted = fs::read_to_string(self.state(unit)).unwrap_or_default();
            let enabled = noted
                .lines()
                .all(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()));
            if !quiet {
                say(format_args!(
                    "{}",
                    if enabled { "enabled" } else { "disabled" }
                ));
            }
            if enabled {
                code = 0;
            }
        }
        code
    }

    fn all_links(&self, units: &[String]) -> Option<Vec<Vec<Link>>> {
        let all = units.iter().map(|unit| self.links(unit, &mut Vec::new()));
        all.collect()
    }

    /// The links that the `[Install]` section of a unit asks for (systemd.unit(5)). `None` where
    /// there is more to it than names.
    fn links(&self, unit: &str, visited: &mut Vec<String>) -> Option<Vec<Link>> {
        let path = self.find(unit);
        let text = fs::read_to_string(&path).ok()?;
        let folder = format!("/etc/systemd/{}", self.name);
        let (mut links, mut wanting) = (Vec::new(), Vec::new());
        let mut wanted = unit.to_owned();
        let link = |path_of_link: String| Link {
            path: path_of_link,
            target: path.clone(),
        };
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let keys = ["WantedBy", "RequiredBy", "Also", "Alias", "DefaultInstance"];
            let key = key.trim_start();
            let Some(known) = keys.iter().find(|known| known.eq_ignore_ascii_case(key)) else {
                continue;
            };
            if value.is_empty() {
                continue;
            }
            let names: Vec<&str> = value.split_ascii_whitespace().collect();
            let plain = !value.starts_with(|first: char| first.is_whitespace());
            if *known != key || !plain || !names.iter().all(|name| named(name)) {
                return None;
            }
            match (key, names.as_slice()) {
                ("WantedBy", names) => {
                    wanting.extend(names.iter().map(|name| format!("{folder}/{name}.wants/")));
                }
                ("RequiredBy", names) => {
                    wanting.extend(
                        names
                            .iter()
                            .map(|name| format!("{folder}/{name}.requires/")),
                    );
                }
                ("Also", names) => {
                    for name in names {
                        let seen = visited.iter().any(|visited| visited == name);
                        if *name != unit && !seen {
                            visited.push((*name).to_owned());
                            // What the other one visits is its own business.
                            links.extend(self.links(name, &mut visited.clone())?);
                        }
                    }
                }
                ("Alias", [name]) if value == *name => {
                    if *name != unit {
                        links.push(link(format!("{folder}/{name}")));
                    }
                }
                ("DefaultInstance", [name]) if value == *name => {
                    wanted = match unit.split_once("@.") {
                        Some((before, after)) => format!("{before}@{name}.{after}"),
                        None => unit.to_owned(),
                    };
                }
                _ => return None,
            }
        }
        links.extend(wanting.into_iter().map(|folder| link(folder + &wanted)));
        Some(links)
    }

    /// Enables a unit as presets have it, or as it was.
    fn enable(&self, unit: &str, links: &[Link]) -> io::Result<()> {
        let is_link = |path: &str| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let again = self.is_installed(unit);
        if !again {
            let scope = if self.name == "user" {
                "--global"
            } else {
                "--system"
            };
            let status = Command::new("systemctl")
                .args([
                    "--root=/",
                    scope,
                    "--preset-mode=enable-only",
                    "preset",
                    unit,
                ])
                .status()?;
            if !status.success() {
                let words = format!("systemctl preset failed on {unit}: {status}");
                return Err(io::Error::other(words));
            }
        }
        let make = again && links.iter().any(|link| is_link(&link.path));
        let state = self.state(unit);
        let own = format!("/etc/systemd/{}/", self.name);
        for link in links {
            let before = fs::read_to_string(&state).unwrap_or_default();
            let mut after = before.clone();
            if !before.lines().any(|line| line == link.path) {
                after += &link.path;
                after.push('\n');
            }
            replace(&state, &after)?;
            let rest = link.path.strip_prefix(&own).unwrap_or(&link.path);
            let note = format!("{}-enabled/{rest}", self.notes);
            if Path::new(&note).exists() {
                continue;
            }
            if make && !is_link(&link.path) {
                make_folder_of(&link.path)?;
                std::os::unix::fs::symlink(&link.target, &link.path)?;
            }
            make_folder_of(&note)?;
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&note)?;
        }
        Ok(())
    }
}

/// Replaces a file in one step.
fn replace(path: &str, text: &str) -> io::Result<()> {
    make_folder_of(path)?;
    let next = format!("{path}.next");
    fs::File::create(&next)?.write_all(text.as_bytes())?;
    fs::rename(next, path)
}

fn make_folder_of(path: &str) -> io::Result<()> {
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    match fs::create_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
