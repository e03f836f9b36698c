//! `phpquery` and `phpenmod` of php-common, as maintainer scripts of PHP's modules call them.

use super::say;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const VERSIONS: &str = "/usr/lib/php";
/// Exit codes of `phpquery -m`, which say what is known of a module.
const ENABLED: u8 = 0;
const NOT_ENABLED: u8 = 1;
const DISABLED_BY_ADMIN: u8 = 32;
const DISABLED_BY_SCRIPT: u8 = 33;

/// `phpquery`: which versions, interfaces of a version (`-S`), and whether a module is enabled.
pub fn query(arguments: &[String]) -> Option<u8> {
    let mut asked = Options::read(arguments, "dqMSV", "smv")?;
    let (quiet, all) = (asked.flag('q'), asked.flag('V'));
    let (version, interface) = (asked.value('v'), asked.value('s'));
    let module = asked.value('m');
    let every = asked.flag('S');
    if !asked.is_empty() {
        return None;
    }
    let mut said = String::new();
    let mut code = 0;
    match (all, every, version, interface, module) {
        (true, false, None, None, None) => {
            for version in versions()? {
                let _ = writeln!(said, "{version}");
            }
        }
        (false, true, Some(version), None, None) => {
            for interface in interfaces(&version)? {
                let _ = writeln!(said, "{interface}");
            }
        }
        (false, false, Some(version), Some(interface), Some(module)) => {
            if !interfaces(&version)?.contains(&interface) {
                return None;
            }
            let words = state(&Module::new(&version, &interface, &module)?)?;
            code = words.0;
            if !quiet {
                let _ = writeln!(said, "{}", words.1);
            }
        }
        _ => return None,
    }
    io::stdout().write_all(said.as_bytes()).ok()?;
    Some(code)
}

/// `phpenmod [-m] [-r] [-q] [-v VERSION] [-s INTERFACE] MODULE…`: links and notes a module.
pub fn enable(arguments: &[String]) -> Option<u8> {
    let mut asked = Options::read(arguments, "mqr", "sv")?;
    let (by_script, _, register) = (asked.flag('m'), asked.flag('q'), asked.flag('r'));
    let version = asked.value('v').filter(|version| version != "ALL");
    let interface = asked.value('s').filter(|interface| interface != "ALL");
    let names = std::mem::take(&mut asked.others);
    if !asked.is_empty() || names.is_empty() {
        return None;
    }
    let versions = match version {
        Some(version) => vec![version],
        None => versions()?,
    };
    let mut modules = Vec::new();
    let mut registers = Vec::new();
    for name in &names {
        let name = name.split('/').next().unwrap_or_default();
        for version in &versions {
            let interfaces = match &interface {
                Some(interface) => vec![interface.clone()],
                None => interfaces(version)?,
            };
            for interface in interfaces {
                let module = Module::new(version, &interface, name)?;
                let (state, _) = state(&module)?;
                let usual = [ENABLED, NOT_ENABLED, DISABLED_BY_SCRIPT].contains(&state);
                if !usual || !module.links().is_dir() || !module.is_there() {
                    return None;
                }
                modules.push(module);
            }
            registers.push(format!("/var/lib/php/modules/{version}/registry/{name}"));
        }
    }
    let done = modules
        .iter()
        .try_for_each(|module| module.enable(by_script))
        .and_then(|()| {
            let registers = registers.iter().filter(|_| register);
            registers
                .into_iter()
                .try_for_each(|path| touch(Path::new(path)))
        });
    match done {
        Ok(()) => Some(0),
        Err(error) => {
            say(format_args!("phpenmod: {error}"));
            Some(1)
        }
    }
}

/// Options as `getopts` reads them, each at most once.
struct Options {
    flags: Vec<char>,
    values: Vec<(char, String)>,
    others: Vec<String>,
}

impl Options {
    /// `None` for what getopts would not take, or what is given twice.
    fn read(arguments: &[String], flags: &str, values: &str) -> Option<Options> {
        let mut read = Options {
            flags: Vec::new(),
            values: Vec::new(),
            others: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(letters) = argument.strip_prefix('-') else {
                read.others.push(argument.clone());
                read.others.extend(arguments.cloned());
                break;
            };
            let mut letters = letters.chars();
            // Several in one word, or a value in the same word, are not how scripts call.
            let (Some(letter), None) = (letters.next(), letters.next()) else {
                return None;
            };
            if flags.contains(letter) {
                if !read.flags.contains(&letter) {
                    read.flags.push(letter);
                }
            } else if values.contains(letter) {
                if read.values.iter().any(|(known, _)| *known == letter) {
                    return None;
                }
                read.values.push((letter, arguments.next()?.clone()));
            } else {
                return None;
            }
        }
        Some(read)
    }

    fn flag(&mut self, letter: char) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| *flag != letter);
        self.flags.len() < before
    }

    fn value(&mut self, letter: char) -> Option<String> {
        let at = self.values.iter().position(|(found, _)| *found == letter)?;
        Some(self.values.remove(at).1)
    }

    /// Whether everything has been asked for.
    fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.values.is_empty() && self.others.is_empty()
    }
}

/// Versions of PHP that are there, the newest first; `None` for an order that has to be looked
/// up in `sort`.
fn versions() -> Option<Vec<String>> {
    let mut found = names(Path::new(VERSIONS))?;
    let version = |name: &str| {
        let end: Vec<char> = name.chars().rev().take(3).collect();
        matches!(end[..], [minor, '.', major] if minor.is_ascii_digit() && major.is_ascii_digit())
    };
    found.retain(|name| version(name));
    (found.len() < 2).then_some(found)
}

fn interfaces(version: &str) -> Option<Vec<String>> {
    plain(version).then_some(())?;
    names(&Path::new(VERSIONS).join(version).join("sapi"))
}

fn names(folder: &Path) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).ok()? {
        found.push(entry.ok()?.file_name().into_string().ok()?);
    }
    found.sort();
    found.iter().all(|name| plain(name)).then_some(found)
}

fn plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

/// One module for one interface of one version.
struct Module {
    version: String,
    interface: String,
    name: String,
}

impl Module {
    fn new(version: &str, interface: &str, name: &str) -> Option<Module> {
        [version, interface, name]
            .iter()
            .all(|name| plain(name))
            .then(|| Module {
                version: version.into(),
                interface: interface.into(),
                name: name.into(),
            })
    }

    fn settings(&self) -> PathBuf {
        format!("/etc/php/{}/mods-available/{}.ini", self.version, self.name).into()
    }

    fn is_there(&self) -> bool {
        self.settings().exists()
    }

    fn links(&self) -> PathBuf {
        format!("/etc/php/{}/{}/conf.d", self.version, self.interface).into()
    }

    /// The link that enables it, named after the priority that its settings ask for.
    fn link(&self) -> io::Result<PathBuf> {
        let text = fs::read_to_string(self.settings())?;
        let priority = text.lines().find_map(priority).unwrap_or("20");
        Ok(self.links().join(format!("{priority}-{}.ini", self.name)))
    }

    fn note(&self, what: &str) -> PathBuf {
        let Module {
            version,
            interface,
            name,
        } = self;
        format!("/var/lib/php/modules/{version}/{interface}/{what}/{name}").into()
    }

    fn enable(&self, by_script: bool) -> io::Result<()> {
        let link = self.link()?;
        if !link.is_symlink() {
            symlink(self.settings(), link)?;
        }
        let by_admin = self.note("enabled_by_admin");
        let noted = self.note("enabled_by_maint");
        if by_admin.exists() || by_script && noted.exists() {
            return Ok(());
        }
        for what in ["disabled_by_admin", "disabled_by_maint", "enabled_by_maint"] {
            match fs::remove_file(self.note(what)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        touch(if by_script { &noted } else { &by_admin })
    }
}

/// The number in `; priority = 20`.
fn priority(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(';')?.trim_start();
    let rest = rest.strip_prefix("priority")?.trim_start();
    let number = rest.strip_prefix('=')?.trim();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(number)
}

/// What is known of a module, and how phpquery says it; `None` for what it finds odd.
fn state(module: &Module) -> Option<(u8, String)> {
    let Module {
        interface, name, ..
    } = module;
    if !module.is_there() {
        return Some((NOT_ENABLED, format!("No module matches {name}")));
    }
    let link = module.link().ok()?;
    let noted = |what: &str| module.note(what).exists();
    let enabled = |who: &str| {
        (
            ENABLED,
            format!("{name} (Enabled for {interface} by {who})"),
        )
    };
    let disabled = |code: u8, who: &str| {
        let words = format!("No module matches {name} (Disabled for {interface} by {who})");
        (code, words)
    };
    Some(if link.exists() {
        if fs::read_link(&link).ok()? != module.settings() {
            return None;
        }
        match () {
            () if noted("enabled_by_admin") => enabled("local administrator"),
            () if noted("enabled_by_maint") => enabled("maintainer script"),
            () => enabled("unknown"),
        }
    } else if link.is_symlink() {
        return None;
    } else {
        match () {
            () if noted("disabled_by_admin") => disabled(DISABLED_BY_ADMIN, "local administrator"),
            () if noted("disabled_by_maint") => disabled(DISABLED_BY_SCRIPT, "maintainer script"),
            () => disabled(NOT_ENABLED, "unknown"),
        }
    })
}

/// Makes an empty file and the folders above it.
fn touch(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_read_as_sed_reads_it() {
        assert_eq!(priority("; priority=10"), Some("10"));
        assert_eq!(priority(";\tpriority = 15 "), Some("15"));
        for line in [
            "priority=10",
            "; priority=",
            "; priority=1x",
            ";; priority=1",
        ] {
            assert_eq!(priority(line), None, "{line}");
        }
    }

    #[test]
    fn options_stand_before_the_modules_and_only_once() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let mut read = Options::read(&words("-q -v 8.2 -s cli xml"), "q", "sv").expect("known");
        assert_eq!(read.value('v').as_deref(), Some("8.2"));
        assert_eq!(read.value('s').as_deref(), Some("cli"));
        assert!(read.flag('q') && !read.flag('q'));
        assert_eq!(read.others, ["xml"]);
        for line in ["-x", "-qq xml", "-v8.2", "-v 1 -v 2", "-v"] {
            assert!(Options::read(&words(line), "q", "sv").is_none(), "{line}");
        }
    }
}
