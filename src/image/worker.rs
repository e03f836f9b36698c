//! The process that makes one image, alone in its namespaces.

use super::assemble::Disk;
use super::cleanup;
use super::configure::{Ingredients, configure, settle_accounts};
use super::deb::Store;
use super::error::Error;
use super::fence::Fence;
use super::grub::Loader;
use super::harvest::harvest;
use super::identity::digest_sparse;
use super::initramfs;
use super::job::{Failure, Job};
use super::manifest::{Input, Inputs, Manifest, Output};
use super::namespace;
use super::overlay;
use super::program::Programs;
use super::unpack::load;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Instant;

/// Name of the manifest in the staging folder.
pub const MANIFEST: &str = "manifest.json";
/// Name of the log of the programs' output in the staging folder.
pub const LOG: &str = "build.log";
/// Name of the file that tells the caller why there is no image.
pub const FAILURE: &str = "failure.json";

/// Bytes kept free in it: JSON may end in spaces.
const FAILURE_ROOM: usize = 16 << 10;

/// Makes the image that `job` describes. A failure is left in the staging folder as well.
pub fn work(job: &Path) -> Result<(), Error> {
    let job = Job::load(job)?;
    // The staging folder is out of reach once the root is entered.
    let path = job.staging.join(FAILURE);
    let mut report = File::create(&path).map_err(Error::io("cannot write", &path))?;
    // Room for the words, should the disk be full by then.
    report
        .write_all(&[b' '; FAILURE_ROOM])
        .map_err(Error::io("cannot write", &path))?;
    let result = make(&job);
    if let Err(error) = &result {
        let _ = report
            .rewind()
            .map(|()| serde_json::to_writer(report, &Failure::from(error)));
    }
    result
}

/// Leaves a failure of the stages before `work` for the caller to find.
pub fn report(job: &Path, error: &Error) {
    let written = Job::load(job).and_then(|job| {
        let path = job.staging.join(FAILURE);
        let file = File::create(&path).map_err(Error::io("cannot write", &path))?;
        let _ = serde_json::to_writer(file, &Failure::from(error));
        Ok(())
    });
    if written.is_err() {
        let _ = writeln!(io::stderr(), "{error}");
    }
}

fn make(job: &Job) -> Result<(), Error> {
    namespace::prepare()?;
    let start = Instant::now();
    let step = |what: &str| {
        let seconds = start.elapsed().as_secs_f64();
        // Nobody may be listening any more; the image is made all the same.
        let _ = writeln!(io::stderr(), "{}: {what} [{seconds:.1} s]", job.role);
    };
    // Everything outside the root is opened before the root is entered.
    let programs = Programs::new(stage(job, LOG)?, job.epoch);
    let store = Store::open(&job.cache)?;
    let mut agent = File::open(&job.agent).map_err(Error::io("cannot read", &job.agent))?;
    let mut manifest_file = stage(job, MANIFEST)?;
    let names = ["image", "kernel", "initrd"].map(|what| (what, output_name(job, what)));
    let mut outputs = Vec::new();
    for (what, name) in &names {
        outputs.push((*what, name.as_str(), stage(job, name)?));
    }
    let image_id = job.image_id()?;
    nix::unistd::sethostname(&job.role).map_err(Error::namespace("cannot set the host name"))?;
    let mut fence = Fence::raise(&job.work)?;
    fence.enter()?;

    step("verify the packages");
    let closure = job.closure()?;
    let essential = load(&store, &job.packages(&closure.essential)?)?;
    let others = load(&store, &job.packages(&closure.packages)?)?;
    let preseed = job.preseed()?;
    let overlay = job.overlay()?;
    let ingredients = Ingredients {
        role: &job.role,
        essential: &essential,
        others: &others,
        manual: &closure.manual,
        preseed: &preseed,
        overlay: &overlay,
        accounts: &job.lock.accounts,
        architecture: &job.base()?.architecture,
    };
    configure(&ingredients, &store, &mut fence, &programs, &step)?;
    step("add the overlays and the agent");
    overlay::apply(job, &mut agent, &image_id, &programs)?;
    settle_accounts(&ingredients, &programs)?;
    fence.uncover()?;
    step("make the initial RAM filesystem");
    initramfs::generate(&programs)?;
    let loader = Loader::make(&programs, &job.base()?.family)?;
    cleanup::clean(job.epoch / 86_400)?;
    fence.lower()?;

    step("write the disk");
    let tree = harvest(Path::new("/"), job.epoch)?;
    let disk = Disk::plan(job, &image_id)?;
    let (kernel, initrd) = initramfs::kernel()?;
    for (what, name, file) in &outputs {
        match *what {
            "image" => disk.write(&tree, &loader, &job.grub, job.format, file)?,
            what => {
                let path = if what == "kernel" { &kernel } else { &initrd };
                File::open(path)
                    .and_then(|mut content| io::copy(&mut content, &mut &*file))
                    .map_err(Error::io("cannot write", *name))?;
            }
        }
    }
    step("seal the image");
    let mut made = BTreeMap::new();
    for (what, name, file) in &outputs {
        let failed = Error::io("cannot read", *name);
        let sealed = file.metadata().and_then(|metadata| {
            Ok(Output {
                file: (*name).to_owned(),
                size: metadata.len(),
                sha256: digest_sparse(file)?,
            })
        });
        made.insert((*what).to_owned(), sealed.map_err(failed)?);
    }
    let manifest = manifest(job, image_id, made, disk)?;
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Error::Layout(format!("the manifest does not fit JSON: {error}")))?;
    manifest_file
        .write_all(&text)
        .map_err(Error::io("cannot write", MANIFEST))?;
    step("done");
    Ok(())
}

/// Makes a file of the staging folder.
fn stage(job: &Job, name: &str) -> Result<File, Error> {
    let path = job.staging.join(name);
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path);
    file.map_err(Error::io("cannot write", &path))
}

fn output_name(job: &Job, what: &str) -> String {
    match what {
        "kernel" => format!("{}.vmlinuz", job.role),
        "initrd" => format!("{}.initrd", job.role),
        _ => format!("{}.{}", job.role, job.format.suffix()),
    }
}

fn manifest(
    job: &Job,
    image_id: String,
    outputs: BTreeMap<String, Output>,
    disk: Disk,
) -> Result<Manifest, Error> {
    let closure = job.closure()?;
    let mut packages = job.packages(&closure.essential)?;
    packages.extend(job.packages(&closure.packages)?);
    let packages = packages.into_iter().map(|package| Input {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        sha256: package.sha256.clone(),
        size: package.size,
    });
    let overlay = job.overlay()?.into_iter().map(|(path, file)| {
        (
            path.to_owned(),
            hex::encode(Sha256::digest(file.content.as_bytes())),
        )
    });
    Ok(Manifest {
        version: 1,
        stack: job.stack.name.clone(),
        role: job.role.clone(),
        base: job.role()?.base.clone(),
        image_id,
        epoch: job.epoch,
        inputs: Inputs {
            agent: job.agent_sha256.clone(),
            overlay: overlay.collect(),
            request: job.lock.request.clone(),
            packages: packages.collect(),
        },
        outputs,
        format: job.format,
        disk_size: disk.size,
        partitions: disk.partitions,
    })
}
