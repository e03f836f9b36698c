//! Unpacking the data archives of packages into the root of the image.
//!
//! The caller has made the image's root its own root (or gives a directory, in tests), so a
//! link in a package cannot lead out of it. Many packages are unpacked at once; where two
//! disagree, the result does not depend on which was faster.

mod archive;

use super::deb::{self, Control};
use super::diversion::Diversions;
use super::dpkg::Database;
use super::error::Error;
use super::ground::Ground;
use super::member::{Meta, canonical, names};
use super::store::{Data, Store};
use crate::packages::lock::Package;
use crate::profile::Exclude;
use archive::Archive;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A package of the role with its control archive.
#[derive(Debug)]
pub struct Loaded<'a> {
    /// What the lock says.
    pub package: &'a Package,
    /// Its control archive.
    pub control: Control,
}

/// Bytes that the files of a package may hold: four times what it announces, since
/// `Installed-Size` (deb-control(5)) is an estimate in KiB; 256 MiB for one that announces
/// little or nothing, and never more than [`deb::LARGEST`].
pub fn room(control: &Control) -> u64 {
    let announced = control.field("Installed-Size").unwrap_or_default();
    let announced = announced.parse().unwrap_or(0_u64).saturating_mul(1024);
    announced.saturating_mul(4).clamp(256 << 20, deb::LARGEST)
}

/// What unpacking one package leaves for dpkg's database.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Unpacked {
    /// Absolute paths in the order of the archive, `/.` first.
    pub list: Vec<String>,
    /// Configuration files and their MD5 digests.
    pub conffiles: Vec<(String, String)>,
}

/// Verifies the packages and reads their control archives, in parallel.
pub fn load<'a>(store: &Store, packages: &[&'a Package]) -> Result<Vec<Loaded<'a>>, Error> {
    packages
        .par_iter()
        .map(|package| {
            let control = deb::control(&package.key(), store.verified(package)?)?;
            Ok(Loaded { package, control })
        })
        .collect()
}

/// Unpacks packages into one root and remembers which file belongs to which of them.
#[derive(Debug)]
pub struct Unpacker {
    root: PathBuf,
    exclude: Exclude,
    /// (who replaces, whose files).
    replaces: BTreeSet<(String, String)>,
    state: Mutex<State>,
    ground: Ground,
}

#[derive(Debug, Default)]
struct State {
    /// Canonical path of a file or link → name of the package it belongs to.
    owners: HashMap<Vec<u8>, String>,
    /// The same for packages of the layers below, folders among them.
    below: HashMap<Vec<u8>, String>,
    /// Files taken over: (loser, path as listed).
    lost: BTreeSet<(String, String)>,
    /// Such files as their winners ship them, put in place when all packages are unpacked.
    won: Vec<Won>,
    /// Directories made in this batch.
    made: BTreeMap<PathBuf, Meta>,
    /// The first failure's siblings stop early.
    failed: bool,
}

/// A file that its package takes over from another one: it stands beside its place until nobody
/// writes there any more.
#[derive(Debug)]
struct Won {
    winner: String,
    /// Its canonical path.
    key: Vec<u8>,
    aside: PathBuf,
    target: PathBuf,
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Claim {
    /// Nobody else's so far.
    Mine,
    /// Another package ships it too, and this one replaces that.
    Won,
    /// Another package has it, and keeps it.
    Lost,
}

impl Unpacker {
    /// An unpacker into `root`, which exists, for these packages and no others.
    pub fn new(root: impl Into<PathBuf>, packages: &[&Loaded], exclude: &Exclude) -> Unpacker {
        let mut replaces = BTreeSet::new();
        for loaded in packages {
            let field = loaded.control.field("Replaces").unwrap_or_default();
            replaces.extend(names(field).map(|of| (loaded.package.name.clone(), of.to_owned())));
        }
        Unpacker {
            root: root.into(),
            exclude: exclude.clone(),
            replaces,
            state: Mutex::default(),
            ground: Ground::default(),
        }
    }

    /// An unpacker of further packages into a root in which others are configured.
    pub fn above(
        root: impl Into<PathBuf>,
        known: &[&Loaded],
        packages: &[&Loaded],
        exclude: &Exclude,
    ) -> Result<Unpacker, Error> {
        let all: Vec<&Loaded> = known.iter().chain(packages).copied().collect();
        let unpacker = Unpacker::new(root, &all, exclude);
        let database = Database::new(&unpacker.root);
        let diversions = Diversions::parse(&database.read("diversions")?);
        let mut below = HashMap::new();
        for loaded in known {
            let name = loaded.package.name.as_str();
            for path in database.list(loaded)?.lines() {
                let landing = diversions.landing(path, name);
                let key = canonical(landing.trim_start_matches('/')).into_bytes();
                below.insert(key, name.to_owned());
            }
        }
        unpacker.state().below = below;
        Ok(unpacker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unpacks packages in parallel; results stand in the order of `packages`.
    pub fn unpack(
        &self,
        store: &Store,
        packages: &[&Loaded],
        diversions: &Diversions,
    ) -> Result<Vec<Unpacked>, Error> {
        let _processors = store.hold();
        let mut largest: Vec<usize> = (0..packages.len()).collect();
        largest.sort_by_key(|&index| std::cmp::Reverse(packages[index].package.size));
        let mut done = largest
            .par_iter()
            .with_max_len(1)
            .map(|&index| {
                if self.state().failed {
                    return Ok((index, Unpacked::default()));
                }
                let result = self.one(store, packages[index], index, diversions);
                if result.is_err() {
                    self.state().failed = true;
                }
                result.map(|unpacked| (index, unpacked))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        done.sort_by_key(|(index, _)| *index);
        self.settle_won()?;
        let made = std::mem::take(&mut self.state().made);
        for (path, directory) in made {
            directory
                .apply(&path)
                .map_err(Error::io("cannot set up", &path))?;
        }
        Ok(done.into_iter().map(|(_, unpacked)| unpacked).collect())
    }

    /// Puts what packages took over from each other in its place.
    fn settle_won(&self) -> Result<(), Error> {
        let won = std::mem::take(&mut self.state().won);
        for file in won {
            let Won { aside, target, .. } = &file;
            let put = if self.state().owners.get(&file.key) == Some(&file.winner) {
                fs::rename(aside, target)
            } else {
                fs::remove_file(aside)
            };
            put.map_err(Error::io("cannot unpack", target))?;
        }
        Ok(())
    }

    /// Files that another package took over from `package`, as they stood in its list.
    pub fn lost(&self, package: &str) -> BTreeSet<String> {
        let state = self.state();
        let lost = state.lost.iter().filter(|(loser, _)| loser == package);
        lost.map(|(_, path)| path.clone()).collect()
    }

    /// Files that packages which are none of these lost: package → paths as listed.
    pub fn taken(&self, packages: &[&Loaded]) -> BTreeMap<String, BTreeSet<String>> {
        let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (loser, path) in &self.state().lost {
            if packages.iter().all(|loaded| loaded.package.name != *loser) {
                taken.entry(loser.clone()).or_default().insert(path.clone());
            }
        }
        taken
    }

    fn one(
        &self,
        store: &Store,
        loaded: &Loaded,
        order: usize,
        diversions: &Diversions,
    ) -> Result<Unpacked, Error> {
        let key = loaded.package.key();
        let room = room(&loaded.control);
        let archive = Archive::new(self, loaded, order, diversions);
        let read = |tar: &mut deb::Tar| archive.unpack(tar);
        match store.data(loaded.package)? {
            Data::Packed(file) => deb::data(&key, file, room, read),
            Data::Plain(file) => deb::plain(&key, file, room, read),
        }
    }

    /// Makes a directory, or agrees with the one that is there.
    fn directory(&self, path: &str, meta: Meta) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        let target = self.root.join(path);
        let key = self.root.join(canonical(path));
        let mut state = self.state();
        if let Some(found) = state.made.get_mut(&key) {
            if meta.order < found.order {
                *found = meta;
            }
            return Ok(());
        }
        match fs::create_dir(&target) {
            Ok(()) => {
                state.made.insert(key, meta);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(state);
                self.parents(&target)
                    .map_err(Error::io("cannot make", &target))?;
                self.directory(path, meta)
            }
            Err(error) => Err(Error::io("cannot make", &target)(error)),
        }
    }

    /// Makes the directories above `target` that no package has made yet.
    fn parents(&self, target: &Path) -> io::Result<()> {
        let plain = Meta {
            order: usize::MAX,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        let mut missing = Vec::new();
        for parent in target.ancestors().skip(1) {
            if parent == self.root || parent.is_dir() {
                break;
            }
            missing.push(parent.to_path_buf());
        }
        let mut state = self.state();
        for parent in missing.into_iter().rev() {
            match fs::create_dir(&parent) {
                Ok(()) => {
                    state.made.insert(parent, plain);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does `make`, after parents were made and what stood there before was removed.
    fn place<T>(&self, target: &Path, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut result = make();
        for _ in 0..2 {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.parents(target)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let found = fs::symlink_metadata(target)?.file_type();
                    if found.is_dir() || found.is_block_device() {
                        return Err(io::ErrorKind::IsADirectory.into());
                    }
                    fs::remove_file(target)?;
                }
                _ => return result,
            }
            result = make();
        }
        result
    }

    /// Whose `landing` is, now that `loaded` ships it; by `Replaces` when another package does.
    /// Nobody loses what is `skipped`, as nobody has it.
    fn claim(
        &self,
        landing: &str,
        listed: &str,
        loaded: &Loaded,
        skipped: bool,
    ) -> Result<Claim, Error> {
        let name = &loaded.package.name;
        let key = canonical(landing).into_bytes();
        let mut state = self.state();
        let below = || {
            let owner = state.below.get(&key)?;
            if skipped {
                return Some(owner.clone());
            }
            let found = fs::symlink_metadata(self.root.join(landing)).ok()?;
            (!found.is_dir()).then(|| owner.clone())
        };
        let Some(owner) = state.owners.get(&key).cloned().or_else(below) else {
            state.owners.insert(key, name.clone());
            return Ok(Claim::Mine);
        };
        if owner == *name {
            return Ok(Claim::Mine);
        }
        if self.replaces.contains(&(name.clone(), owner.clone())) {
            state.owners.insert(key, name.clone());
            if !skipped {
                state.lost.insert((owner, listed.to_owned()));
            }
            return Ok(Claim::Won);
        }
        if self.replaces.contains(&(owner.clone(), name.clone())) {
            if !skipped {
                state.lost.insert((name.clone(), listed.to_owned()));
            }
            return Ok(Claim::Lost);
        }
        // In one order, whichever of the two was faster.
        let mut both = [owner, name.clone()];
        both.sort();
        let [first, second] = both;
        Err(Error::Conflict {
            path: format!("/{}", canonical(landing)),
            first,
            second,
        })
    }
}
