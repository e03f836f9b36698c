//! The disk of the build before, which becomes the next one: of a disk with many gigabytes a
//! build often changes few, and what is equal in both is neither written nor read again.
//!
//! What the parts of a disk hold is told by a list of their digests, kept beside the layers of
//! the cache under the disk's own digest, which is that of the list. A disk is only changed
//! where it has one name and nobody has it open (fcntl(2), "Leases"): a copy that is being made
//! of it would be of neither image. It loses its name before it is changed, so that what a
//! stopped build leaves of it is taken for an image by nobody.
#![allow(unsafe_code)] // A lease is asked for by number; nix has no wrapper.

use super::error::Error;
use super::identity::digest_of_parts;
use super::job::{Job, Standing};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Suffix of a list.
pub const SUFFIX: &str = "parts";

/// `F_SETSIG` of fcntl(2) on Linux, which libc does not name.
const SET_SIGNAL: libc::c_int = 10;

/// What is known of the disk that stands, and the folders it goes through: all of it is opened
/// before a root is entered.
#[derive(Debug)]
pub struct Former {
    standing: OwnedFd,
    staging: OwnedFd,
    name: String,
    /// The digests of its parts.
    pub parts: Vec<[u8; 32]>,
}

impl Former {
    /// The disk that the job may change, if the list of its parts is kept in `lists`.
    pub fn find(job: &Job, lists: &Path) -> Option<Former> {
        let former = job.former.as_ref()?;
        let list = fs::read(list_of(lists, &former.digest)?).ok()?;
        let (parts, []) = list.as_chunks::<32>() else {
            return None;
        };
        if digest_of_parts(parts) != former.digest {
            return None;
        }
        Some(Former {
            standing: folder(former.path.parent()?).ok()?,
            staging: folder(&job.staging).ok()?,
            name: former.path.file_name()?.to_str()?.to_owned(),
            parts: parts.to_vec(),
        })
    }

    /// Takes the disk to the staging folder, if it has `size` bytes and is this build's alone.
    pub fn take(&self, size: u64, umask: u32) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let Ok(file) = openat(&self.standing, self.name.as_str(), flags, Mode::empty()) else {
            return Ok(None);
        };
        let file = File::from(file);
        let found = file.metadata()?;
        let suits = found.is_file() && found.nlink() == 1 && found.len() == size;
        if !suits || lease(&file, libc::F_WRLCK).is_err() {
            return Ok(None);
        }
        let name = self.name.as_str();
        let aside = format!("{name}.former");
        let aside = aside.as_str();
        let moved = renameat(&self.standing, name, &self.staging, aside);
        // Who opened it before it lost its name waits for the lease, and will read it.
        let alone = call(&file, libc::F_GETLEASE, 0) == Ok(libc::F_WRLCK);
        lease(&file, libc::F_UNLCK)?;
        moved?;
        if !alone {
            renameat(&self.staging, aside, &self.standing, name)?;
            return Ok(None);
        }
        renameat(&self.staging, aside, &self.staging, name)?;
        file.set_permissions(fs::Permissions::from_mode(0o666 & !umask))?;
        Ok(Some(file))
    }
}

/// Takes or returns a lease. It is refused where somebody else has the file open, where it is
/// somebody else's, and on filesystems that know no leases.
fn lease(file: &File, kind: libc::c_int) -> Result<(), Errno> {
    // Somebody who opens it is told by a signal: by one that ends nobody.
    call(file, SET_SIGNAL, libc::SIGURG)?;
    call(file, libc::F_SETLEASE, kind).map(drop)
}

fn call(file: &File, what: libc::c_int, value: libc::c_int) -> Result<libc::c_int, Errno> {
    // SAFETY: these calls take two numbers, and the descriptor is open.
    Errno::result(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), what, value) })
}

fn folder(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// Where the list of a disk with this digest stands.
fn list_of(lists: &Path, digest: &str) -> Option<std::path::PathBuf> {
    let hex = digest.split_once(':')?.1;
    Some(lists.join(format!("{hex}.{SUFFIX}")))
}

/// The folder of the lists, for a process that goes out of reach of it.
#[derive(Debug)]
pub struct Lists(OwnedFd);

impl Lists {
    /// Opens the folder.
    pub fn open(lists: &Path) -> Result<Lists, Error> {
        let opened = folder(lists);
        let failed = |errno: Errno| Error::io("cannot open", lists)(errno.into());
        opened.map(Lists).map_err(failed)
    }

    /// Keeps the list of a disk that was written, in the place of the one before.
    pub fn keep(
        &self,
        digest: &str,
        parts: &[[u8; 32]],
        former: Option<&Standing>,
    ) -> io::Result<()> {
        let name = |digest: &str| list_of(Path::new(""), digest);
        if let Some(gone) = former.and_then(|former| name(&former.digest)) {
            let _ = unlinkat(&self.0, &gone, UnlinkatFlags::NoRemoveDir);
        }
        let Some(name) = name(digest) else {
            return Ok(());
        };
        let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        // A list that is cut short is not what its name says, and believed by nobody.
        let file = openat(&self.0, &name, flags, mode)?;
        File::from(file).write_all(parts.as_flattened())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Place {
        folder: tempfile::TempDir,
        former: Former,
    }

    /// A disk of 4096 bytes in `out`, and an empty `staging`.
    fn place() -> Place {
        let made = tempfile::tempdir().unwrap();
        let at = |name: &str| made.path().join(name);
        fs::create_dir(at("out")).unwrap();
        fs::create_dir(at("staging")).unwrap();
        fs::write(at("out/box.raw"), [7; 4096]).unwrap();
        let former = Former {
            standing: folder(&at("out")).unwrap(),
            staging: folder(&at("staging")).unwrap(),
            name: "box.raw".into(),
            parts: Vec::new(),
        };
        Place {
            folder: made,
            former,
        }
    }

    impl Place {
        fn at(&self, name: &str) -> std::path::PathBuf {
            self.folder.path().join(name)
        }

        /// Whether the disk is taken; where it is not, it stands as before.
        fn taken(&self, size: u64) -> bool {
            let taken = self.former.take(size, 0o027).unwrap();
            let (out, staging) = (self.at("out/box.raw"), self.at("staging/box.raw"));
            assert_eq!(out.exists(), taken.is_none());
            assert_eq!(staging.exists(), taken.is_some());
            taken.is_some()
        }
    }

    #[test]
    fn a_disk_that_nobody_has_is_taken() {
        let place = place();
        assert!(place.taken(4096));
        let mode = fs::metadata(place.at("staging/box.raw")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(!place.at("out/box.raw").exists());
    }

    #[test]
    fn a_disk_that_somebody_reads_or_keeps_or_that_has_another_size_stays() {
        let read = place();
        let open = File::open(read.at("out/box.raw")).unwrap();
        assert!(!read.taken(4096));
        drop(open);
        assert!(read.taken(4096));

        let linked = place();
        fs::hard_link(linked.at("out/box.raw"), linked.at("kept")).unwrap();
        assert!(!linked.taken(4096));

        assert!(!place().taken(8192));

        let named = place();
        fs::rename(named.at("out/box.raw"), named.at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(named.at("elsewhere"), named.at("out/box.raw")).unwrap();
        assert!(named.former.take(4096, 0).unwrap().is_none());
        assert!(named.at("elsewhere").exists());
    }

    #[test]
    fn somebody_who_opens_a_disk_while_it_is_taken_ends_nothing() {
        let place = place();
        let (path, over) = (place.at("out/box.raw"), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&over);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                while !seen.load(Ordering::SeqCst) {
                    let _ = File::open(&path);
                }
            }
        });
        let mut taken = 0;
        for _ in 0..2000 {
            match place.former.take(4096, 0).unwrap() {
                None => assert!(path.exists(), "it is where it was"),
                Some(_) => {
                    taken += 1;
                    fs::rename(place.at("staging/box.raw"), &path).unwrap();
                }
            }
        }
        over.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        assert!(path.exists() && fs::read_dir(place.at("staging")).unwrap().count() == 0);
        println!("taken {taken} times");
    }

    #[test]
    fn a_list_is_found_under_the_digest_of_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let parts = [[1; 32], [2; 32]];
        let digest = digest_of_parts(&parts);
        let lists = Lists::open(folder.path()).unwrap();
        lists.keep(&digest, &parts, None).unwrap();
        let kept = fs::read(list_of(folder.path(), &digest).unwrap()).unwrap();
        assert_eq!(kept, parts.as_flattened());
        let former = Standing {
            path: "box.raw".into(),
            digest,
        };
        let next = digest_of_parts(&parts[1..]);
        lists.keep(&next, &parts[1..], Some(&former)).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].path(), list_of(folder.path(), &next).unwrap());
    }
}
