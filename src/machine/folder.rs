//! Where the machines of a stack live: `$XDG_STATE_HOME/muster/<stack>/`, mode 0700.
//!
//! ```text
//! answers.toml         what the hosts were told, 0600
//! demo-passwords.toml  clear passwords of the demo, 0600
//! id_ed25519(.pub)     the key `ssh` uses
//! known_hosts          host keys, taken from the machines' own event lines
//! site-ca.pem          the site's authority, for browsers and probes
//! <role>/machine.json  the record; beside it disk.qcow2, image.*, serial.log, events.jsonl,
//!                      qemu.log and the sockets console.sock and qmp.sock
//! ```

use super::error::{MachineError, Result};
use super::events::{self, Event};
use super::record::{self, Machine};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The state of one stack's machines.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    stack: String,
}

/// Held while machines are started or stopped.
#[derive(Debug)]
pub struct Held {
    _file: Flock<File>,
}

impl Folder {
    /// `$XDG_STATE_HOME/muster`, else `~/.local/state/muster`.
    pub fn default_root() -> PathBuf {
        let base = std::env::var_os("XDG_STATE_HOME")
            .filter(|value| Path::new(value).is_absolute())
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()))
                    .join(".local/state")
            });
        base.join("muster")
    }

    /// The folder of `stack` below `root`; nothing is created.
    pub fn new(root: &Path, stack: &str) -> Folder {
        Folder {
            path: root.join(stack),
            stack: stack.to_owned(),
        }
    }

    /// Name of the stack.
    pub fn stack(&self) -> &str {
        &self.stack
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether machines were ever made here.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// A file that belongs to the whole stack.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder of one role's machine.
    pub fn role(&self, role: &str) -> PathBuf {
        self.path.join(role)
    }

    /// Creates the folder and, when given, that of a role.
    pub fn create(&self, role: Option<&str>) -> Result<()> {
        let path = role.map_or(self.path.clone(), |role| self.role(role));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| MachineError::Unwritable {
                path: self.path.clone(),
                why: error.to_string(),
            })
    }

    /// Keeps every other start and stop of the same stack out until dropped.
    pub fn hold(&self) -> Result<Held> {
        let path = self.file(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| MachineError::Unwritable {
                path: self.path.clone(),
                why: error.to_string(),
            })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Held { _file: file }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(MachineError::Busy {
                stack: self.stack.clone(),
            }),
            Err((_, errno)) => Err(MachineError::io("lock", &path)(errno.into())),
        }
    }

    /// Stacks that have a folder below `root`, sorted.
    ///
    /// # Errors
    /// `root` is there and cannot be read.
    pub fn known(root: &Path) -> Result<Vec<String>> {
        let entries = match fs::read_dir(root) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(MachineError::io("read", root)(error)),
        };
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The machines of this stack in the order of its roles, the lead first.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let mut roles: Vec<PathBuf> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("machine.json"))
            .filter(|path| path.is_file())
            .collect();
        roles.sort();
        let machines: Result<Vec<Machine>> = roles.iter().map(|path| self.read(path)).collect();
        let mut machines = machines?;
        machines.sort_by_key(|machine| machine.order);
        Ok(machines)
    }

    /// The machine of one role, if it was made.
    pub fn machine(&self, role: &str) -> Result<Option<Machine>> {
        let path = self.role(role).join("machine.json");
        if path.is_file() {
            self.read(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// How many leads its site had had when the host of a role said last that it leads; 0 if it
    /// never has. The highest of a stack's roles leads now.
    pub fn term(&self, role: &str) -> u64 {
        let log = fs::read_to_string(self.role(role).join("events.jsonl"));
        let events = events::parse_all(&log.unwrap_or_default());
        let terms = events.iter().filter_map(|event| match event {
            Event::Leads { term } => Some(*term),
            _ => None,
        });
        terms.max().unwrap_or(0)
    }

    fn read(&self, path: &Path) -> Result<Machine> {
        let bytes = fs::read(path).map_err(MachineError::io("read", path))?;
        let damaged = |error: serde_json::Error| MachineError::Damaged {
            stack: self.stack.clone(),
            path: path.to_owned(),
            why: error.to_string(),
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(record::VERSION) => Err(MachineError::OtherVersion {
                path: path.to_owned(),
                found,
                known: record::VERSION,
            }),
            _ => serde_json::from_value(value).map_err(damaged),
        }
    }

    /// Remembers a machine.
    pub fn save(&self, machine: &Machine) -> Result<()> {
        let path = self.role(&machine.role).join("machine.json");
        let text =
            serde_json::to_string_pretty(machine).map_err(|error| MachineError::Damaged {
                stack: self.stack.clone(),
                path: path.clone(),
                why: error.to_string(),
            })?;
        write_private(&path, (text + "\n").as_bytes())
    }

    /// Deletes one role's machine and its disk.
    pub fn forget(&self, role: &str) -> Result<()> {
        let path = self.role(role);
        fs::remove_dir_all(&path).map_err(MachineError::io("remove", &path))
    }

    /// Deletes everything of the stack.
    pub fn purge(&self) -> Result<()> {
        fs::remove_dir_all(&self.path).map_err(MachineError::io("remove", &self.path))
    }
}

/// Writes a 0600 file beside and renames it over `path`.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(MachineError::io("replace", &beside)(error));
        }
        _ => {}
    }
    let write = || {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(MachineError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_and_its_files_are_private() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), "starter");
        folder.create(Some("office")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.role("office")), 0o700);
        write_private(&folder.file("answers.toml"), b"a").unwrap();
        write_private(&folder.file("answers.toml"), b"b").unwrap();
        assert_eq!(mode(&folder.file("answers.toml")), 0o600);
        assert_eq!(fs::read(folder.file("answers.toml")).unwrap(), b"b");
        assert_eq!(Folder::known(root.path()).unwrap(), ["starter"]);
    }

    #[test]
    fn two_starts_of_one_stack_keep_each_other_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), "starter");
        folder.create(None).unwrap();
        let held = folder.hold().unwrap();
        assert_eq!(
            folder.hold().unwrap_err().to_string(),
            "another muster is starting or stopping the machines of starter"
        );
        drop(held);
        folder.hold().unwrap();
    }

    #[test]
    fn an_unwritable_state_folder_is_refused_with_its_reason() {
        let folder = Folder::new(Path::new("/dev/null/muster"), "starter");
        assert_eq!(
            folder.create(None).unwrap_err().to_string(),
            "machines keep their state in /dev/null/muster/starter, which cannot be written: \
             Not a directory (os error 20)"
        );
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let error = fs::write("/dev/full", b"x").unwrap_err();
        let full = MachineError::io("write", Path::new("/s/disk.qcow2"))(error);
        assert_eq!(
            full.to_string(),
            "the disk is full: /s/disk.qcow2 could not be written"
        );
    }

    #[test]
    fn a_host_leads_in_the_term_that_it_said_last() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), "starter");
        folder.create(Some("core")).unwrap();
        assert_eq!(folder.term("core"), 0, "it has said nothing yet");
        let log = "{\"event\":\"leads\",\"term\":1}\n{\"event\":\"phase\",\"name\":\"data\"}\n\
                   {\"event\":\"leads\",\"term\":3}\n{\"event\":\"leads\",\"te";
        fs::write(folder.role("core").join("events.jsonl"), log).unwrap();
        assert_eq!(folder.term("core"), 3);
    }

    #[test]
    fn a_damaged_record_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), "starter");
        folder.create(Some("office")).unwrap();
        fs::write(folder.role("office").join("machine.json"), "{").unwrap();
        let message = folder.machines().unwrap_err().to_string();
        assert!(
            message.ends_with(
                "office/machine.json is damaged: EOF while parsing an object at line 1 column 1"
            ),
            "{message}"
        );
    }
}
