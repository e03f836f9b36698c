//! `muster build`: bootable images from a stack.

use super::out::say;
use super::{Cli, choice, exit, lock, out, progress, report, supplied};
use crate::console::progress::{Progress, Stage};
use crate::image::build::{Interrupts, Request, check};
use crate::image::job::Format;
use crate::packages::apt::mirror;
use crate::packages::artifact::supply;
use crate::packages::fetch::fetch;
use crate::packages::lock::{Lock, LockOptions, lock_stack};
use crate::packages::{Mirrors, PackagesError, Preferences, cache::Cache};
use crate::profile::{Source, Stack};
use std::path::{Path, PathBuf};

/// The file of the profiles that tells the partitions of every image.
const LAYOUT: &str = "image/layout.toml";
/// … and the one that becomes its boot loader's.
pub const GRUB: &str = "image/grub.cfg";

/// Options of `build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// Make the image of this role only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub role: Vec<String>,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// How the disks are stored
    #[arg(long, default_value = "raw")]
    pub format: Format,
    /// Put the images into DIR/<stack>
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Fetch an archive from here: URL, or ARCHIVE=URL
    #[arg(long, value_name = "URL", value_parser = mirror::option)]
    pub mirror: Vec<String>,
    /// Where files are that people supply.
    #[command(flatten)]
    pub supplied: supplied::Args,
    /// Work from the cache alone
    #[arg(long)]
    pub offline: bool,
    /// Fail if the lock is missing or stale, instead of making one
    #[arg(long)]
    pub locked: bool,
    /// Build a second time under other conditions, and say where the two images differ
    #[arg(long)]
    pub check: bool,
    /// The program that becomes the agent, instead of this one
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Where progress goes.
    #[command(flatten)]
    pub progress: progress::Args,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let interrupts = Interrupts::catch().map_err(report::image)?;
    let source = cli.source();
    let stack =
        Stack::load_with(&source, &args.stack, args.choice.choice()).map_err(report::profile)?;
    let all: Vec<String> = stack.roles.iter().map(|role| role.name.clone()).collect();
    let roles = if args.role.is_empty() {
        &all
    } else {
        &args.role
    };
    let out = args.out.join(&stack.name);
    // What must fail fails before anything is locked or fetched, which can take long.
    check(&stack, roles, &out, args.agent.as_deref()).map_err(report::image)?;
    let path = lock::path(cli, &args.stack)?;
    let cache = Cache::new(Cache::default_root());
    let progress = args.progress.sink()?;
    let lock = ready(args, &progress, &stack, &path, &cache)?;
    let request = Request {
        stack: &stack,
        lock: &lock,
        cache: &cache,
        out: &out,
        format: args.format,
        agent: args.agent.as_deref(),
        layout: &text(&source, LAYOUT)?,
        grub: &text(&source, GRUB)?,
    };
    for role in roles {
        let work = progress.begin(Stage::Image, role);
        let built = request.build(role, interrupts).map_err(report::image)?;
        work.done();
        if built.unchanged {
            say!("{role}: nothing has changed since this image was made");
        }
        if args.check {
            let work = progress.begin(Stage::Image, role);
            request.check(&built, interrupts).map_err(report::image)?;
            work.done();
            say!("{role}: a second build under other conditions gave the same bits");
        }
        out::write(format!("{}\n", built.image.display()))?;
    }
    Ok(exit::OK)
}

/// The lock, made if there is none that fits, with everything it names in the cache.
fn ready(
    args: &Args,
    progress: &Progress,
    stack: &Stack,
    path: &Path,
    cache: &Cache,
) -> miette::Result<Lock> {
    let packages = |error: PackagesError| report::packages(error);
    let previous = Lock::read_if_there(path).map_err(|error| packages(error.into()))?;
    let mirrors = Preferences::read(&args.mirror)
        .and_then(|mirrors| mirrors.fit(stack.bases.values()))
        .map_err(|error| packages(error.into()))?;
    let mirrors = Mirrors::choose(stack.bases.values(), &mirrors);
    let folder = args.supplied.folder(path);
    let lock = match previous {
        Some(lock) if !lock.is_stale(stack) => lock,
        _ if args.locked => {
            let state = if path.exists() {
                "is stale: the stack has changed since it was made"
            } else {
                "is not there"
            };
            return Err(report::plain(
                format!("{} {state}; --locked forbids to make one", path.display()),
                Some(format!("run `muster lock {}`", args.stack)),
            ));
        }
        previous => {
            let options = LockOptions {
                mirrors: &mirrors,
                cache,
                offline: args.offline,
                previous: previous.as_ref(),
                update: false,
                supplied: &folder,
                now: jiff::Timestamp::now(),
            };
            let work = progress.begin(Stage::Lock, &stack.name);
            let lock = lock_stack(stack, &options).map_err(packages)?.lock;
            lock.write(path).map_err(|error| packages(error.into()))?;
            work.done();
            say!("{} is written", path.display());
            lock
        }
    };
    let work = progress.begin(Stage::Fetch, &stack.name);
    let mirrors = (!args.offline).then_some(&mirrors);
    supply(&lock, cache, &folder).map_err(packages)?;
    fetch(&lock, cache, mirrors, work.bar()).map_err(packages)?;
    work.done();
    Ok(lock)
}

/// Whether the image of a role in this folder is known to be another than a build with the lock
/// that is there would make now. Of one that came without its lock nothing is known.
///
/// # Errors
/// A lock or a file of the profiles that cannot be used.
pub fn is_outdated(
    cli: &Cli,
    (name, stack): (&str, &Stack),
    out: &Path,
    role: &str,
) -> miette::Result<bool> {
    let lock = Lock::read_if_there(&lock::path(cli, name)?);
    let Some(lock) = lock.map_err(|error| report::packages(error.into()))? else {
        return Ok(false);
    };
    let source = cli.source();
    let request = Request {
        stack,
        lock: &lock,
        cache: &Cache::new(Cache::default_root()),
        out,
        format: Format::Raw,
        agent: None,
        layout: &text(&source, LAYOUT)?,
        grub: &text(&source, GRUB)?,
    };
    Ok(lock.is_stale(stack) || !request.is_current(role).map_err(report::image)?)
}

/// The text of a file of the profiles.
///
/// # Errors
/// A file that is not there or cannot be read.
pub fn text(source: &Source, path: &str) -> miette::Result<String> {
    let found = source.read(path).map_err(report::profile)?;
    let found = found.ok_or_else(|| report::plain(format!("there is no file {path}"), None))?;
    Ok(found.text.content.to_string())
}
