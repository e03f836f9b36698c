//! `muster cache`: what is kept between builds, and how to be rid of it.

use super::out::say;
use super::{exit, out, report};
use crate::image::identity::digest_file;
use crate::image::layer::Layers;
use crate::image::namespace::{self, damaged_layers};
use crate::packages::cache::Cache;
use clap::Subcommand;
use indicatif::HumanBytes;
use miette::IntoDiagnostic;
use rayon::prelude::*;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// Options of `cache`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub part: Part,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Say what it holds
    Ls(Ls),
    /// Remove what no build has used for a while
    Prune(Prune),
    /// Compare everything with its digest, and remove what is damaged
    Verify,
}

/// Options of `cache ls`.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// As JSON (docs/schemas/cache.json)
    #[arg(long)]
    pub json: bool,
}

/// Options of `cache prune`.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Keep what was used in the last N days
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub days: u32,
}

/// What `cache ls --json` prints.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// Format version, 1.
    pub version: u32,
    /// The folder.
    pub folder: String,
    /// Package files, then layers, each by name.
    pub entries: Vec<Entry>,
}

/// One thing in the cache.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// SHA-256 of a package file; key of a layer.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// RFC 3339 UTC, when a build last used it.
    pub used: String,
}

/// Kinds of things in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file of a lock.
    Package,
    /// What packages leave in a root.
    Layer,
}

/// Runs it.
pub fn run(args: &Args) -> miette::Result<u8> {
    let cache = Cache::new(Cache::default_root());
    match &args.part {
        Part::Ls(ls) => list(&cache, ls),
        Part::Prune(prune) => remove_old(&cache, prune),
        Part::Verify => verify(&cache),
    }
}

fn list(cache: &Cache, args: &Ls) -> miette::Result<u8> {
    let time = |time: SystemTime| {
        jiff::Timestamp::try_from(time)
            .map(|time| time.to_string())
            .unwrap_or_default()
    };
    let mut entries = Vec::new();
    for file in cache.files().into_diagnostic()? {
        entries.push(Entry {
            kind: Kind::Package,
            name: file.sha256,
            size: file.size,
            used: time(file.used),
        });
    }
    let layers = Layers::at(cache.root());
    for key in layers.keys().into_diagnostic()? {
        entries.push(Entry {
            kind: Kind::Layer,
            size: layers.size(&key),
            used: time(layers.used(&key).into_diagnostic()?),
            name: key,
        });
    }
    if args.json {
        let listing = Listing {
            version: 1,
            folder: cache.root().display().to_string(),
            entries,
        };
        let json = serde_json::to_string_pretty(&listing).into_diagnostic()?;
        out::write(json + "\n")?;
        return Ok(exit::OK);
    }
    let mut text = format!("{}\n", cache.root().display());
    for (kind, one, many) in [
        (Kind::Package, "package file", "package files"),
        (Kind::Layer, "layer", "layers"),
    ] {
        let found = || entries.iter().filter(|entry| entry.kind == kind);
        let (count, size) = (found().count(), found().map(|entry| entry.size).sum());
        let what = if count == 1 { one } else { many };
        text.push_str(&format!("{count} {what}, {}\n", HumanBytes(size)));
        for layer in found().filter(|entry| entry.kind == Kind::Layer) {
            let Entry {
                name, size, used, ..
            } = layer;
            let day = used.get(..10).unwrap_or(used);
            let size = HumanBytes(*size).to_string();
            text.push_str(&format!("  {}  {size:>10}  used {day}\n", &name[..16]));
        }
    }
    out::write(text)?;
    Ok(exit::OK)
}

fn remove_old(cache: &Cache, args: &Prune) -> miette::Result<u8> {
    let before = SystemTime::now().checked_sub(DAY * args.days);
    let old = |used: SystemTime| before.is_none_or(|before| used <= before);
    let mut freed = 0;
    let mut count = 0;
    let mut gone = |size: u64| {
        freed += size;
        count += 1;
    };
    for file in cache.files().into_diagnostic()? {
        if old(file.used) {
            remove_file(&cache.path(&file.sha256))?;
            gone(file.size);
        }
    }
    for (path, size, grown) in cache.parts().into_diagnostic()? {
        if old(grown) {
            remove_file(&path)?;
            gone(size);
        }
    }
    let layers = Layers::at(cache.root());
    for key in layers.keys().into_diagnostic()? {
        if old(layers.used(&key).into_diagnostic()?) {
            let size = layers.size(&key);
            layers.remove(&key).map_err(report::image)?;
            gone(size);
        }
    }
    for (path, used) in layers.notes().into_diagnostic()? {
        if old(used) {
            remove_file(&path)?;
        }
    }
    layers.sweep().map_err(report::image)?;
    match count {
        0 => say!("nothing is that old"),
        1 => say!("removed 1 entry, {}", HumanBytes(freed)),
        _ => say!("removed {count} entries, {}", HumanBytes(freed)),
    }
    Ok(exit::OK)
}

/// Removes a file that another process may just have removed.
fn remove_file(path: &Path) -> miette::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(report::plain(
            format!("cannot remove {}: {error}", path.display()),
            None,
        )),
        _ => Ok(()),
    }
}

fn verify(cache: &Cache) -> miette::Result<u8> {
    let files = cache.files().into_diagnostic()?;
    let damaged: Vec<&str> = files
        .par_iter()
        .filter(|file| !digest_file(&cache.path(&file.sha256)).is_ok_and(|is| is == file.sha256))
        .map(|file| file.sha256.as_str())
        .collect();
    for name in &damaged {
        say!(
            "{}: is not what its name says; removed, to be fetched again",
            cache.path(name).display()
        );
        remove_file(&cache.path(name))?;
    }
    let layers = Layers::at(cache.root());
    let keys = layers.keys().into_diagnostic()?;
    let wrong = match keys.is_empty() {
        true => Vec::new(),
        false => damaged_layers(cache.root()).map_err(report::image)?,
    };
    for (key, path) in &wrong {
        let place = layers.folder().join(key);
        match path.as_os_str().is_empty() {
            true => say!(
                "{}: was never finished; removed, to be made again",
                place.display()
            ),
            false => say!(
                "{}: /{} is not as it was left; removed, to be made again",
                place.display(),
                path.display()
            ),
        }
        namespace::remove(&place).map_err(report::image)?;
    }
    say!(
        "{} package files and {} layers were looked at",
        files.len(),
        keys.len()
    );
    Ok(match damaged.is_empty() && wrong.is_empty() {
        true => exit::OK,
        false => exit::FAILURE,
    })
}
