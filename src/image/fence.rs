//! The fenced root: what maintainer scripts see, and what they cannot reach.
//!
//! The root is an overlay mount over the layers below, with `volatile`, so that the many
//! `fsync` calls of dpkg and debconf cost nothing (overlayfs documentation, "Volatile mount").
//! There is no network (an empty network namespace), `/sys` is empty, `/dev` has only nodes
//! that hold nothing, daemons cannot be started, and whatever still runs at the end dies with
//! the PID namespace. What each program is kept from beyond that: [`super::confine`].

use super::error::Error;
use super::namespace;
use super::standin;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Nodes of the workstation's `/dev` that the root gets.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Links of the merged /usr.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Directories that hold mounts while scripts run, and their modes in the image.
const MOUNT_POINTS: [(&str, u32); 3] = [("dev", 0o755), ("run", 0o755), ("tmp", 0o1777)];
/// Directories that are empty for this process. Every program has a `/proc` of its own.
const EMPTY: [(&str, u32); 2] = [("proc", 0o755), ("sys", 0o755)];

const NONE: Option<&str> = None;

/// What a root consists of before it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// Trees that are only read, the upper before the lower.
    pub lower: Vec<PathBuf>,
    /// Where everything that is written goes; a folder that is there.
    pub upper: PathBuf,
    /// An empty folder on the same filesystem. Without one the root is `upper` itself, and
    /// there is nothing below: overlayfs does not work everywhere.
    pub work: Option<PathBuf>,
    /// An empty folder to mount the root on.
    pub mount: PathBuf,
}

impl Ground {
    /// Mounts it.
    fn mount(&self) -> Result<(), Error> {
        let failed = || Error::namespace("cannot mount the root");
        let Some(work) = &self.work else {
            let flags = MsFlags::MS_BIND;
            return mount(Some(&self.upper), &self.mount, NONE, flags, NONE).map_err(failed());
        };
        // A colon separates the lower layers.
        let lower = self.lower.iter().map(|path| {
            let path = path.display().to_string();
            path.replace('\\', r"\\").replace(':', r"\:")
        });
        let mut lower: Vec<String> = lower.collect();
        if lower.is_empty() {
            // There must be one.
            let empty = self.mount.with_extension("empty");
            make(&empty, 0o755)?;
            lower.push(empty.display().to_string());
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile{}",
            lower.join(":"),
            self.upper.display(),
            work.display(),
            // What overlayfs notes on files is for root to write, or for whoever owns them.
            if namespace::is_nested() {
                ",userxattr"
            } else {
                ""
            },
        );
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        let kind = Some("overlay");
        mount(kind, &self.mount, kind, flags, Some(&options[..])).map_err(failed())
    }

    /// Whether overlayfs can write to a folder.
    pub fn works(folder: &Path) -> bool {
        let Ok(place) = tempfile::tempdir_in(folder) else {
            return false;
        };
        let at = |name: &str| place.path().join(name);
        for name in ["upper", "work", "mount"] {
            if fs::create_dir(at(name)).is_err() {
                return false;
            }
        }
        let ground = Ground {
            lower: Vec::new(),
            upper: at("upper"),
            work: Some(at("work")),
            mount: at("mount"),
        };
        let works = ground.mount().is_ok();
        if works {
            let _ = umount2(&ground.mount, MntFlags::MNT_DETACH);
        }
        works
    }
}

/// A root that scripts may run in.
#[derive(Debug)]
pub struct Fence {
    root: PathBuf,
    covers: Vec<PathBuf>,
    /// This program's binary.
    this: File,
    /// What was the root before.
    outside: Option<OwnedFd>,
}

/// The directory that is `/` for this process.
pub fn current_root() -> Result<OwnedFd, Error> {
    nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(Error::namespace("cannot find the way back"))
}

/// Makes a directory `/` for this process.
pub fn enter_root(root: &OwnedFd) -> Result<(), Error> {
    nix::unistd::fchdir(root)
        .and_then(|()| nix::unistd::chroot("."))
        .map_err(Error::namespace("cannot change the root"))
}

impl Fence {
    /// Mounts the root, and what scripts need in it. The process is alone in its mount and PID
    /// namespaces.
    pub fn raise(ground: &Ground) -> Result<Fence, Error> {
        ground.mount()?;
        let fence = Fence {
            root: ground.mount.clone(),
            covers: Vec::new(),
            this: File::open("/proc/self/exe")
                .map_err(Error::io("cannot read", "/proc/self/exe"))?,
            outside: None,
        };
        fence.furnish()?;
        Ok(fence)
    }

    fn furnish(&self) -> Result<(), Error> {
        make(&self.root.join("usr"), 0o755)?;
        for name in MERGED {
            make(&self.root.join("usr").join(name), 0o755)?;
            let link = self.root.join(name);
            match symlink(format!("usr/{name}"), &link) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made.map_err(Error::io("cannot make", &link))?,
            }
        }
        for (name, mode) in MOUNT_POINTS.iter().chain(&EMPTY) {
            make(&self.root.join(name), *mode)?;
        }
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let at = |name: &str| self.at(name);
        let mounted = |what: &str| Error::namespace(format!("cannot mount {what} in the root"));
        for (name, options) in [
            ("dev", "mode=755"),
            ("run", "mode=755"),
            ("tmp", "mode=1777"),
        ] {
            mount(Some("tmpfs"), &at(name), Some("tmpfs"), safe, Some(options))
                .map_err(mounted(name))?;
        }
        for name in NODES {
            let node = at("dev").join(name);
            fs::write(&node, b"").map_err(Error::io("cannot make", &node))?;
            mount(
                Some(&Path::new("/dev").join(name)),
                &node,
                NONE,
                MsFlags::MS_BIND,
                NONE,
            )
            .map_err(mounted(&format!("/dev/{name}")))?;
        }
        for (name, to) in LINKS {
            let link = at("dev").join(name);
            symlink(to, &link).map_err(Error::io("cannot make", &link))?;
        }
        make(&at("dev/shm"), 0o1777)?;
        make(&at("dev/pts"), 0o755)?;
        make(&at("run/lock"), 0o1777)
    }

    /// Makes the fenced root this process's own, until [`Fence::leave`].
    pub fn enter(&mut self) -> Result<(), Error> {
        let outside = current_root()?;
        nix::unistd::chroot(&self.root).map_err(Error::namespace("cannot enter the root"))?;
        std::env::set_current_dir("/").map_err(Error::io("cannot enter", "/"))?;
        self.outside = Some(outside);
        Ok(())
    }

    /// Goes back to where [`Fence::enter`] came from, and takes the root away. Its mounts are
    /// gone ([`Fence::lower`]).
    pub fn leave(self) -> Result<(), Error> {
        if let Some(outside) = &self.outside {
            enter_root(outside)?;
        }
        umount2(&self.root, MntFlags::MNT_DETACH)
            .map_err(Error::namespace("cannot unmount the root"))
    }

    /// Where a path of the root is for this process.
    fn at(&self, name: &str) -> PathBuf {
        match self.outside {
            Some(_) => Path::new("/").join(name),
            None => self.root.join(name),
        }
    }

    /// Covers a program with one that does nothing, for as long as the fence stands.
    pub fn cover(&mut self, program: &str) -> Result<(), Error> {
        let path = PathBuf::from(program);
        if path.exists() && !self.covers.contains(&path) {
            mount(Some("/usr/bin/true"), &path, NONE, MsFlags::MS_BIND, NONE)
                .map_err(Error::namespace(format!("cannot cover {program}")))?;
            self.covers.push(path);
        }
        Ok(())
    }

    /// Puts this program in the place of one of the root's, for as long as the fence stands.
    pub fn stand_in(&mut self, program: &str) -> Result<(), Error> {
        let originals = Path::new(standin::ORIGINALS);
        let this = originals.join("muster");
        if !this.exists() {
            make(originals, 0o755)?;
            let copied = self.this.rewind().and_then(|()| {
                io::copy(&mut self.this, &mut File::create(&this)?)?;
                fs::set_permissions(&this, fs::Permissions::from_mode(0o755))
            });
            copied.map_err(Error::io("cannot write", &this))?;
        }
        let path = PathBuf::from(program);
        let original = originals.join(path.file_name().unwrap_or_default());
        fs::write(&original, b"").map_err(Error::io("cannot make", &original))?;
        for (from, onto) in [(&path, &original), (&this, &path)] {
            mount(Some(from), onto, NONE, MsFlags::MS_BIND, NONE)
                .map_err(Error::namespace(format!("cannot stand in for {program}")))?;
        }
        // The last one goes first.
        self.covers.extend([original, path]);
        Ok(())
    }

    /// Uncovers the programs.
    pub fn uncover(&mut self) -> Result<(), Error> {
        for path in self.covers.drain(..).rev() {
            umount2(&path, MntFlags::MNT_DETACH).map_err(Error::namespace(format!(
                "cannot uncover {}",
                path.display()
            )))?;
        }
        Ok(())
    }

    /// Takes away all mounts, so that only what belongs to the image is left.
    pub fn lower(&mut self) -> Result<(), Error> {
        self.uncover()?;
        for (name, _) in MOUNT_POINTS {
            let path = self.at(name);
            umount2(&path, MntFlags::MNT_DETACH).map_err(Error::namespace(format!(
                "cannot unmount {}",
                path.display()
            )))?;
        }
        Ok(())
    }
}

/// Makes a directory with exactly these permission bits, or sets them on the one there is.
fn make(path: &Path, mode: u32) -> Result<(), Error> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("cannot make", path)(error))
        }
        // One of a lower layer is only copied up when there is something to change.
        Err(_) if is_directory(path, mode) => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(Error::io("cannot set up", path)),
    }
}

fn is_directory(path: &Path, mode: u32) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o7777 == mode)
}
