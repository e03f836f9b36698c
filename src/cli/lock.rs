//! `muster lock`: pins every package of every role.

use super::out::say;
use super::{Cli, choice, exit, out, progress, report, supplied};
use crate::console::progress::Stage;
use crate::packages::apt::mirror;
use crate::packages::lock::{Change, Lock, LockOptions, Locked, lock_stack};
use crate::packages::{Mirrors, PackagesError, Preferences, cache::Cache};
use crate::profile::Stack;
use crate::profile::source::StackPlace;
use std::path::PathBuf;

/// Options of `lock`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// Take the newest versions instead of keeping those of the lock
    #[arg(long)]
    pub update: bool,
    /// Fetch an archive from here: URL, or ARCHIVE=URL
    #[arg(long, value_name = "URL", value_parser = mirror::option)]
    pub mirror: Vec<String>,
    /// Where files are that people supply.
    #[command(flatten)]
    pub supplied: supplied::Args,
    /// Work from the cache alone
    #[arg(long)]
    pub offline: bool,
    /// What changed, as JSON (docs/schemas/lock.json)
    #[arg(long)]
    pub json: bool,
    /// Where progress goes.
    #[command(flatten)]
    pub progress: progress::Args,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let source = cli.source();
    let stack =
        Stack::load_with(&source, &args.stack, args.choice.choice()).map_err(report::profile)?;
    let path = path(cli, &args.stack)?;
    let work = args.progress.sink()?.begin(Stage::Lock, &stack.name);
    let locked = make(&stack, &path, args).map_err(report::packages)?;
    let unchanged = Lock::read_if_there(&path).is_ok_and(|lock| lock == Some(locked.lock.clone()));
    if !unchanged {
        locked
            .lock
            .write(&path)
            .map_err(|error| report::packages(error.into()))?;
    }
    work.done();
    if args.json {
        out::write(format!("{}\n", json(&locked, &path)))?;
    } else {
        out::write(told(&locked, &path, unchanged))?;
    }
    Ok(exit::OK)
}

/// Where the lock of a stack stands: beside its stack.toml, or `./<stack>/muster.lock`.
pub fn path(cli: &Cli, stack: &str) -> miette::Result<PathBuf> {
    let place = cli.source().locate(stack).map_err(report::profile)?;
    Ok(match place {
        StackPlace::Directory(folder) => folder.join("muster.lock"),
        StackPlace::Named(name) => PathBuf::from(name).join("muster.lock"),
    })
}

fn make(stack: &Stack, path: &std::path::Path, args: &Args) -> Result<Locked, PackagesError> {
    let previous = Lock::read_if_there(path)?;
    let mirrors = Preferences::read(&args.mirror)?.fit(stack.bases.values())?;
    let mirrors = Mirrors::choose(stack.bases.values(), &mirrors);
    lock_stack(
        stack,
        &LockOptions {
            mirrors: &mirrors,
            cache: &Cache::new(Cache::default_root()),
            offline: args.offline,
            previous: previous.as_ref(),
            update: args.update,
            supplied: &args.supplied.folder(path),
            now: jiff::Timestamp::now(),
        },
    )
}

/// What `--json` prints (docs/schemas/lock.json).
pub fn json(locked: &Locked, path: &std::path::Path) -> serde_json::Value {
    serde_json::json!({
        "lock": path,
        "packages": locked.lock.packages.len(),
        "changes": locked.changes,
        "renewed": locked.renewed,
        "phased": locked.phased,
        "solve-seconds": locked.solved_in.as_secs_f64(),
    })
}

/// The same for people; what does not stand in the file goes to standard error.
fn told(locked: &Locked, path: &std::path::Path, unchanged: bool) -> String {
    let mut text = String::new();
    let lock = &locked.lock;
    for base in &locked.renewed {
        say!("{base}: the locked versions fit together no more; all were chosen anew");
    }
    for base in &locked.phased {
        eprintln!(
            "{base}: nothing fits without updates that are still being phased in; they were taken"
        );
    }
    // A first lock is all news, and none of it.
    if !locked.first {
        for change in &locked.changes {
            text += &format!("{}\n", line(change));
        }
    }
    for (name, role) in &lock.roles {
        let closure = role.essential.iter().chain(&role.packages);
        let bytes: u64 = closure
            .filter_map(|key| lock.package(&role.base, key))
            .map(|package| package.size)
            .sum();
        text += &format!(
            "{name}: {} packages, {} MB ({})\n",
            role.essential.len() + role.packages.len(),
            bytes.div_ceil(1_000_000),
            role.base
        );
    }
    let (artifacts, images) = (lock.artifacts.len(), lock.images.len());
    if artifacts + images > 0 {
        let own = lock.artifacts.iter().map(|artifact| artifact.size);
        let blobs = lock.images.iter().flat_map(|image| &image.blobs);
        let bytes: u64 = own.chain(blobs.map(|blob| blob.size)).sum();
        text += &format!(
            "{artifacts} artifacts and {images} container images, {} MB\n",
            bytes.div_ceil(1_000_000)
        );
    }
    let verb = if unchanged {
        "is as it was"
    } else {
        "is written"
    };
    text + &format!("{} {verb}\n", path.display())
}

fn line(change: &Change) -> String {
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{}: {from} -> {to}", change.name),
        (None, Some(to)) => format!("{}: new, {to}", change.name),
        (Some(from), None) => format!("{}: gone, was {from}", change.name),
        (None, None) => change.name.clone(),
    }
}
