//! Taking out of a configured root what belongs to one machine, one build or nobody:
//! identities, secrets, logs and caches.

use super::error::Error;
use super::overlay::write;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files, or with a trailing `*` in the last part all files whose names begin so.
const FILES: [&str; 23] = [
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/mailname",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/bind/rndc.key",
    "/initrd.img.old",
    "/vmlinuz.old",
    "/var/cache/apt/*.bin",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/cache/debconf/*-old",
];

/// Directories that stay with the directories in them, and lose their files.
const EMPTIED: [&str; 4] = [
    "/var/lib/apt/lists",
    "/var/cache/apt/archives",
    "/var/cache/man",
    "/var/tmp",
];

/// What console-setup(5) compiled into its cache. With one and the same time on all of them it
/// would compile it anew at first boot.
const OLDER: [&str; 2] = ["/etc/default/keyboard", "/etc/default/console-setup"];

/// Cleans `/`, which this process has entered. `day` is the image's day since 1970, which
/// stands for the last change of every password.
pub fn clean(day: i64) -> Result<(), Error> {
    for pattern in FILES {
        for path in matching(pattern)? {
            fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
        }
    }
    for directory in EMPTIED {
        empty(Path::new(directory))?;
    }
    logs(Path::new("/var/log"))?;
    // Empty: systemd makes an id at first boot without taking the boot for an installation.
    write("/etc/machine-id", b"", 0o444)?;
    let path = "/etc/shadow";
    if let Ok(text) = fs::read_to_string(path) {
        fs::write(path, shadow(&text, day)).map_err(Error::io("cannot write", path))?;
    }
    let midnight = TimeSpec::new(day * 86400 - 1, 0);
    for path in OLDER.into_iter().filter(|path| Path::new(path).is_file()) {
        utimensat(
            AT_FDCWD,
            path,
            &midnight,
            &midnight,
            UtimensatFlags::FollowSymlink,
        )
        .map_err(io::Error::from)
        .map_err(Error::io("cannot set the time of", path))?;
    }
    Ok(())
}

/// Every account without a password that works, root's included, and no trace of the clock.
fn shadow(text: &str, day: i64) -> String {
    let lines = text.lines().map(|line| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if fields.len() > 2 {
            if !fields[1].starts_with(['!', '*']) {
                fields[1] = "*".into();
            }
            fields[2] = day.to_string();
        }
        fields.join(":") + "\n"
    });
    lines.collect()
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let Some((before, after)) = pattern.split_once('*') else {
        let path = PathBuf::from(pattern);
        return Ok(fs::symlink_metadata(&path)
            .is_ok()
            .then_some(path)
            .into_iter()
            .collect());
    };
    let (directory, prefix) = before.rsplit_once('/').unwrap_or(("/", before));
    let found = entries(Path::new(directory))?.into_iter().filter(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(after)
    });
    Ok(found.collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("cannot read", directory)(error)),
    }
}

fn empty(directory: &Path) -> Result<(), Error> {
    for path in entries(directory)? {
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            // A package owns it, or a cache grows it again.
            empty(&path)?;
        } else {
            fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
        }
    }
    Ok(())
}

/// Logs of the build go; the directories and their owners stay for the services.
fn logs(directory: &Path) -> Result<(), Error> {
    for path in entries(directory)? {
        let found = fs::symlink_metadata(&path).map_err(Error::io("cannot read", &path))?;
        if found.is_dir() {
            logs(&path)?;
        } else if found.is_file() {
            fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_and_no_clock_is_left() {
        assert_eq!(
            shadow(
                "root:$6$x$y:19000:0:99999:7:::\nsshd:!:20228::::::\n",
                20000
            ),
            "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n"
        );
    }
}
