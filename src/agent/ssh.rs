//! The host's SSH key: made on first boot, kept on the data partition.

use super::{AgentError, OWN, Result, at};
use crate::bringup::process::Program;
use crate::site::durable;
use std::path::{Path, PathBuf};

/// The public key of this host, `ssh-ed25519 AAAA…`; made now if there is none.
pub fn host_key(root: &Path) -> Result<String> {
    let folder = root.join(OWN).join("ssh");
    let key = folder.join("ssh_host_ed25519_key");
    let public = key.with_extension("pub");
    durable::make_directory(&folder, 0o755).map_err(at(&folder))?;
    if !key.exists() || !public.exists() {
        make(&folder, &key, &public)?;
    }
    let text = std::fs::read_to_string(&public).map_err(at(&public))?;
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    match words[..] {
        ["ssh-ed25519", _] => Ok(words.join(" ")),
        _ => Err(AgentError::Content {
            path: public,
            reason: "this is not the public half of an SSH key; make it anew with: ssh-keygen -y \
                     -f /var/lib/muster/ssh/ssh_host_ed25519_key"
                .into(),
        }),
    }
}

/// The private key is renamed into place last: until then another attempt starts afresh.
fn make(folder: &Path, key: &Path, public: &Path) -> Result<()> {
    let new = folder.join(".new");
    let new_public = new.with_extension("pub");
    for left in [
        &new,
        &new_public,
        &PathBuf::from(key),
        &PathBuf::from(public),
    ] {
        if left.exists() {
            std::fs::remove_file(left).map_err(at(left))?;
        }
    }
    let path = new.to_string_lossy();
    Program::new([
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "",
        "-f",
        &path,
    ])
    .run()?;
    for (from, to) in [(&new_public, public), (&new, key)] {
        let file = std::fs::File::open(from).map_err(at(from))?;
        file.sync_all().map_err(at(from))?;
        std::fs::rename(from, to).map_err(at(to))?;
    }
    durable::sync_directory(folder).map_err(at(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_key_is_made_once_and_again_only_when_a_power_cut_left_half_of_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let first = host_key(root.path()).expect("made");
        assert_eq!(host_key(root.path()).expect("kept"), first);
        assert_eq!(first.split(' ').count(), 2);
        let folder = root.path().join(OWN).join("ssh");
        std::fs::remove_file(folder.join("ssh_host_ed25519_key")).expect("removed");
        std::fs::write(folder.join(".new"), "torn").expect("written");
        assert_ne!(host_key(root.path()).expect("made again"), first);
        assert!(!folder.join(".new").exists());
    }
}
