//! dpkg's database, written as dpkg itself writes it when it unpacks: status, info/, triggers,
//! and apt's record of automatic packages.

use super::deb::Control;
use super::error::Error;
use super::unpack::{Loaded, Unpacked};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The database below one root.
#[derive(Debug)]
pub struct Database {
    directory: PathBuf,
}

/// Who waits for what: trigger name → packages, and path → packages.
#[derive(Debug, Default, PartialEq)]
pub struct Interests {
    named: BTreeMap<String, BTreeSet<String>>,
    paths: BTreeMap<String, BTreeSet<String>>,
}

impl Database {
    /// The database below `root`.
    pub fn new(root: &Path) -> Database {
        Database {
            directory: root.join("var/lib/dpkg"),
        }
    }

    /// Makes an empty database.
    pub fn create(&self) -> Result<(), Error> {
        for name in ["info", "updates", "triggers", "parts", "alternatives"] {
            let path = self.directory.join(name);
            fs::create_dir_all(&path).map_err(Error::io("cannot make", &path))?;
        }
        for name in [
            "status",
            "available",
            "diversions",
            "statoverride",
            "lock",
            "lock-frontend",
        ] {
            self.write(name, b"")?;
        }
        self.write("info/format", b"1\n")
    }

    /// A text file of the database, empty when it is absent.
    pub fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.directory.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Error::io("cannot read", &path)(error)),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(Error::io("cannot write", &path))
    }

    fn append(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(Error::io("cannot write", &path))
    }

    /// Puts a package's control files where dpkg has them while it runs `preinst`, and tells
    /// whether there is one.
    pub fn stage(&self, loaded: &Loaded) -> Result<bool, Error> {
        let directory = self.directory.join("tmp.ci");
        fs::create_dir_all(&directory).map_err(Error::io("cannot make", &directory))?;
        let mut control = String::new();
        for (key, value) in &loaded.control.fields {
            let _ = writeln!(control, "{key}: {value}");
        }
        self.write("tmp.ci/control", control.as_bytes())?;
        for (name, (content, mode)) in &loaded.control.files {
            self.control_file(&format!("tmp.ci/{name}"), content, *mode)?;
        }
        Ok(loaded.control.files.contains_key("preinst"))
    }

    /// Takes the staged control files away again.
    pub fn unstage(&self) -> Result<(), Error> {
        let directory = self.directory.join("tmp.ci");
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("cannot remove", &directory)(error))
            }
            _ => Ok(()),
        }
    }

    fn control_file(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        self.write(name, content)?;
        let path = self.directory.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(Error::io("cannot set up", &path))
    }

    /// Records packages as unpacked and not yet configured.
    pub fn record(&self, packages: &[(&Loaded, &Unpacked)]) -> Result<(), Error> {
        let mut status = String::new();
        for (loaded, unpacked) in packages {
            let name = file_name(loaded);
            let mut list = unpacked.list.join("\n");
            list.push('\n');
            self.write(&format!("info/{name}.list"), list.as_bytes())?;
            for (file, (content, mode)) in &loaded.control.files {
                self.control_file(&format!("info/{name}.{file}"), content, *mode)?;
            }
            status.push_str(&stanza(&loaded.control, &unpacked.conffiles));
        }
        self.append("status", &status)
    }

    /// The list of a recorded package's paths, one per line.
    pub fn list(&self, loaded: &Loaded) -> Result<String, Error> {
        self.read(&format!("info/{}.list", file_name(loaded)))
    }

    /// Takes paths out of the list of a recorded package: another one has replaced them.
    pub fn take_from(&self, package: &str, paths: &BTreeSet<String>) -> Result<(), Error> {
        let folder = self.directory.join("info");
        let entries = fs::read_dir(&folder).map_err(Error::io("cannot read", &folder))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = name
                .strip_suffix(".list")
                .and_then(|name| name.split(':').next());
            if own != Some(package) {
                continue;
            }
            let name = format!("info/{name}");
            let text = self.read(&name)?;
            let lines = text.split_inclusive('\n');
            let left: String = lines
                .filter(|line| !paths.contains(line.trim_end()))
                .collect();
            if left != text {
                self.write(&name, left.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Registers what the packages wait for, and queues what their unpacking has set off.
    pub fn triggers(
        &self,
        interests: &Interests,
        unpacked: &[(&Loaded, &Unpacked)],
    ) -> Result<(), Error> {
        let mut file = String::new();
        for (path, packages) in &interests.paths {
            for package in packages {
                let _ = writeln!(file, "{path} {package}");
            }
        }
        self.write("triggers/File", file.as_bytes())?;
        for (name, packages) in &interests.named {
            let lines: String = packages
                .iter()
                .map(|package| format!("{package}\n"))
                .collect();
            self.write(&format!("triggers/{name}"), lines.as_bytes())?;
        }
        let mut set_off = BTreeSet::new();
        for (loaded, unpacked) in unpacked {
            for (verb, name) in directives(&loaded.control) {
                if verb.starts_with("activate") {
                    set_off.insert(name);
                }
            }
            for path in &unpacked.list {
                let above = path
                    .match_indices('/')
                    .map(|(end, _)| &path[..end])
                    .chain([&path[..]]);
                for prefix in above.filter(|prefix| interests.paths.contains_key(*prefix)) {
                    set_off.insert(prefix.to_owned());
                }
            }
        }
        let lines: String = set_off.iter().map(|name| format!("{name} -\n")).collect();
        self.append("triggers/Unincorp", &lines)
    }

    /// `name:architecture` of every package that is not `install ok installed`, with its state.
    pub fn unconfigured(&self) -> Result<Vec<(String, String)>, Error> {
        let text = self.read("status")?;
        let stanzas = text
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty());
        let found = stanzas.filter_map(|stanza| {
            let fields = super::deb::fields(stanza);
            let get = |name: &str| {
                let found = fields.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let status = get("Status");
            (status != "install ok installed").then(|| (get("Package"), status))
        });
        Ok(found.collect())
    }
}

impl Interests {
    /// What all of these packages wait for.
    pub fn of<'a>(packages: impl IntoIterator<Item = &'a Loaded<'a>>) -> Interests {
        let mut interests = Interests::default();
        for loaded in packages {
            for (verb, name) in directives(&loaded.control) {
                let waits = match verb.as_str() {
                    "interest" | "interest-await" => file_name(loaded),
                    "interest-noawait" => format!("{}/noawait", file_name(loaded)),
                    _ => continue,
                };
                let table = match name.starts_with('/') {
                    true => &mut interests.paths,
                    false => &mut interests.named,
                };
                table.entry(name).or_default().insert(waits);
            }
        }
        interests
    }
}

/// apt's `extended_states` for the packages nobody asked for by name.
pub fn extended_states<'a>(
    packages: impl IntoIterator<Item = &'a Loaded<'a>>,
    manual: &[String],
    architecture: &str,
) -> String {
    let mut names: Vec<&str> = packages
        .into_iter()
        .map(|loaded| loaded.package.name.as_str())
        .filter(|name| !manual.iter().any(|manual| manual == name))
        .collect();
    names.sort_unstable();
    let stanzas = names.iter().map(|name| {
        format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n")
    });
    stanzas.collect()
}

/// Name of a package's files in `info/`: with the architecture when several may be installed.
fn file_name(loaded: &Loaded) -> String {
    match loaded.control.field("Multi-Arch") {
        Some("same") => format!("{}:{}", loaded.package.name, loaded.package.architecture),
        _ => loaded.package.name.clone(),
    }
}

fn stanza(control: &Control, conffiles: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in &control.fields {
        let gap = if value.is_empty() || value.starts_with('\n') {
            ""
        } else {
            " "
        };
        let _ = writeln!(text, "{key}:{gap}{value}");
        if key == "Package" {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    if !conffiles.is_empty() {
        text.push_str("Conffiles:\n");
        for (path, digest) in conffiles {
            let _ = writeln!(text, " {path} {digest}");
        }
    }
    text.push('\n');
    text
}

/// Directives of a `triggers` control file (deb-triggers(5)).
fn directives(control: &Control) -> Vec<(String, String)> {
    let text = control.text("triggers");
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let pairs = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    pairs.collect()
}
