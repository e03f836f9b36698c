//! The break-glass account: local, with sudo; root is locked.

use super::{Result, at};
use crate::bringup::process::Program;
use crate::site::Person;
use crate::site::accounts::Accounts;
use crate::site::durable::{self, Owner};
use std::path::Path;

/// The account's id: its home outlives every root, so the id must too.
const ID: &str = "1000";
/// Groups that let it act as root and read logs.
const GROUPS: [&str; 3] = ["sudo", "adm", "systemd-journal"];

/// Makes sure of the account. Its password is set only where it has none: in this root a
/// person may have changed it.
pub fn apply(root: &Path, admin: &Person) -> Result<()> {
    let accounts = Accounts::read(root)?;
    let name = admin.name.as_str();
    if accounts.user(name).is_none() {
        let home = root.join("home").join(name);
        let make_home = if home.exists() {
            "--no-create-home"
        } else {
            "--create-home"
        };
        let comment = admin.full_name.as_str();
        Program::new([
            "useradd",
            "--uid",
            ID,
            "--user-group",
            "--shell",
            "/bin/bash",
            "--comment",
            comment,
            make_home,
            name,
        ])
        .run()?;
    }
    for group in GROUPS {
        let member = accounts
            .group(group)
            .map(|group| group.members.iter().any(|one| one == name));
        if member == Some(false) {
            Program::new(["usermod", "--append", "--groups", group, name]).run()?;
        }
    }
    let path = root.join("etc/shadow");
    let shadow = std::fs::read_to_string(&path).map_err(at(&path))?;
    if locked(&shadow, name) {
        let line = format!("{name}:{}\n", admin.password_hash);
        Program {
            stdin: Some(line),
            ..Program::new(["chpasswd", "--encrypted"])
        }
        .run()?;
    }
    if !locked(&shadow, "root") {
        Program::new(["usermod", "--lock", "root"]).run()?;
    }
    authorized_keys(root, admin)
}

/// Whether no password opens this account (shadow(5)).
fn locked(shadow: &str, name: &str) -> bool {
    let field = shadow
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    field.is_none_or(|rest| rest.starts_with('!') || rest.starts_with('*'))
}

/// Keys of the answers come first; those a person added below stay.
fn authorized_keys(root: &Path, admin: &Person) -> Result<()> {
    if admin.ssh_keys.is_empty() {
        return Ok(());
    }
    let owner = Accounts::read(root)?.owner(&admin.name)?;
    let folder = root.join("home").join(&admin.name).join(".ssh");
    durable::make_directory(&folder, 0o700).map_err(at(&folder))?;
    own(&folder, owner)?;
    let path = folder.join("authorized_keys");
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let text = merged(&there, &admin.ssh_keys);
    if text == there {
        return Ok(());
    }
    durable::write(&path, text.as_bytes(), 0o600, Some(owner)).map_err(at(&path))
}

fn own(path: &Path, owner: Owner) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)).map_err(at(path))
}

fn merged(there: &str, keys: &[String]) -> String {
    let mut lines: Vec<&str> = there.lines().collect();
    for (place, key) in keys.iter().enumerate() {
        if !lines.contains(&key.as_str()) {
            lines.insert(place.min(lines.len()), key);
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_usable_password_is_seen() {
        let shadow = "root:*:1:\nadmin:$6$a$b:1:\nnew:!:1:\nopen::1:\n";
        assert!(locked(shadow, "root") && locked(shadow, "new") && locked(shadow, "nobody"));
        assert!(!locked(shadow, "admin") && !locked(shadow, "open"));
    }

    #[test]
    fn keys_that_a_person_added_stay() {
        let keys = ["ssh-ed25519 A x".to_string(), "ssh-ed25519 B y".to_string()];
        assert_eq!(merged("", &keys), "ssh-ed25519 A x\nssh-ed25519 B y\n");
        let grown = "ssh-ed25519 A x\nssh-ed25519 B y\nssh-rsa C z\n";
        assert_eq!(merged(grown, &keys), grown);
        assert_eq!(
            merged("ssh-rsa C z\n", &keys[..1]),
            "ssh-ed25519 A x\nssh-rsa C z\n"
        );
    }
}
