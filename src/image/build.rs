//! The workstation's side of a build: a folder for the work next to where the image will
//! stand, the process that makes it, and the moment in which a finished image appears.

use super::agent;
use super::compare::compare;
use super::disk;
use super::error::Error;
use super::identity::digest_file;
use super::job::{Failure, Format, Job, Standing};
use super::layout::Layout;
use super::manifest::{self, Manifest};
use super::namespace;
use super::standing;
use super::worker::{FAILURE, LOG, MANIFEST};
use crate::packages::cache::Cache;
use crate::packages::lock::Lock;
use crate::profile::{Role, Stack};
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Where and when an image is made again to be compared: as nobody builds by habit.
const OTHERWISE: [(&str, &str); 6] = [
    ("HOME", "/nonexistent"),
    ("LANG", "tr_TR.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
    ("RAYON_NUM_THREADS", "1"),
    ("TMPDIR", "/nonexistent"),
    ("TZ", "Pacific/Kiritimati"),
];

/// What is common to all images of one `muster build`.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its lock; everything it pins for the roles is in the cache.
    pub lock: &'a Lock,
    /// The cache.
    pub cache: &'a Cache,
    /// Folder of the images.
    pub out: &'a Path,
    /// How disks are stored.
    pub format: Format,
    /// The agent's binary; this program when absent.
    pub agent: Option<&'a Path>,
    /// Text of `image/layout.toml`.
    pub layout: &'a str,
    /// Text of `image/grub.cfg`.
    pub grub: &'a str,
}

/// A finished image.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The disk.
    pub image: PathBuf,
    /// Whether it was there already, made from the same by the same program.
    pub unchanged: bool,
    /// What it was made from, and what came out.
    pub manifest: Manifest,
}

/// Signals that stop a build without leaving anything behind.
#[derive(Debug)]
pub struct Interrupts {
    stopped: AtomicBool,
    child: AtomicI32,
}

impl Interrupts {
    /// From now on SIGINT, SIGTERM and SIGHUP stop the process that makes an image and not this
    /// one, which is left to clean up; without such a process they end this one. Called while
    /// the process has one thread.
    pub fn catch() -> Result<&'static Interrupts, Error> {
        static CAUGHT: Interrupts = Interrupts {
            stopped: AtomicBool::new(false),
            child: AtomicI32::new(0),
        };
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals
            .thread_block()
            .map_err(Error::namespace("cannot take signals"))?;
        std::thread::spawn(move || {
            while signals.wait().is_ok() {
                CAUGHT.stopped.store(true, Ordering::SeqCst);
                if !CAUGHT.stop() {
                    std::process::exit(130);
                }
            }
        });
        Ok(&CAUGHT)
    }

    fn stop(&self) -> bool {
        let child = self.child.load(Ordering::SeqCst);
        child > 0 && kill(Pid::from_raw(child), Signal::SIGKILL).is_ok()
    }

    fn run(&self, job: &Path, variables: &[(&str, &str)]) -> Result<bool, Error> {
        let mut command = namespace::command("enter", job);
        let spawned = command.envs(variables.iter().copied()).spawn();
        let mut child = spawned.map_err(Error::io("cannot start", "/proc/self/exe"))?;
        self.child
            .store(i32::try_from(child.id()).unwrap_or(0), Ordering::SeqCst);
        if self.stopped.load(Ordering::SeqCst) {
            self.stop();
        }
        let status = child.wait();
        self.child.store(0, Ordering::SeqCst);
        let status = status.map_err(Error::io("cannot wait for", "/proc/self/exe"))?;
        match self.stopped.load(Ordering::SeqCst) {
            true => Err(Error::Interrupted),
            false => Ok(status.success()),
        }
    }
}

/// Whether images of these roles can be made here at all, as far as can be known beforehand.
///
/// # Errors
/// A role the stack does not have, an agent that cannot run there, a folder that cannot be
/// written, a caller who may not enter namespaces.
pub fn check(
    stack: &Stack,
    roles: &[String],
    out: &Path,
    agent: Option<&Path>,
) -> Result<(), Error> {
    for role in roles {
        agent::choose(agent, architecture(stack, known(stack, role)?))?;
    }
    namespace::permitted()?;
    let refused = |source| Error::Out {
        path: out.to_owned(),
        source,
    };
    fs::create_dir_all(out).map_err(refused)?;
    tempfile::NamedTempFile::new_in(out)
        .map(drop)
        .map_err(refused)
}

fn architecture<'s>(stack: &'s Stack, role: &Role) -> &'s str {
    let base = stack.bases.get(&role.base);
    base.map_or("amd64", |base| base.architecture.as_str())
}

fn known<'s>(stack: &'s Stack, role: &str) -> Result<&'s Role, Error> {
    let found = stack.roles.iter().find(|found| found.name == role);
    found.ok_or_else(|| Error::NoRole {
        stack: stack.name.clone(),
        role: role.to_owned(),
        known: stack.roles.iter().map(|role| role.name.clone()).collect(),
    })
}

impl Request<'_> {
    /// Makes the image of one role. Until it is complete nothing of it stands under its name. An
    /// older image there stays as it is until the new disk is written, which may be made from it.
    pub fn build(&self, role: &str, interrupts: &Interrupts) -> Result<Built, Error> {
        let folder = Folder::claim(self.out, role)?;
        let mut job = self.job(role, &folder.path)?;
        if let Some(built) = self.standing(&job)? {
            if self.is_what(&job, &built.manifest)? {
                return Ok(built);
            }
            job.former = former(&job, built);
        }
        let log = self.out.join(format!("{role}.log"));
        make(&job, &folder, &log, interrupts, &[])?;
        self.publish(&job)
    }

    /// Makes the image of a role once more, from the packages alone and under other conditions,
    /// and compares it with the one that was built.
    pub fn check(&self, built: &Built, interrupts: &Interrupts) -> Result<(), Error> {
        let role = built.manifest.role.as_str();
        let folder = Folder::claim(self.out, &format!("{role}.again"))?;
        let mut job = self.job(role, &folder.path)?;
        job.layers = false;
        job.umask = 0o077;
        let log = self.out.join(format!("{role}.again.log"));
        make(&job, &folder, &log, interrupts, &OTHERWISE)?;
        let again = read_manifest(&job.staging.join(MANIFEST))?;
        let digests = |manifest: &Manifest| -> Vec<String> {
            let outputs = manifest.outputs.values();
            outputs.map(|output| output.digest.clone()).collect()
        };
        if digests(&again) == digests(&built.manifest) {
            let _ = fs::remove_file(log);
            return Ok(());
        }
        let name = built.image.file_name().unwrap_or_default();
        let second = job.staging.join(name);
        let found = disk::image::open(&built.image).and_then(|first| {
            let second = disk::image::open(&second)?;
            compare(&*first, &*second)
        });
        Err(Error::Unlike {
            role: role.to_owned(),
            differences: found.map_err(Error::io("cannot read", &built.image))?,
        })
    }

    /// Whether the image of a role that stands there, in whichever format, is what a build would
    /// make now. Without a manifest there is nothing to say against it.
    pub fn is_current(&self, role: &str) -> Result<bool, Error> {
        let manifest = self.manifest(role);
        let job = self.job(role, self.out)?;
        manifest.map_or(Ok(true), |manifest| self.is_what(&job, &manifest))
    }

    fn job(&self, role: &str, folder: &Path) -> Result<Job, Error> {
        let found = known(self.stack, role)?;
        let agent = agent::choose(self.agent, architecture(self.stack, found))?;
        let builder = digest_file(Path::new("/proc/self/exe"))?;
        Ok(Job {
            stack: self.stack.clone(),
            role: role.to_owned(),
            lock: self.lock.clone(),
            cache: absolute(self.cache.root())?,
            layers: true,
            work: folder.join("work"),
            staging: folder.join("staging"),
            agent_sha256: match self.agent {
                Some(_) => digest_file(&agent)?,
                None => builder.clone(),
            },
            agent,
            builder_sha256: builder,
            umask: umask(),
            format: self.format,
            layout: Layout::parse(self.layout)?,
            grub: self.grub.to_owned(),
            epoch: epoch(self.lock, self.stack, found)?,
            former: None,
        })
    }

    /// Whether a build now would make what the manifest tells of: from the same inputs, by the
    /// same program.
    fn is_what(&self, job: &Job, manifest: &Manifest) -> Result<bool, Error> {
        Ok(manifest.inputs.builder == job.builder_sha256 && manifest.image_id == job.image_id()?)
    }

    fn manifest_path(&self, role: &str) -> PathBuf {
        self.out.join(format!("{role}.manifest.json"))
    }

    /// The manifest beside the image that is there, if it is one of ours.
    fn manifest(&self, role: &str) -> Option<Manifest> {
        let text = fs::read(self.manifest_path(role)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The image of this format that is there, if nobody has written to it since its manifest was.
    fn standing(&self, job: &Job) -> Result<Option<Built>, Error> {
        let Some(manifest) = self.manifest(&job.role) else {
            return Ok(None);
        };
        let path = self.manifest_path(&job.role);
        let same = manifest.version == manifest::VERSION && manifest.format == job.format;
        if !same || !matches!(standing::changed(&manifest, &path), Ok(None)) {
            return Ok(None);
        }
        Ok(Some(Built {
            image: self.image(job),
            unchanged: true,
            manifest,
        }))
    }

    fn image(&self, job: &Job) -> PathBuf {
        let name = format!("{}.{}", job.role, job.format.suffix());
        self.out.join(name)
    }

    /// Moves the results to their names; the manifest last, so that one that is there always
    /// speaks of the files beside it.
    fn publish(&self, job: &Job) -> Result<Built, Error> {
        let manifest = read_manifest(&job.staging.join(MANIFEST))?;
        let last = format!("{}.manifest.json", job.role);
        let stale = self.out.join(&last);
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("cannot remove", &stale)(error));
            }
            _ => {}
        }
        let outputs = manifest.outputs.values().map(|output| output.file.as_str());
        let files: Vec<(&str, &str)> = outputs
            .map(|file| (file, file))
            .chain([(MANIFEST, last.as_str())])
            .collect();
        for (staged, name) in files {
            let (from, to) = (job.staging.join(staged), self.out.join(name));
            replace(&from, &to).map_err(Error::io("cannot write", &to))?;
        }
        Ok(Built {
            image: self.image(job),
            unchanged: false,
            manifest,
        })
    }
}

/// A raw disk that stands, to be made the next one.
fn former(job: &Job, built: Built) -> Option<Standing> {
    let disk = built.manifest.outputs.get("image")?;
    (job.format == Format::Raw).then(|| Standing {
        path: built.image,
        digest: disk.digest.clone(),
    })
}

/// Moves a file to its place. What stood there takes its own, since a filesystem may have what
/// replaces a file on the disk before it goes on.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE) {
        // Nothing stands there, or the filesystem cannot do that.
        Err(_) => fs::rename(from, to),
        Ok(()) => Ok(()),
    }
}

/// Has the process that makes an image make it; what its programs say goes to `log`.
fn make(
    job: &Job,
    folder: &Folder,
    log: &Path,
    interrupts: &Interrupts,
    variables: &[(&str, &str)],
) -> Result<(), Error> {
    // The root has programs with the modes that their packages ask for, setuid among them.
    for (path, mode) in [(&job.work, 0o700), (&job.staging, 0o777)] {
        let made = fs::DirBuilder::new().mode(mode).create(path);
        made.map_err(Error::io("cannot make", path))?;
    }
    let path = folder.path.join("job.json");
    let text = serde_json::to_vec(job)
        .map_err(|error| Error::Layout(format!("the job does not fit JSON: {error}")))?;
    fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
    let succeeded = interrupts.run(&path, variables);
    let _ = fs::rename(job.staging.join(LOG), log);
    match succeeded? {
        true => Ok(()),
        false => Err(failure(&job.staging, &job.role, log)),
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let text = fs::read(path).map_err(Error::io("cannot read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::Layout(format!("the manifest was not written: {error}")))
}

/// The folder of one build, held against other builds of the same role and removed at the end.
struct Folder {
    path: PathBuf,
    _held: Flock<File>,
}

impl Folder {
    /// Takes `out/.<role>.building`, and clears what an interrupted build left in it.
    fn claim(out: &Path, role: &str) -> Result<Folder, Error> {
        let path = absolute(out)?.join(format!(".{role}.building"));
        fs::create_dir_all(&path).map_err(Error::io("cannot make", &path))?;
        let directory = File::open(&path).map_err(Error::io("cannot read", &path))?;
        let held = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, nix::Error::EWOULDBLOCK)) => {
                return Err(Error::Busy {
                    role: role.to_owned(),
                    path,
                });
            }
            Err((_, errno)) => return Err(Error::io("cannot lock", &path)(errno.into())),
        };
        for entry in fs::read_dir(&path)
            .map_err(Error::io("cannot read", &path))?
            .flatten()
        {
            let left = entry.path();
            match left.is_dir() {
                true => namespace::remove(&left)?,
                false => fs::remove_file(&left).map_err(Error::io("cannot remove", &left))?,
            }
        }
        Ok(Folder { path, _held: held })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        let _ = namespace::remove(&self.path);
    }
}

fn failure(staging: &Path, role: &str, log: &Path) -> Error {
    let text = fs::read(staging.join(FAILURE)).unwrap_or_default();
    let failure = serde_json::from_slice(&text).unwrap_or(Failure {
        message: format!("the process that makes the image of {role} died"),
        hint: String::new(),
    });
    let shown = format!("all output is in {}", log.display());
    let hint = match failure.hint.as_str() {
        "" => shown,
        hint => format!("{hint}\n{shown}"),
    };
    Error::Worker {
        message: failure.message,
        hint,
    }
}

/// The newest release that the role was locked from: the time of its image, seconds since 1970.
pub fn epoch(lock: &Lock, stack: &Stack, role: &Role) -> Result<i64, Error> {
    let base = stack.bases.get(&role.base);
    let archives = base.into_iter().flat_map(|base| &base.archives);
    let archives: Vec<_> = archives.filter(|archive| archive.is_for(role)).collect();
    let mut newest = 0;
    for release in lock.releases.iter().filter(|release| {
        let known = archives
            .iter()
            .any(|archive| archive.name == release.archive);
        release.base == role.base && known
    }) {
        let date: jiff::Timestamp = release.date.parse().map_err(|error| {
            Error::Layout(format!(
                "the lock's date `{}` is not one: {error}",
                release.date
            ))
        })?;
        newest = newest.max(date.as_second());
    }
    Ok(newest)
}

/// This process's umask (proc_pid_status(5)).
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("Umask:"));
    let mask = mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
    mask.unwrap_or(0o022)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io("cannot find", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_build_clears_what_an_interrupted_one_left() {
        let out = tempfile::tempdir().unwrap();
        let left = out.path().join(".office.building/staging");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("office.raw"), b"half").unwrap();
        let folder = Folder::claim(out.path(), "office").unwrap();
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
        drop(folder);
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_builds_of_one_role_do_not_share_a_folder() {
        let out = tempfile::tempdir().unwrap();
        let _first = Folder::claim(out.path(), "office").unwrap();
        let second = Folder::claim(out.path(), "office").map(|_| ()).unwrap_err();
        assert!(
            second
                .to_string()
                .starts_with("another build of office is running in ")
        );
        assert!(Folder::claim(out.path(), "files").is_ok());
    }
}
