//! The package files of the cache, as a build reads them: each is verified before anything in it
//! is believed.
//!
//! While scripts run one after the other, the other processors would wait. So packages whose
//! turn is still to come are unpacked to plain tar archives meanwhile, in files without a name.

use super::deb;
use super::error::Error;
use crate::packages::lock::Package;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that archives may take that were unpacked ahead of their turn.
const AHEAD: u64 = 512 << 20;
/// How many of them there may be: each is an open file.
const FILES: usize = 256;

/// The files of a cache as an open directory, so that they stay readable after `chroot`, even
/// where the directory is a link to another place.
#[derive(Debug)]
pub struct Store {
    directory: Arc<OwnedFd>,
    ahead: Option<Arc<Ahead>>,
}

/// A data archive.
#[derive(Debug)]
pub enum Data {
    /// The package that holds it.
    Packed(File),
    /// The archive itself.
    Plain(File),
}

/// Unpacks the data archives of packages ahead of their turn.
#[derive(Debug)]
struct Ahead {
    /// Where files without a name are made.
    folder: OwnedFd,
    work: Mutex<Work>,
    /// Something in `work` has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// Those to come: the package, and the bytes its files may hold.
    queue: VecDeque<(Package, u64)>,
    /// Digest of the one that is being unpacked.
    current: Option<String>,
    /// Digest → the archive and its length.
    done: HashMap<String, (File, u64)>,
    /// Others need the processors.
    held: bool,
    /// Nobody will ask any more.
    over: bool,
}

impl Store {
    /// Opens the cache at `root`: the folder `sha256` in it.
    pub fn open(root: &Path) -> Result<Store, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let files = root.join("sha256");
        let directory = nix::fcntl::open(&files, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open the cache", files)(errno.into()))?;
        Ok(Store {
            directory: Arc::new(directory),
            ahead: None,
        })
    }

    /// As [`Store::open`], for a build that works in the folder `work`.
    pub fn open_for(root: &Path, work: &Path) -> Result<Store, Error> {
        let mut store = Store::open(root)?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(work, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", work)(errno.into()))?;
        let ahead = Arc::new(Ahead {
            folder,
            work: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = Arc::clone(&ahead);
        let directory = Arc::clone(&store.directory);
        std::thread::spawn(move || thread.run(&directory));
        store.ahead = Some(ahead);
        Ok(store)
    }

    /// Has these packages, which are verified, unpacked ahead in this order after those that were
    /// named before, each with the bytes that its files may hold.
    pub fn go_ahead(&self, packages: impl IntoIterator<Item = (Package, u64)>) {
        let Some(ahead) = &self.ahead else { return };
        ahead.work().queue.extend(packages);
        ahead.changed.notify_all();
    }

    /// Leaves the processors to somebody else until what this returns is dropped.
    pub fn hold(&self) -> Hold<'_> {
        if let Some(ahead) = &self.ahead {
            ahead.work().held = true;
        }
        Hold(self)
    }

    /// The data archive of a package that is verified.
    pub fn data(&self, package: &Package) -> Result<Data, Error> {
        let ahead = self.ahead.as_ref();
        match ahead.and_then(|ahead| ahead.take(&package.sha256)) {
            Some(file) => Ok(Data::Plain(file)),
            None => Ok(Data::Packed(self.package(package)?)),
        }
    }

    /// Opens a pinned package without looking at it.
    pub fn package(&self, package: &Package) -> Result<File, Error> {
        open(&self.directory, &package.key(), &package.sha256)
    }

    /// Opens a pinned package after comparing its size and SHA-256 with the lock.
    pub fn verified(&self, package: &Package) -> Result<File, Error> {
        self.verified_file(&package.key(), &package.sha256)
    }

    /// The same for anything that is pinned under a SHA-256 (hex), `called` so.
    pub fn verified_file(&self, called: &str, sha256: &str) -> Result<File, Error> {
        let mut file = open(&self.directory, called, sha256)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(Error::io("cannot read", called))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let found = hex::encode(hasher.finalize());
        if found != sha256 {
            return Err(Error::Digest {
                package: called.to_owned(),
                found,
                wanted: sha256.to_owned(),
            });
        }
        open(&self.directory, called, sha256)
    }
}

/// Opens what is pinned under a SHA-256 (hex) without looking at it; `called` so.
fn open(directory: &OwnedFd, called: &str, sha256: &str) -> Result<File, Error> {
    let name = format!("{}/{sha256}", &sha256[..2]);
    match openat(
        directory,
        name.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    ) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(nix::Error::ENOENT) => Err(Error::NotCached {
            package: called.to_owned(),
        }),
        Err(errno) => Err(Error::io("cannot read", name)(errno.into())),
    }
}

/// See [`Store::hold`].
#[derive(Debug)]
pub struct Hold<'a>(&'a Store);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(ahead) = &self.0.ahead {
            ahead.work().held = false;
            ahead.changed.notify_all();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.work().over = true;
            ahead.changed.notify_all();
        }
    }
}

/// Ends the work on the current package when it goes.
struct Over<'a>(&'a Ahead);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.work().current = None;
        self.0.changed.notify_all();
    }
}

impl Work {
    /// Whether enough waits for somebody to ask.
    fn is_full(&self) -> bool {
        let bytes: u64 = self.done.values().map(|(_, length)| length).sum();
        bytes > AHEAD || self.done.len() >= FILES
    }
}

impl Ahead {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough` says something.
    fn wait<T>(&self, mut enough: impl FnMut(&mut Work) -> Option<T>) -> T {
        let mut work = self.work();
        loop {
            if let Some(found) = enough(&mut work) {
                return found;
            }
            let woken = self.changed.wait(work);
            work = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread: one package after the other. What goes wrong here goes wrong again, with
    /// words, when the package's turn has come.
    fn run(&self, directory: &OwnedFd) {
        loop {
            let next = self.wait(|work| match () {
                () if work.over => Some(None),
                () if work.held || work.is_full() => None,
                () => {
                    let next = work.queue.pop_front()?;
                    work.current = Some(next.0.sha256.clone());
                    Some(Some(next))
                }
            });
            let Some((package, room)) = next else { return };
            // Whatever happens, nobody waits for it for ever.
            let _over = Over(self);
            if let Some(file) = self.unpack(directory, &package, room) {
                self.work().done.insert(package.sha256, file);
            }
        }
    }

    fn unpack(&self, directory: &OwnedFd, package: &Package, room: u64) -> Option<(File, u64)> {
        let packed = open(directory, &package.key(), &package.sha256).ok()?;
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.folder, ".", flags, mode).ok()?);
        // The archive is longer than the files in it, but not by much.
        let most = room.saturating_add(room / 4).min(AHEAD);
        let length = deb::unpack_data(&package.key(), packed, most, &mut file).ok()??;
        file.rewind().ok()?;
        Some((file, length))
    }

    /// The archive of a package, if it has been unpacked; waits for it if it is being.
    fn take(&self, digest: &str) -> Option<File> {
        let taken = self.wait(|work| {
            if work.current.as_deref() == Some(digest) {
                return None;
            }
            work.queue.retain(|(package, _)| package.sha256 != digest);
            let done = work.done.remove(digest);
            Some(done.map(|(file, _)| file))
        });
        // There is room again.
        self.changed.notify_all();
        taken
    }
}
