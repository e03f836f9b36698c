//! A user without root builds the same image, on a workstation that gives them subordinate ids.

use crate::site::{MUSTER, images};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

struct User {
    folder: tempfile::TempDir,
}

impl User {
    fn new() -> User {
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

    fn home(&self) -> &Path {
        self.folder.path()
    }

    fn build(&self) -> Output {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let cache = cache.unwrap_or_else(|| home().join(".cache"));
        let lock = images().join("starter/muster.lock");
        fs::create_dir_all(self.home().join("starter")).expect("made");
        fs::copy(lock, self.home().join("starter/muster.lock")).expect("copied");
        Command::new("unshare")
            .args(["--mount", "sh", "-ec", ENTER, "sh"])
            .arg(self.home())
            .arg(cache.join("muster"))
            .arg(self.home().join("bin/muster"))
            .args(["build", "starter", "--locked", "--offline", "--out", "out"])
            .current_dir(self.home())
            .env("HOME", self.home())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_STATE_HOME")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("unshare starts")
    }
}

#[test]
fn a_user_without_root_builds_the_same_image_and_leaves_nothing_behind() {
    let user = User::new();
    let built = user.build();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    let out = user.home().join("out/starter");
    for name in ["office.raw", "office.vmlinuz", "office.initrd"] {
        let image = out.join(name);
        let owner = fs::metadata(&image).expect("there").uid();
        assert_eq!(owner, UID, "{name}");
        let same = Command::new("cmp")
            .args([&image, &images().join("out/starter").join(name)])
            .output()
            .expect("cmp starts");
        assert!(
            same.status.success(),
            "{}",
            String::from_utf8_lossy(&same.stdout)
        );
    }
    let hidden: Vec<_> = walkdir::WalkDir::new(&out)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    println!("[ordinary] a user without root has built the image that root built");
}
