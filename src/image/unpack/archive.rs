//! The data archive of one package: each member is looked at, put in its place and listed.

use super::{Claim, Loaded, Unpacked, Unpacker, Won};
use crate::image::deb::{self, Entry};
use crate::image::diversion::Diversions;
use crate::image::error::{Error, Refusal};
use crate::image::exclude::NEVER_THERE;
use crate::image::member::{Kind, Member, Meta, Unreadable, canonical};
use md5::{Digest, Md5};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// A package that is being unpacked.
pub struct Archive<'a> {
    into: &'a Unpacker,
    loaded: &'a Loaded<'a>,
    /// When it would be unpacked if packages were unpacked one after the other.
    order: usize,
    diversions: &'a Diversions,
    conffiles: BTreeSet<String>,
    unpacked: Unpacked,
    shipped: BTreeSet<String>,
    /// Its symbolic links.
    links: BTreeSet<String>,
    /// What stays out, and the folders among it.
    excluded: BTreeSet<String>,
    /// Where those files stand that another package ships too.
    aside: HashMap<String, PathBuf>,
    /// Those of them that go.
    lost: Vec<PathBuf>,
    buffer: Vec<u8>,
}

impl<'a> Archive<'a> {
    /// The archive of a package that is to be unpacked by `into`.
    pub fn new(
        into: &'a Unpacker,
        loaded: &'a Loaded<'a>,
        order: usize,
        diversions: &'a Diversions,
    ) -> Archive<'a> {
        Archive {
            into,
            loaded,
            order,
            diversions,
            conffiles: loaded.control.conffiles().into_iter().collect(),
            unpacked: Unpacked::default(),
            shipped: BTreeSet::new(),
            links: BTreeSet::new(),
            excluded: BTreeSet::new(),
            aside: HashMap::new(),
            lost: Vec::new(),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Unpacks it.
    pub fn unpack(mut self, tar: &mut deb::Tar) -> Result<Unpacked, Error> {
        tar.each(|entry| self.member(entry))?;
        for path in &self.lost {
            fs::remove_file(path).map_err(Error::io("cannot remove", path))?;
        }
        Ok(self.unpacked)
    }

    fn member(&mut self, entry: &mut Entry) -> Result<(), Error> {
        let raw = entry.path_bytes().into_owned();
        let refused = |refusal| self.refused(&raw, refusal);
        let member = match Member::read(entry, self.order) {
            Ok(Some(member)) => member,
            Ok(None) => return Ok(()),
            Err(Unreadable::Damaged(error)) => return Err(self.damaged(&error)),
            Err(Unreadable::Refused(refusal)) => return Err(refused(refusal)),
        };
        let listed = member.listed();
        let leads_on = matches!(member.kind, Kind::Directory | Kind::Symlink(_));
        let path = listed.strip_suffix("/.").unwrap_or(&listed);
        let skipped = self.into.exclude.skips(path, leads_on);
        if let Some((folder, _)) = listed.rsplit_once('/')
            && !skipped
            && self.excluded.contains(folder)
        {
            return Err(self.cut(&listed, format!("lies in {folder}")));
        }
        if member.kind == Kind::Directory {
            if skipped {
                self.excluded.insert(listed.clone());
            } else {
                let path = self.settle(&member.path).map_err(refused)?;
                self.into.directory(&path, member.meta)?;
            }
            self.unpacked.list.push(listed);
            return Ok(());
        }
        let landing = self.landing(&listed).map_err(refused)?;
        if member.kind == Kind::Device {
            return Ok(());
        }
        let claim = self.into.claim(&landing, &listed, self.loaded, skipped)?;
        if skipped {
            self.skip(listed);
            return Ok(());
        }
        let target = self.target(&landing, &listed, claim);
        self.shipped.insert(listed.clone());
        if claim != Claim::Lost {
            self.unpacked.list.push(listed.clone());
        }
        let failed = |error| self.failed(&raw, &target, error);
        match member.kind {
            Kind::HardLink(source, written) => {
                let source = self.linked(&raw, &listed, &source, written)?;
                let link = || fs::hard_link(&source, &target);
                self.into.place(&target, link).map_err(failed)
            }
            Kind::Symlink(link) => {
                self.symlink(&target, &link, member.meta).map_err(failed)?;
                self.links.insert(member.path);
                Ok(())
            }
            Kind::File => {
                let digest = self.file(entry, &target, &listed, member.meta, &raw)?;
                if let Some(digest) = digest.filter(|_| claim != Claim::Lost) {
                    self.unpacked.conffiles.push((listed, digest));
                }
                Ok(())
            }
            _ => self.pipe(&target, member.meta).map_err(failed),
        }
    }

    /// What is left out. dpkg lists it all the same: it belongs to the package.
    fn skip(&mut self, listed: String) {
        if self.conffiles.contains(&listed) {
            let digest = NEVER_THERE.to_owned();
            self.unpacked.conffiles.push((listed.clone(), digest));
        }
        self.excluded.insert(listed.clone());
        self.unpacked.list.push(listed);
    }

    /// A path below the root, out of which no link of the package leads.
    fn settle(&self, path: &str) -> Result<String, Refusal> {
        let Unpacker { ground, root, .. } = self.into;
        ground.settle(root, path, &self.links)
    }

    /// The same of where a listed path lands, which may be diverted.
    fn landing(&self, listed: &str) -> Result<String, Refusal> {
        let name = &self.loaded.package.name;
        self.settle(&self.diversions.landing(listed, name)[1..])
    }

    /// Where a member is written: beside its place, if another package ships it too.
    fn target(&mut self, landing: &str, listed: &str, claim: Claim) -> PathBuf {
        let target = self.into.root.join(landing);
        if let Some(path) = self.aside.get(listed) {
            return path.clone();
        }
        if claim == Claim::Mine {
            return target;
        }
        let name = format!(".muster-{}-{}", self.order, self.aside.len());
        let path = target.with_file_name(name);
        self.aside.insert(listed.to_owned(), path.clone());
        match claim {
            Claim::Won => self.into.state().won.push(Won {
                winner: self.loaded.package.name.clone(),
                key: canonical(landing).into_bytes(),
                aside: path.clone(),
                target,
            }),
            _ => self.lost.push(path.clone()),
        }
        path
    }

    /// The file that a hard link stands for: one that this package has shipped before.
    fn linked(
        &self,
        raw: &[u8],
        listed: &str,
        source: &str,
        written: String,
    ) -> Result<PathBuf, Error> {
        let source = format!("/{source}");
        if self.excluded.contains(&source) {
            return Err(self.cut(listed, format!("is a hard link to {source}")));
        }
        if !self.shipped.contains(&source) {
            return Err(self.refused(raw, Refusal::HardLink(written)));
        }
        if let Some(path) = self.aside.get(&source) {
            return Ok(path.clone());
        }
        let landing = self.landing(&source);
        let landing = landing.map_err(|refusal| self.refused(raw, refusal))?;
        Ok(self.into.root.join(landing))
    }

    fn symlink(&self, target: &Path, link: &Path, meta: Meta) -> io::Result<()> {
        if !fs::read_link(target).is_ok_and(|found| found == link) {
            self.into.place(target, || symlink(link, target))?;
        }
        lchown(target, Some(meta.uid), Some(meta.gid))?;
        let time = TimeSpec::new(meta.mtime, 0);
        let flags = UtimensatFlags::NoFollowSymlink;
        Ok(utimensat(AT_FDCWD, target, &time, &time, flags)?)
    }

    fn pipe(&self, target: &Path, meta: Meta) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(meta.mode);
        self.into
            .place(target, || Ok(nix::unistd::mkfifo(target, mode)?))?;
        lchown(target, Some(meta.uid), Some(meta.gid))
    }

    /// Writes a file; the digest of a configuration file.
    fn file(
        &mut self,
        entry: &mut Entry,
        target: &Path,
        listed: &str,
        meta: Meta,
        raw: &[u8],
    ) -> Result<Option<String>, Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let failed = |error| self.failed(raw, target, error);
        let open = || {
            let mut options = OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            options.open(target)
        };
        let mut file = self.into.place(target, open).map_err(failed)?;
        let mut digest = self.conffiles.contains(listed).then(Md5::new);
        loop {
            let read = entry.read(&mut buffer);
            let read = read.map_err(|error| self.damaged(&error))?;
            if read == 0 {
                break;
            }
            if let Some(digest) = &mut digest {
                digest.update(&buffer[..read]);
            }
            file.write_all(&buffer[..read]).map_err(failed)?;
        }
        self.buffer = buffer;
        let applied = meta.apply_to(&file);
        applied.map_err(|error| self.failed(raw, target, error))?;
        Ok(digest.map(|digest| hex::encode(digest.finalize())))
    }

    fn refused(&self, raw: &[u8], refusal: Refusal) -> Error {
        Error::Refused {
            package: self.loaded.package.name.clone(),
            member: String::from_utf8_lossy(raw).into_owned(),
            refusal,
        }
    }

    /// Why something could not be made at `target`.
    fn failed(&self, raw: &[u8], target: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::IsADirectory => self.refused(raw, Refusal::Occupied),
            _ => Error::io("cannot unpack", target)(error),
        }
    }

    fn damaged(&self, error: &io::Error) -> Error {
        Error::Package {
            package: self.loaded.package.key(),
            reason: deb::truncated("data.tar", error),
        }
    }

    fn cut(&self, listed: &str, what: String) -> Error {
        Error::Excluded {
            package: self.loaded.package.name.clone(),
            path: listed.to_owned(),
            what,
        }
    }
}
