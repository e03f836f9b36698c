//! The ssh key of a stack's machines and the host keys they showed.

use super::error::{MachineError, Result};
use super::events::{self, Event};
use super::folder::{Folder, write_private};
use super::record::Machine;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes the key of this stack unless there is one; its public half in authorized_keys(5)
/// form.
pub fn ensure_key(folder: &Folder) -> Result<String> {
    let private = folder.file("id_ed25519");
    let public = folder.file("id_ed25519.pub");
    if !(private.is_file() && public.is_file()) {
        for half in [&private, &public] {
            match std::fs::remove_file(half) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(MachineError::io("replace", half)(error));
                }
                _ => {}
            }
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C"]);
        command
            .arg(format!("muster-{}", folder.stack()))
            .arg("-f")
            .arg(&private);
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(missing("ssh-keygen"))?;
        if !output.status.success() {
            return Err(MachineError::ProgramFailed {
                program: "ssh-keygen".into(),
                why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                command: shown(&command),
            });
        }
    }
    std::fs::read_to_string(&public)
        .map(|text| text.trim().to_owned())
        .map_err(MachineError::io("read", &public))
}

/// For `map_err` when an OpenSSH program was started.
pub fn missing(program: &'static str) -> impl Fn(std::io::Error) -> MachineError {
    move |error| match error.kind() {
        ErrorKind::NotFound => MachineError::MissingProgram {
            program: program.into(),
            package: "openssh-client".into(),
        },
        _ => MachineError::io("run", Path::new(program))(error),
    }
}

/// A command as a person may paste it into a shell.
pub fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word that a shell reads as itself.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The name a machine's host key is filed under; independent of the forwarded port.
pub fn host_key_alias(machine: &Machine) -> String {
    format!("{}.{}.muster", machine.role, machine.stack)
}

/// Reads what the machines have said so far and files their host keys in `known_hosts` and
/// the authority's certificate in `site-ca.pem`. The latest word of a machine counts.
pub fn collect(folder: &Folder, machines: &[Machine]) -> Result<()> {
    let mut known = String::new();
    let mut authority = None;
    for machine in machines {
        let role = folder.role(&machine.role);
        let log = lossy(&role.join("events.jsonl"))?;
        let mut key = None;
        for event in events::parse_all(&log) {
            match event {
                Event::SshHostKey { key: said } => key = Some(said),
                Event::SiteCa { pem } => authority = Some(pem),
                _ => {}
            }
        }
        let key = match key {
            Some(key) => Some(key),
            None => key_on_console(&lossy(&role.join("serial.log"))?),
        };
        if let Some(key) = key.as_deref().and_then(two_words) {
            known.push_str(&format!("{} {key}\n", host_key_alias(machine)));
        }
    }
    if !known.is_empty() {
        write_private(&folder.file("known_hosts"), known.as_bytes())?;
    }
    match authority {
        Some(pem) => write_private(&folder.file("site-ca.pem"), pem.as_bytes()),
        None => Ok(()),
    }
}

fn lossy(path: &Path) -> Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(MachineError::io("read", path)(error)),
    }
}

/// The last ed25519 key a console log shows.
fn key_on_console(log: &str) -> Option<String> {
    log.lines()
        .rev()
        .find_map(|line| two_words(line.get(line.find("ssh-ed25519 ")?..)?))
}

/// `ssh-ed25519 AAAA…` and nothing behind it, or nothing.
fn two_words(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (algorithm, key) = (words.next()?, words.next()?);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    (algorithm == "ssh-ed25519" && key.len() >= 68 && key.chars().all(base64))
        .then(|| format!("{algorithm} {key}"))
}

/// `ssh` to one machine as `user`: our key, its pinned host key, nothing of the person's own
/// ssh configuration.
pub fn ssh(folder: &Folder, machine: &Machine, user: &str) -> Result<Command> {
    let off = || MachineError::NotRunning {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
    };
    if !machine.alive() {
        return Err(off());
    }
    let port = machine.forward(22).ok_or_else(off)?;
    collect(folder, &folder.machines()?)?;
    let known = folder.file("known_hosts");
    let alias = host_key_alias(machine);
    let pinned = lossy(&known)?
        .lines()
        .any(|line| line.split(' ').next() == Some(&alias));
    if !pinned {
        return Err(MachineError::NoHostKey {
            stack: machine.stack.clone(),
            role: machine.role.clone(),
        });
    }
    let mut command = Command::new("ssh");
    command
        .args(["-F", "none", "-p", &port.to_string(), "-i"])
        .arg(folder.file("id_ed25519"));
    let mut hosts = OsString::from("UserKnownHostsFile=\"");
    hosts.push(&known);
    hosts.push("\"");
    command.arg("-o").arg(hosts);
    for option in [
        &format!("HostKeyAlias={alias}"),
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
        "ConnectTimeout=60",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    command.args(["-l", user, "--", "127.0.0.1"]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpGnZ0C4ZyGdQzqYbL3Q0Tn0S1i7k3eQqVbT7hRk0aB";

    #[test]
    fn the_host_key_is_read_off_a_console_that_also_says_other_things() {
        let log = format!("[  OK  ] ssh\r\nssh host key: {KEY} root@office\r\noffice login: ");
        assert_eq!(key_on_console(&log).as_deref(), Some(KEY));
        assert_eq!(key_on_console("ssh-ed25519 short"), None);
        assert_eq!(key_on_console("ssh-ed25519"), None);
    }

    #[test]
    fn a_key_cannot_smuggle_a_second_line_or_a_marker_into_known_hosts() {
        assert_eq!(
            two_words(&format!("{KEY}\n@cert-authority * x")).as_deref(),
            Some(KEY)
        );
        assert_eq!(two_words("ssh-ed25519 AAAA*AAAA"), None);
    }

    #[test]
    fn a_key_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), "starter");
        folder.create(None).unwrap();
        let first = ensure_key(&folder).unwrap();
        assert!(first.starts_with("ssh-ed25519 "));
        assert!(first.ends_with(" muster-starter"));
        assert_eq!(ensure_key(&folder).unwrap(), first);
        std::fs::remove_file(folder.file("id_ed25519.pub")).unwrap();
        assert_ne!(ensure_key(&folder).unwrap(), first);
    }

    #[test]
    fn commands_are_shown_as_they_can_be_pasted() {
        let mut command = Command::new("ssh");
        command.args(["-o", "A=\"b c\"", "it's", ""]);
        assert_eq!(shown(&command), r#"ssh -o 'A="b c"' 'it'\''s' ''"#);
    }
}
