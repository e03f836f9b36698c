//! The process that makes one image, alone in its namespaces.

use super::artifact::{self, Places};
use super::assemble::{Disk, Target};
use super::cleanup;
use super::configure::{Tools, settle_accounts};
use super::error::Error;
use super::fence::Fence;
use super::former::{Former, Lists};
use super::grub::Loader;
use super::harvest::harvest;
use super::identity::{digest, digest_of_parts};
use super::initramfs;
use super::job::{Failure, Format, Job};
use super::layer::Layers;
pub use super::layers::initrd;
use super::layers::{Beside, Packages, Supply};
use super::manifest::{Input, Inputs, Manifest, Output, VERSION};
use super::namespace;
use super::overlay;
use super::program::Programs;
use super::store::Store;
use super::workshop::Workshop;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
pub fn work(path_of_job: &Path) -> Result<(), Error> {
    let job = Job::load(path_of_job)?;
    // The staging folder is out of reach once the root is entered.
    let path = job.staging.join(FAILURE);
    let mut report = File::create(&path).map_err(Error::io("cannot write", &path))?;
    // Room for the words, should the disk be full by then.
    report
        .write_all(&[b' '; FAILURE_ROOM])
        .map_err(Error::io("cannot write", &path))?;
    let result = make(&job, path_of_job);
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

fn make(job: &Job, path: &Path) -> Result<(), Error> {
    namespace::prepare()?;
    let start = Instant::now();
    let step = |what: &str| {
        let seconds = start.elapsed().as_secs_f64();
        // Nobody may be listening any more; the image is made all the same.
        let _ = writeln!(io::stderr(), "{}: {what} [{seconds:.1} s]", job.role);
    };
    // Everything outside the root is opened before a root is entered.
    let mut log = stage(job, LOG)?;
    let programs = Programs::new(
        log.try_clone().map_err(Error::io("cannot open", LOG))?,
        job.epoch,
        &Workshop::mount(&job.work),
    )?;
    let store = Store::open_for(&job.cache, &job.work)?;
    let mut agent = File::open(&job.agent).map_err(Error::io("cannot read", &job.agent))?;
    let mut manifest_file = stage(job, MANIFEST)?;
    let names = ["image", "kernel", "initrd"].map(|what| (what, output_name(job, what)));
    let mut outputs = Vec::new();
    for (what, name) in &names {
        outputs.push((*what, name.as_str(), stage(job, name)?));
    }
    // The same file once more, for those who write past memory.
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(job.staging.join(output_name(job, "image")))
        .ok();
    let image_id = job.image_id()?;
    nix::unistd::sethostname(&job.role).map_err(Error::namespace("cannot set the host name"))?;

    let workshop = Workshop::open(job.layers.then_some(&job.cache), &job.work)?;
    let lists = workshop.layers().map(Layers::folder);
    let former = lists.and_then(|lists| Former::find(job, lists));
    let lists = lists.map(Lists::open).transpose()?;
    let supply = Supply::new(job, &store, &step);
    let tools = Tools {
        store: &store,
        programs: &programs,
        step: &step,
    };
    let packages = Packages {
        job,
        workshop: &workshop,
        supply: &supply,
        tools,
    };
    let split = packages.split()?;
    let base = packages.base(&split)?;
    let beside = Beside::begin(job, path, &workshop, &base)?;
    let role = packages.role(&split, &base)?;
    let ready = match beside {
        Some(beside) => {
            step("wait for the initial RAM filesystem");
            beside.finish(&role, &mut log)?
        }
        None => None,
    };
    let units = packages.units(&role, ready.as_ref())?;
    let mut fence = Fence::raise(&workshop.ground("image", &units)?)?;
    fence.enter()?;
    step("add the overlays and the agent");
    overlay::apply(job, &mut agent, &image_id)?;
    settle_accounts(job, || supply.load_again(), &programs)?;
    if ready.is_none() {
        step("make the initial RAM filesystem");
        initramfs::generate(&programs)?;
    }
    place(job, &store, &programs, &step)?;
    let loader = Loader::make(&programs, &job.base()?.family)?;
    cleanup::clean(job.epoch / 86_400)?;
    fence.lower()?;

    step("write the disk");
    let tree = harvest(Path::new("/"), job.epoch)?;
    let disk = Disk::plan(job, &image_id)?;
    let (kernel, initrd) = initramfs::kernel()?;
    let mut made = BTreeMap::new();
    for (what, name, file) in &mut outputs {
        let (what, name) = (*what, *name);
        let digest = match what {
            "image" => {
                let taken = former
                    .as_ref()
                    .map(|former| former.take(disk.size, job.umask));
                let taken = taken.transpose().map_err(Error::io("cannot take", name))?;
                let into = match (&former, taken.flatten()) {
                    (Some(former), Some(taken)) => {
                        *file = taken;
                        Target {
                            file,
                            direct: None,
                            before: &former.parts,
                        }
                    }
                    _ => Target {
                        file,
                        direct: direct.as_ref(),
                        before: &[],
                    },
                };
                let parts = disk.write(&tree, &loader, &job.grub, job.format, &into)?;
                let digest = digest_of_parts(&parts);
                if let (Some(lists), Format::Raw) = (&lists, job.format) {
                    // Without it the next build writes more than it must.
                    let _ = lists.keep(&digest, &parts, job.former.as_ref());
                }
                digest
            }
            _ => {
                let path = if what == "kernel" { &kernel } else { &initrd };
                let digest = File::open(path)
                    .and_then(|mut content| io::copy(&mut content, file))
                    .and_then(|_| file.rewind())
                    .and_then(|()| digest(file));
                format!(
                    "sha256:{}",
                    digest.map_err(Error::io("cannot write", name))?
                )
            }
        };
        let metadata = file.metadata().map_err(Error::io("cannot read", name))?;
        let output = Output {
            file: name.to_owned(),
            size: metadata.len(),
            digest,
        };
        made.insert(what.to_owned(), output);
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

/// Puts the artifacts and container images of the role into the root that this process has
/// entered: after the accounts of overlays are made, whose they may be.
fn place(job: &Job, store: &Store, programs: &Programs, step: &dyn Fn(&str)) -> Result<(), Error> {
    let artifacts = artifact::placed(&job.stack, &job.role, &job.lock)?;
    let images = artifact::images(&job.stack, &job.role, &job.lock)?;
    if artifacts.is_empty() && images.is_empty() {
        return Ok(());
    }
    step(&format!(
        "place {} artifacts and {} container images",
        artifacts.len(),
        images.len()
    ));
    let overlay = job.overlay()?;
    let overlay = overlay.keys().copied();
    let places = Places::new(Path::new("/"), store, overlay, job.epoch);
    artifacts.iter().try_for_each(|one| places.artifact(one))?;
    images.iter().try_for_each(|one| places.image(one))?;
    // Libraries below /usr/local are looked for in the same list as those of packages.
    let tool = "/usr/sbin/ldconfig";
    match Path::new(tool).exists() {
        true => programs.run("listing the libraries", &[tool]),
        false => Ok(()),
    }
}

/// Makes a file of the staging folder, for whom the caller's umask lets read it.
pub fn stage(job: &Job, name: &str) -> Result<File, Error> {
    let path = job.staging.join(name);
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path);
    file.and_then(|file| {
        let mode = 0o666 & !job.umask;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(file)
    })
    .map_err(Error::io("cannot write", &path))
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
        version: VERSION,
        stack: job.stack.name.clone(),
        role: job.role.clone(),
        base: job.role()?.base.clone(),
        image_id,
        epoch: job.epoch,
        inputs: Inputs {
            agent: job.agent_sha256.clone(),
            builder: job.builder_sha256.clone(),
            overlay: overlay.collect(),
            request: job.lock.request.clone(),
            packages: packages.collect(),
            artifacts: artifact::placed(&job.stack, &job.role, &job.lock)?,
            images: artifact::images(&job.stack, &job.role, &job.lock)?,
        },
        outputs,
        format: job.format,
        disk_size: disk.size,
        partitions: disk.partitions,
    })
}
