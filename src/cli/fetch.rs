//! `muster fetch`: every file of the lock, into the cache.

use super::{Cli, choice, exit, lock, out, progress, report, supplied};
use crate::console::progress::Stage;
use crate::packages::apt::mirror;
use crate::packages::artifact::supply;
use crate::packages::fetch::fetch;
use crate::packages::lock::Lock;
use crate::packages::{Mirrors, PackagesError, Preferences, cache::Cache};
use crate::profile::Stack;

/// Options of `fetch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// Fetch an archive from here: URL, or ARCHIVE=URL
    #[arg(long, value_name = "URL", value_parser = mirror::option)]
    pub mirror: Vec<String>,
    /// Where files are that people supply.
    #[command(flatten)]
    pub supplied: supplied::Args,
    /// Fetch nothing, but fail if something is missing
    #[arg(long)]
    pub offline: bool,
    /// What was done, as JSON (docs/schemas/fetch.json)
    #[arg(long)]
    pub json: bool,
    /// Where progress goes.
    #[command(flatten)]
    pub progress: progress::Args,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let stack = Stack::load_with(&cli.source(), &args.stack, args.choice.choice());
    let stack = stack.map_err(report::profile)?;
    let path = lock::path(cli, &args.stack)?;
    let lock = Lock::read_if_there(&path).map_err(|error| report::packages(error.into()))?;
    let Some(lock) = lock.filter(|lock| !lock.is_stale(&stack)) else {
        let state = if path.exists() {
            "is stale: the stack has changed since it was made"
        } else {
            "is not there"
        };
        return Err(report::plain(
            format!("{} {state}", path.display()),
            Some(format!("run `muster lock {}`", args.stack)),
        ));
    };
    let mirrors = if args.offline {
        None
    } else {
        let preferences = Preferences::read(&args.mirror)
            .and_then(|preferences| preferences.fit(stack.bases.values()))
            .map_err(|error| report::packages(PackagesError::from(error)))?;
        Some(Mirrors::choose(stack.bases.values(), &preferences))
    };
    let work = args.progress.sink()?.begin(Stage::Fetch, &stack.name);
    let cache = Cache::new(Cache::default_root());
    supply(&lock, &cache, &args.supplied.folder(&path)).map_err(report::packages)?;
    let fetched = fetch(&lock, &cache, mirrors.as_ref(), work.bar()).map_err(report::packages)?;
    work.done();
    if args.json {
        let json = serde_json::json!({
            "files": fetched.files,
            "bytes": fetched.bytes,
            "fetched-files": fetched.fetched_files,
            "fetched-bytes": fetched.fetched_bytes,
        });
        out::write(format!("{json}\n"))?;
    } else {
        out::write(format!(
            "{} files, {} MB: {} fetched ({} MB), the rest was there\n",
            fetched.files,
            fetched.bytes.div_ceil(1_000_000),
            fetched.fetched_files,
            fetched.fetched_bytes.div_ceil(1_000_000)
        ))?;
    }
    Ok(exit::OK)
}
