//! `muster verify-image`: what is inside an image, against the lock, without booting it.

use super::out::say;
use super::{Cli, exit, out, report};
use crate::image::artifact::{self, Placed};
use crate::image::build::epoch;
use crate::image::disk::image::{self, Source};
use crate::image::filesystem::ext4::read::{Node, Reader};
use crate::image::identity::digest_parts;
use crate::image::inspect::boot::{self, Origin};
use crate::image::inspect::{Findings, Inspection, file, root, text};
use crate::image::manifest::Manifest;
use crate::image::store::Store;
use crate::packages::cache::Cache;
use crate::packages::lock::{Lock, OciImage, Package};
use crate::profile::{Base, Role, Stack};
use miette::IntoDiagnostic;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where an image says what it is.
const FACTS: &str = "usr/share/muster/image.json";

/// Options of `verify-image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, raw or qcow2
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Compare with the packages of this lock, not with those of the manifest beside the image
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// As JSON (docs/schemas/verify-image.json)
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Format version, 1.
    pub version: u32,
    /// The image.
    pub image: String,
    /// Name of its stack.
    pub stack: String,
    /// Name of its role.
    pub role: String,
    /// What it was made from, as it says itself.
    pub image_id: String,
    /// What was found.
    #[serde(flatten)]
    pub findings: Findings,
}

/// Runs it: 0 when the image is what it should be.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let unreadable = |error: std::io::Error| {
        report::plain(
            format!("{} cannot be verified: {error}", args.image.display()),
            Some("an image that `muster build` made, and that no machine has started from, is expected".into()),
        )
    };
    let source = image::open(&args.image).map_err(unreadable)?;
    let part = root(&*source).map_err(unreadable)?;
    let reader = Reader::open(&part).map_err(unreadable)?;
    let nodes = reader.walk().map_err(unreadable)?;
    let facts = facts(&reader, &nodes).map_err(unreadable)?;
    let manifest = manifest(&args.image, &facts.role.name);
    let Expected {
        packages,
        artifacts,
        images,
        epoch,
    } = match (&args.lock, &manifest) {
        (Some(lock), _) => locked(lock, &facts, manifest.as_ref())?,
        (None, Some(manifest)) => listed(manifest),
        (None, None) => {
            return Err(report::plain(
                format!("there is no manifest beside {}", args.image.display()),
                Some("say which packages should be in it: --lock STACK/muster.lock".into()),
            ));
        }
    };
    let cache = Cache::new(Cache::default_root());
    let names = packages
        .iter()
        .map(|package| (&*package.name, &package.sha256));
    let files = artifacts
        .iter()
        .map(|placed| (&*placed.file.name, &placed.file.sha256));
    let blobs = images.iter().flat_map(|image| {
        let blobs = image.blobs.iter();
        blobs.map(|blob| (&*image.name, &blob.sha256))
    });
    let all = names.chain(files).chain(blobs);
    let missing = all.filter(|(_, sha256)| !cache.has(sha256));
    if let (Some((first, _)), count) = (missing.clone().next(), missing.count()) {
        return Err(report::plain(
            format!("{count} packages of the image are not in the cache, {first} among them"),
            Some(format!("fetch them: muster fetch {}", facts.stack.name)),
        ));
    }
    let store = Store::open(cache.root()).map_err(report::image)?;
    let inspection = Inspection {
        root: &reader,
        nodes: &nodes,
        packages: &packages,
        exclude: &facts.base.exclude,
        artifacts: &artifacts,
        images: &images,
        manifest: manifest.as_ref(),
    };
    let mut findings = inspection.run(&store).map_err(report::image)?;
    let origin = Origin {
        image_id: &facts.image_id,
        epoch,
        family: &facts.base.family,
        grub: &super::build::text(&cli.source(), super::build::GRUB)?,
    };
    let booted = boot::compare(&*source, &origin, &|path| file(&reader, &nodes, path));
    findings.problems.extend(booted.map_err(report::image)?);
    if let Some(manifest) = &manifest {
        whole(args, &*source, manifest, &facts, &mut findings)?;
    }
    let good = findings.problems.is_empty();
    if args.json {
        let verified = Verified {
            version: 1,
            image: args.image.display().to_string(),
            stack: facts.stack.name,
            role: facts.role.name,
            image_id: facts.image_id,
            findings,
        };
        let json = serde_json::to_string_pretty(&verified).into_diagnostic()?;
        out::write(json + "\n")?;
    } else {
        out::write(words(args, &facts, &findings))?;
    }
    if !good {
        say!("{} is not what it should be", args.image.display());
    }
    Ok(if good { exit::OK } else { exit::FAILURE })
}

/// What an image says of itself.
struct Facts {
    image_id: String,
    stack: Stack,
    role: Role,
    base: Base,
}

/// What should be in an image.
struct Expected {
    packages: Vec<Package>,
    artifacts: Vec<Placed>,
    images: Vec<OciImage>,
    /// The image's time, seconds since 1970.
    epoch: i64,
}

fn facts(reader: &Reader, nodes: &BTreeMap<Vec<u8>, Node>) -> std::io::Result<Facts> {
    let wrong = |what: String| {
        let words = format!("it does not say what it is: /{FACTS} {what}");
        std::io::Error::new(std::io::ErrorKind::InvalidData, words)
    };
    let text = text(reader, nodes, FACTS)?;
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let get = |name: &str| {
        let found = value[name].as_str().map(str::to_owned);
        found.ok_or_else(|| wrong(format!("has no {name}")))
    };
    let (image_id, name) = (get("image-id")?, get("role")?);
    let stack: Stack = serde_json::from_value(value["stack"].take()).map_err(|error| {
        wrong(format!(
            "has a stack that this version cannot read: {error}"
        ))
    })?;
    let role = stack.roles.iter().find(|role| role.name == name).cloned();
    let role = role.ok_or_else(|| wrong(format!("has no role {name} in its stack")))?;
    let base = stack.bases.get(&role.base).cloned();
    let base = base.ok_or_else(|| wrong(format!("has no base {} in its stack", role.base)))?;
    Ok(Facts {
        image_id,
        stack,
        role,
        base,
    })
}

/// The manifest beside an image, if there is one.
fn manifest(image: &Path, role: &str) -> Option<Manifest> {
    let path = image.with_file_name(format!("{role}.manifest.json"));
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn locked(path: &Path, facts: &Facts, manifest: Option<&Manifest>) -> miette::Result<Expected> {
    let lock = Lock::read(path).map_err(|error| report::packages(error.into()))?;
    let role = &facts.role.name;
    let Some(closure) = lock.roles.get(role) else {
        return Err(report::plain(
            format!(
                "{} has no role {role}, which the image is of",
                path.display()
            ),
            None,
        ));
    };
    let keys = closure.essential.iter().chain(&closure.packages);
    let packages = keys.filter_map(|key| lock.package(&closure.base, key));
    let packages = packages.cloned().collect();
    let epoch = epoch(&lock, &facts.stack, &facts.role).map_err(report::image)?;
    // Which file it is, the lock says; what became of it, the manifest, or else the image.
    let mut artifacts = artifact::placed(&facts.stack, role, &lock).map_err(report::image)?;
    let images = artifact::images(&facts.stack, role, &lock).map_err(report::image)?;
    for placed in &mut artifacts {
        let said = manifest
            .into_iter()
            .flat_map(|manifest| &manifest.inputs.artifacts);
        let mut same = said.filter(|said| said.file.key() == placed.file.key());
        if let Some(said) = same.next() {
            placed.placing.clone_from(&said.placing);
        }
    }
    Ok(Expected {
        packages,
        artifacts,
        images,
        epoch,
    })
}

fn listed(manifest: &Manifest) -> Expected {
    let packages = manifest.inputs.packages.iter().map(|input| Package {
        name: input.name.clone(),
        version: input.version.clone(),
        architecture: input.architecture.clone(),
        base: manifest.base.clone(),
        archive: String::new(),
        suite: String::new(),
        path: input.name.clone(),
        size: input.size,
        sha256: input.sha256.clone(),
    });
    Expected {
        packages: packages.collect(),
        artifacts: manifest.inputs.artifacts.clone(),
        images: manifest.inputs.images.clone(),
        epoch: manifest.epoch,
    }
}

/// The image is the one that the manifest speaks of.
fn whole(
    args: &Args,
    source: &dyn Source,
    manifest: &Manifest,
    facts: &Facts,
    findings: &mut Findings,
) -> miette::Result<()> {
    let mut wrong = |what: String| {
        findings.problems.push(crate::image::inspect::Problem {
            subject: args.image.display().to_string(),
            what,
        });
    };
    if manifest.image_id != facts.image_id {
        wrong(format!(
            "is the image {}, and the manifest beside it speaks of {}",
            &facts.image_id[..12.min(facts.image_id.len())],
            &manifest.image_id[..12.min(manifest.image_id.len())]
        ));
    }
    if source.size() != manifest.disk_size {
        wrong(format!(
            "is a disk of {} bytes, and the manifest beside it says {}",
            source.size(),
            manifest.disk_size
        ));
    }
    let name = args.image.file_name().unwrap_or_default();
    let output = manifest.outputs.get("image");
    if let Some(output) = output.filter(|output| *output.file == *name) {
        let file = File::open(&args.image).into_diagnostic()?;
        if digest_parts(&file).into_diagnostic()? != output.digest {
            wrong("has been written to since its manifest was".into());
        }
    }
    Ok(())
}

fn words(args: &Args, facts: &Facts, findings: &Findings) -> String {
    let (stack, role) = (&facts.stack.name, &facts.role.name);
    let mut text = format!("{}: {role} of {stack}\n", args.image.display());
    for problem in &findings.problems {
        text.push_str(&format!("  {} {}\n", problem.subject, problem.what));
    }
    for path in &findings.raised {
        text.push_str(&format!(
            "  {path}: a script of a package made it setuid or setgid\n"
        ));
    }
    text.push_str(&format!(
        "  {} packages as locked, {} files as packaged; {} changed and {} made by scripts\n",
        findings.packages,
        findings.files,
        findings.changed.len(),
        findings.made.len()
    ));
    if findings.placed > 0 {
        text.push_str(&format!(
            "  {} files of artifacts as placed\n",
            findings.placed
        ));
    }
    text
}
