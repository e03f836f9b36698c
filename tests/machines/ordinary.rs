//! Somebody without root, on a workstation that gives them subordinate ids.

use crate::site::{MUSTER, images};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Somebody whom this computer does not know.
const UID: u32 = 31_000;
/// Accounts and ranges of the workstation, in the user's own view of it; and the packages that
/// have been fetched.
const ENTER: &str = "\
    home=$1 cache=$2; shift 2\n\
    for file in passwd group subuid subgid; do\n\
        [ -e /etc/$file ] || touch /etc/$file\n\
        mount --bind $home/etc/$file /etc/$file\n\
    done\n\
    mount --bind $cache $home/.cache/muster\n\
    exec setpriv --reuid=31000 --regid=31000 --clear-groups \"$@\"";

/// Their home and what they see of the workstation.
pub struct User {
    folder: tempfile::TempDir,
}

impl User {
    /// Moves in.
    pub fn new() -> User {
        let folder = tempfile::Builder::new()
            .prefix("muster-test-")
            .tempdir_in("/var/tmp");
        let user = User {
            folder: folder.expect("a folder"),
        };
        for folder in ["etc", "bin", ".cache/muster", "out"] {
            fs::create_dir_all(user.home().join(folder)).expect("made");
        }
        for (file, line) in [
            ("passwd", "staff:x:31000:31000::/:/bin/sh\n"),
            ("group", "staff:x:31000:\n"),
            ("subuid", "staff:3100000:65536\n"),
            ("subgid", "staff:3200000:65536\n"),
        ] {
            let there = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
            fs::write(user.home().join("etc").join(file), there + line).expect("written");
        }
        let copied = Command::new("cp")
            .arg(MUSTER)
            .arg(user.home().join("bin"))
            .status();
        assert!(copied.expect("cp starts").success());
        for path in ["", "out", ".cache"] {
            chown(user.home().join(path), Some(UID), Some(UID)).expect("given");
        }
        user
    }

    /// Where they build, and what is theirs.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Whether a file is theirs, as everything must be that is left of a build.
    pub fn owns(&self, path: &Path) -> bool {
        fs::metadata(path).expect("there").uid() == UID
    }

    /// `muster ARGS…` in their home, with the packages and the lock of [`images`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let cache = cache.unwrap_or_else(|| home().join(".cache"));
        let lock = images().join("office/muster.lock");
        fs::create_dir_all(self.home().join("office")).expect("made");
        fs::copy(lock, self.home().join("office/muster.lock")).expect("copied");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-ec", ENTER, "sh"])
            .arg(self.home())
            .arg(cache.join("muster"))
            .arg(self.home().join("bin/muster"))
            .args(arguments)
            .current_dir(self.home())
            .env("HOME", self.home())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_STATE_HOME")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }
}
