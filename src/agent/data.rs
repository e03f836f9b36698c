//! `muster agent data`: the data partition and what lives on it, before local-fs.target.
//!
//! Every part may have been done before, in whole or, after a power cut, in half; doing it
//! again finishes it.

use super::facts::Facts;
use super::partition::{self, Partition};
use super::state;
use super::{AgentError, OWN, Result, at, write_if_new};
use crate::bringup::process::{ProcessError, Program};
use crate::image::disk::gpt::GptError;
use crate::image::disk::{grow, kernel};
use crate::plan::Plan;
use crate::site::durable;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{major, minor, stat};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Where the data partition is mounted.
pub const MOUNT: &str = "/data";

/// File systems can take hours to check.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Checks and mounts the data partition, and binds the state of this host.
pub fn run() -> Result<()> {
    let root = Path::new("/");
    let data = Path::new(MOUNT);
    let facts = Facts::read(root)?;
    writable(root)?;
    if !state::mounted(data)? {
        let status = stat("/").map_err(|error| AgentError::System {
            what: "cannot look at /",
            error,
        })?;
        let own = (major(status.st_dev), minor(status.st_dev));
        let partition = partition::find(Path::new("/sys"), own, "data")?;
        if let Err(error) = extend(&partition) {
            // The host is whole without the new room.
            eprintln!("muster: the data partition keeps its size: {error}");
        }
        bring(&partition.path(), data)?;
    }
    let plan = Plan::new(&facts.stack);
    let own = plan.hosts.iter().find(|host| host.role == facts.role);
    establish(root, data, own.map_or(&[], |host| &host.state))
}

/// The kernel mounts a root read-only, and without an fstab(5) nobody has changed that.
fn writable(root: &Path) -> Result<()> {
    let look = |error| AgentError::System {
        what: "cannot look at /",
        error,
    };
    let flags = statvfs(root).map_err(look)?.flags();
    if !flags.contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let remount = MsFlags::MS_REMOUNT;
    mount(None::<&str>, root, None::<&str>, remount, None::<&str>).map_err(|error| {
        AgentError::Mount {
            what: "the root, for writing,".into(),
            at: root.into(),
            error,
        }
    })
}

/// Lets the last partition, which is ours, fill a disk that has become larger.
fn extend(partition: &Partition) -> std::result::Result<(), GptError> {
    let disk = File::options()
        .read(true)
        .write(true)
        .open(partition.disk_path())?;
    match grow::grow(&disk)? {
        Some(grown) => Ok(kernel::resize_partition(&disk, &grown)?),
        None => Ok(()),
    }
}

/// Copies what was never copied, and binds all state over the root.
fn establish(root: &Path, data: &Path, paths: &[String]) -> Result<()> {
    for path in paths {
        let copy = state::copy(root, data, path)?;
        state::bind(root, &copy, path)?;
    }
    // Services read certificates below it; what is secret there has its own mode.
    durable::make_directory(&root.join(OWN), 0o755).map_err(at(&root.join(OWN)))?;
    machine_id(root, data)
}

/// Checks, mounts and grows the file system.
fn bring(device: &Path, data: &Path) -> Result<()> {
    let word = device.to_string_lossy().into_owned();
    let check = Program {
        limit: PATIENCE,
        ..Program::new(["e2fsck", "-p", word.as_str()])
    }
    .run();
    match check {
        // 1: errors were there and are corrected.
        Ok(_) | Err(ProcessError::Failed { code: Some(1), .. }) => {}
        Err(error) => return Err(error.into()),
    }
    durable::make_directory(data, 0o755).map_err(at(data))?;
    mount(
        Some(device),
        data,
        Some("ext4"),
        MsFlags::MS_NOSUID,
        None::<&str>,
    )
    .map_err(|error| AgentError::Mount {
        what: device.into(),
        at: data.into(),
        error,
    })?;
    if room_to_grow(device)? {
        // Mounted, the kernel grows it in its journal: a power cut does no harm.
        let grown = Program {
            limit: PATIENCE,
            ..Program::new(["resize2fs", word.as_str()])
        }
        .run();
        if let Err(error) = grown {
            // The host is whole without the new room.
            eprintln!(
                "muster: the data partition keeps its size: {}",
                error.last_words()
            );
        }
    }
    Ok(())
}

/// Whether the partition is larger than its file system by a block group or more.
fn room_to_grow(device: &Path) -> Result<bool> {
    let mut file = File::open(device).map_err(at(device))?;
    let size = file.seek(SeekFrom::End(0)).map_err(at(device))?;
    let mut superblock = [0; 1024];
    file.seek(SeekFrom::Start(1024)).map_err(at(device))?;
    file.read_exact(&mut superblock).map_err(at(device))?;
    let (used, group) = extent(&superblock);
    Ok(size >= used + group)
}

/// Bytes of the file system and of one block group (ext4 disk layout, "The Super Block").
fn extent(superblock: &[u8; 1024]) -> (u64, u64) {
    let number = |at: usize| {
        let bytes = [
            superblock[at],
            superblock[at + 1],
            superblock[at + 2],
            superblock[at + 3],
        ];
        u64::from(u32::from_le_bytes(bytes))
    };
    // Feature bit 0x80 of s_feature_incompat: block counts have 64 bits.
    let high = if number(0x60) & 0x80 != 0 {
        number(0x150)
    } else {
        0
    };
    let block = 1024_u64 << number(0x18).min(6);
    (
        (high << 32 | number(0x04)).saturating_mul(block),
        number(0x20).saturating_mul(block),
    )
}

/// A host keeps its machine-id (machine-id(5)) when its root is replaced. systemd has read
/// the image's one before us; in a new root the old id is put back for the next start.
fn machine_id(root: &Path, data: &Path) -> Result<()> {
    let (own, kept) = (root.join("etc/machine-id"), data.join("machine-id"));
    let valid = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let id = text.trim();
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_string())
    };
    match (valid(&own), valid(&kept)) {
        (Some(id), None) => write_if_new(&kept, &format!("{id}\n"), 0o444).map(|_| ()),
        (now, Some(id)) if now.as_ref() != Some(&id) && !state::mounted(&own)? => {
            write_if_new(&own, &format!("{id}\n"), 0o444).map(|_| ())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_partition_that_is_damaged_or_cannot_be_mounted_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (device, data) = (folder.path().join("disk"), folder.path().join("data"));
        let refused = || bring(&device, &data).expect_err("refused").to_string();
        let shown = device.display();
        std::fs::write(&device, [0; 64 << 10]).expect("written");
        let said = refused();
        assert!(
            said.starts_with("`e2fsck` exited with status 8\n")
                && said.ends_with(&format!("repeat it with: e2fsck -p {shown}")),
            "{said}"
        );
        let file = File::options().write(true).open(&device).expect("opened");
        file.set_len(8 << 20).expect("room");
        let image = device.to_string_lossy();
        Program::new(["mkfs.ext4", "-q", image.as_ref()])
            .run()
            .expect("a file system");
        // It is a file, and no device.
        let error = match nix::unistd::geteuid().is_root() {
            true => nix::Error::ENOTBLK,
            false => nix::Error::EPERM,
        };
        assert_eq!(
            refused(),
            format!(
                "cannot mount {shown} at {}: {error}; what the kernel says of it: journalctl -k \
                 -p err",
                data.display()
            )
        );
    }

    #[test]
    fn a_file_system_smaller_than_its_partition_is_seen() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("disk");
        for options in [&["-O", "64bit"][..], &["-O", "^64bit"], &["-b", "1024"]] {
            let file = File::create(&path).expect("a file");
            file.set_len(64 << 20).expect("sized");
            let status = std::process::Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-F"])
                .args(options)
                .arg(&path)
                .status()
                .expect("mke2fs runs");
            assert!(status.success());
            assert!(!room_to_grow(&path).expect("read"), "{options:?}");
            file.set_len(512 << 20).expect("grown");
            assert!(room_to_grow(&path).expect("read"), "{options:?}");
        }
    }

    /// A loop device that goes away with the test.
    struct Loop(String);

    impl Loop {
        fn attach(file: &Path) -> Loop {
            let output = std::process::Command::new("losetup")
                .args(["--find", "--show"])
                .arg(file)
                .output()
                .expect("losetup runs");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Loop(String::from_utf8_lossy(&output.stdout).trim().to_string())
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let detached = std::process::Command::new("losetup")
                .args(["--detach", &self.0])
                .status();
            assert!(detached.is_ok_and(|status| status.success()));
        }
    }

    /// Linux lets only CAP_SYS_RESOURCE (bit 24) grow a mounted file system.
    fn may_resize() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").expect("read");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .expect("there");
        u64::from_str_radix(line.trim(), 16).expect("a mask") >> 24 & 1 == 1
    }

    /// Unmounts what nobody holds, once programs that other tests start at this moment have let
    /// go of what they inherited.
    fn unmount(place: &Path) {
        let mut left = 250;
        while let Err(errno) = nix::mount::umount(place) {
            assert!(errno == nix::Error::EBUSY && left > 0, "{errno}");
            left -= 1;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// One start of a host: what it mounts is gone when its namespace is.
    fn start(device: &Path, root: &Path, then: impl FnOnce(&Path) + Send) {
        std::thread::scope(|scope| {
            let host = scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a namespace");
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private");
                let data = root.join("data");
                bring(device, &data).expect("mounted");
                let paths = ["/var/lib/x".to_string(), "/var/lib/muster".to_string()];
                establish(root, &data, &paths).expect("established");
                establish(root, &data, &paths).expect("a second time changes nothing");
                then(&data);
                // The kernel tidies a namespace up at its leisure; a host that stops does not.
                for place in [root.join("var/lib/x"), root.join(OWN), data] {
                    unmount(&place);
                }
            });
            host.join().expect("it started");
        });
    }

    #[test]
    fn state_survives_a_new_root_and_the_partition_is_filled() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: mounting a loop device takes root");
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = folder.path().join("disk");
        let file = File::create(&disk).expect("a file");
        file.set_len(48 << 20).expect("sized");
        let made = std::process::Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-F"])
            .arg(&disk)
            .status()
            .expect("mke2fs runs");
        assert!(made.success());
        file.set_len(512 << 20).expect("a larger disk");
        let device = Loop::attach(&disk);
        let device = Path::new(&device.0);
        let image = |name: &str, id: char| {
            let root = folder.path().join(name);
            std::fs::create_dir_all(root.join("var/lib/x")).expect("a folder");
            std::fs::create_dir_all(root.join("etc")).expect("a folder");
            std::fs::write(root.join("var/lib/x/shipped"), name).expect("written");
            std::fs::write(root.join("etc/machine-id"), id.to_string().repeat(32)).expect("id");
            root
        };
        let (first, second) = (image("first", 'a'), image("second", 'b'));
        start(device, &first, |data| {
            let size = nix::sys::statvfs::statvfs(data).expect("a file system");
            let grown = size.blocks() * size.fragment_size() > 400 << 20;
            match may_resize() {
                true => assert!(grown, "grown while mounted"),
                false => eprintln!("growing is not checked: CAP_SYS_RESOURCE is missing here"),
            }
            std::fs::write(first.join("var/lib/x/grown"), "by a service").expect("written");
        });
        assert!(
            !first.join("var/lib/x/grown").exists(),
            "it is not in the root"
        );
        start(device, &second, |_| {
            let read = |path: &str| std::fs::read_to_string(second.join(path)).expect(path);
            assert_eq!(read("var/lib/x/grown"), "by a service");
            assert_eq!(
                read("var/lib/x/shipped"),
                "first",
                "state is not copied twice"
            );
            assert_eq!(read("etc/machine-id").trim(), "a".repeat(32));
        });
        let check = std::process::Command::new("e2fsck")
            .arg("-fn")
            .arg(device)
            .output();
        assert!(check.expect("e2fsck runs").status.success());
    }

    #[test]
    fn the_machine_id_is_kept_and_put_back_into_a_new_root() {
        let (root, data) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let own = root.path().join("etc/machine-id");
        let kept = data.path().join("machine-id");
        let first = "0123456789abcdef0123456789abcdef\n";
        std::fs::create_dir(root.path().join("etc")).expect("a folder");
        std::fs::write(&own, "uninitialized\n").expect("written");
        machine_id(root.path(), data.path()).expect("nothing yet");
        assert!(!kept.exists());
        std::fs::write(&own, first).expect("written");
        machine_id(root.path(), data.path()).expect("kept");
        assert_eq!(std::fs::read_to_string(&kept).expect("read"), first);
        std::fs::write(&own, first.replace('0', "f")).expect("a new root");
        machine_id(root.path(), data.path()).expect("put back");
        assert_eq!(std::fs::read_to_string(&own).expect("read"), first);
    }
}
