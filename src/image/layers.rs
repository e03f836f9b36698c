//! The layers of one image: the base's packages, the role's, beside these the initial RAM
//! filesystem of the base, and above all what starts at boot.

use super::configure::{Ingredients, Tools, add, bootstrap};
use super::error::Error;
use super::initramfs;
use super::job::Job;
use super::layer::key::Key;
use super::layer::split::Split;
use super::namespace;
use super::overlay;
use super::program::Programs;
use super::store::Store;
use super::unpack::{Loaded, load, room};
use super::workshop::{Layer, Workshop};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The packages of a role, verified and read when they are first asked for.
pub struct Supply<'a> {
    job: &'a Job,
    store: &'a Store,
    step: &'a dyn Fn(&str),
    loaded: OnceCell<Vec<Loaded<'a>>>,
}

impl<'a> Supply<'a> {
    /// All packages of the job's role.
    pub fn new(job: &'a Job, store: &'a Store, step: &'a dyn Fn(&str)) -> Supply<'a> {
        Supply {
            job,
            store,
            step,
            loaded: OnceCell::new(),
        }
    }

    fn all(&self) -> Result<&[Loaded<'a>], Error> {
        if self.loaded.get().is_none() {
            (self.step)("verify the packages");
            let loaded = self.load_again()?;
            return Ok(self.loaded.get_or_init(|| loaded));
        }
        Ok(self.loaded.get().map(Vec::as_slice).unwrap_or_default())
    }

    /// All of them, the essential ones first.
    pub fn load_again(&self) -> Result<Vec<Loaded<'a>>, Error> {
        let closure = self.job.closure()?;
        let mut packages = self.job.packages(&closure.essential)?;
        packages.extend(self.job.packages(&closure.packages)?);
        load(self.store, &packages)
    }

    /// Those of these keys, in this order.
    fn of(&self, keys: &[String]) -> Result<Vec<&Loaded<'a>>, Error> {
        let all = self.all()?;
        let index: std::collections::BTreeMap<String, &Loaded<'a>> = all
            .iter()
            .map(|loaded| (loaded.package.key(), loaded))
            .collect();
        Ok(keys
            .iter()
            .filter_map(|key| index.get(key).copied())
            .collect())
    }
}

/// Makes the layers that hold packages.
pub struct Packages<'a> {
    /// What is made.
    pub job: &'a Job,
    /// Where.
    pub workshop: &'a Workshop,
    /// From what.
    pub supply: &'a Supply<'a>,
    /// With what.
    pub tools: Tools<'a>,
}

impl Packages<'_> {
    /// Which packages the base brings.
    pub fn split(&self) -> Result<Split, Error> {
        let layers = self.workshop.layers();
        if let Some(layers) = layers
            && let Some(split) = Split::known(self.job, layers)?
        {
            return Ok(split);
        }
        let closure = self.job.closure()?;
        let loaded = self.supply.of(&closure.packages)?;
        let controls: Vec<_> = loaded.iter().map(|loaded| &loaded.control).collect();
        let split = Split::find(self.job, &controls)?;
        if let Some(layers) = layers {
            split.keep(self.job, layers)?;
        }
        Ok(split)
    }

    /// The layer of the base's packages.
    pub fn base(&self, split: &Split) -> Result<Layer, Error> {
        let job = self.job;
        let (closure, base) = (job.closure()?, job.base()?);
        let nothing = Layer::nothing();
        let of = format!("the base {}", base.name);
        let mut packages = job.packages(&closure.essential)?;
        packages.extend(job.packages(&split.base)?);
        // What a role asks for by name is not the base's business.
        let manual = closure.manual.iter().filter(|name| {
            let own = packages.iter().any(|package| package.name == **name);
            own && (base.packages.contains(name) || base.boot.contains(name))
        });
        let manual: Vec<String> = manual.cloned().collect();
        let preseed: Vec<String> = base.preseed.iter().map(|line| line.trim().into()).collect();
        let early = job.early_of_base()?;

        let mut key = Key::new("base", job, &nothing.key);
        key.packages(&packages);
        key.value(&(&base.family, &base.architecture, &manual, &preseed))?;
        key.value(&job.lock.accounts)?;
        key.files(&early);
        key.value(&base.exclude)?;
        if let Some(layer) = self.workshop.find(&key, &nothing)? {
            (self.tools.step)(&format!("take {of} from the cache"));
            return Ok(layer);
        }
        self.workshop.make(&key, &nothing, &mut |fence| {
            self.go_ahead(split)?;
            let essential = self.supply.of(&closure.essential)?;
            bootstrap(&essential, &of, &base.exclude, fence, self.tools)?;
            let ingredients = Ingredients {
                of: &of,
                known: &essential,
                packages: &self.supply.of(&split.base)?,
                manual: &manual,
                preseed: &preseed,
                early: &early,
                exclude: &base.exclude,
                accounts: &job.lock.accounts,
                architecture: &base.architecture,
            };
            add(&ingredients, fence, self.tools)
        })
    }

    /// Unpacks what comes next while scripts of what came before run one after the other.
    fn go_ahead(&self, split: &Split) -> Result<(), Error> {
        for keys in [&split.base, &split.role] {
            let mut packages = self.supply.of(keys)?;
            packages.sort_by_key(|loaded| std::cmp::Reverse(loaded.package.size));
            let packages = packages.into_iter();
            let sized = packages.map(|loaded| (loaded.package.clone(), room(&loaded.control)));
            self.tools.store.go_ahead(sized);
        }
        Ok(())
    }

    /// The layer of the role's packages above the base.
    pub fn role(&self, split: &Split, base: &Layer) -> Result<Layer, Error> {
        let job = self.job;
        let closure = job.closure()?;
        let of = format!("the role {}", job.role);
        let preseed = job.preseed()?;
        let early = job.early_of_role()?;
        let mut key = Key::new("role", job, &base.key);
        key.packages(&job.packages(&split.role)?);
        key.value(&(&closure.manual, &preseed))?;
        key.value(&job.lock.accounts)?;
        key.files(&early);
        if let Some(layer) = self.workshop.find(&key, base)? {
            (self.tools.step)(&format!("take {of} from the cache"));
            return Ok(layer);
        }
        self.workshop.make(&key, base, &mut |fence| {
            let mut known = self.supply.of(&closure.essential)?;
            known.extend(self.supply.of(&split.base)?);
            let ingredients = Ingredients {
                of: &of,
                known: &known,
                packages: &self.supply.of(&split.role)?,
                manual: &closure.manual,
                preseed: &preseed,
                early: &early,
                exclude: &job.base()?.exclude,
                accounts: &job.lock.accounts,
                architecture: &job.base()?.architecture,
            };
            add(&ingredients, fence, self.tools)
        })
    }

    /// The layer of what starts at boot, above the role's packages; `ready` are those with the
    /// initial RAM filesystem above them.
    pub fn units(&self, role: &Layer, ready: Option<&Layer>) -> Result<Layer, Error> {
        let overlay = self.job.overlay()?;
        let units = overlay::units(&overlay);
        let mut key = Key::new("units", self.job, &role.key);
        key.value(&ready.map(|ready| &ready.key))?;
        key.files(&units);
        let lower = ready.unwrap_or(role);
        if let Some(layer) = self.workshop.find(&key, lower)? {
            return Ok(layer);
        }
        self.workshop.make(&key, lower, &mut |_| {
            overlay::presets(&units, self.tools.programs)
        })
    }
}

/// Name of the log of the process beside in the staging folder.
const LOG: &str = "initrd.log";

/// What the process beside is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Order {
    job: PathBuf,
    base: Layer,
    work: PathBuf,
}

/// The process that makes the initial RAM filesystem while the role's packages are configured.
pub struct Beside<'a> {
    job: &'a Job,
    log: File,
    key: Key,
    workshop: &'a Workshop,
    base: Layer,
    /// None when it is there already.
    child: Option<Child>,
}

impl<'a> Beside<'a> {
    /// Begins it above the base's layer. `None` where layers cannot stand on each other.
    pub fn begin(
        job: &'a Job,
        path_of_job: &Path,
        workshop: &'a Workshop,
        base: &Layer,
    ) -> Result<Option<Beside<'a>>, Error> {
        if !workshop.stacks() {
            return Ok(None);
        }
        let mut beside = Beside {
            job,
            log: super::worker::stage(job, LOG)?,
            key: key(job, base)?,
            workshop,
            base: base.clone(),
            child: None,
        };
        if beside.layer()?.is_some() {
            return Ok(Some(beside));
        }
        let order = Order {
            job: path_of_job.to_owned(),
            base: base.clone(),
            work: job.work.join("initrd"),
        };
        let path = job.work.join("initrd.json");
        let text = serde_json::to_vec(&order)
            .map_err(|error| Error::Layout(format!("the order does not fit JSON: {error}")))?;
        fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
        let child = namespace::command("initrd", &path)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io("cannot start", "/proc/self/exe"))?;
        beside.child = Some(child);
        Ok(Some(beside))
    }

    /// The layer it has made: kept ones are found by their key, others stand in the work folder.
    fn layer(&self) -> Result<Option<Layer>, Error> {
        if self.workshop.layers().is_some() {
            return self.workshop.find(&self.key, &self.base);
        }
        let key = self.key.clone().hex();
        let tree = self.job.work.join(format!("initrd/{key}.tree"));
        let mut trees = vec![tree.clone()];
        trees.extend(self.base.trees.iter().cloned());
        Ok(tree.exists().then_some(Layer { key, trees }))
    }

    /// Waits for it. Returns the role's layer with the initial RAM filesystem above it, or
    /// nothing if the role has one of its own. What programs said is added to `log`.
    pub fn finish(mut self, role: &Layer, log: &mut File) -> Result<Option<Layer>, Error> {
        if let Some(child) = self.child.take() {
            let told = namespace::told(child.wait_with_output());
            let copied = self.log.rewind().and_then(|()| {
                log.seek(SeekFrom::End(0))?;
                io::copy(&mut self.log, log)
            });
            copied.map_err(Error::io("cannot write", "the log"))?;
            told?;
        }
        let made = match role.trees.first() {
            Some(tree) if !initramfs::is_touched_by_role(self.job, tree)? => self.layer()?,
            _ => None,
        };
        Ok(made.map(|made| Layer {
            key: made.key,
            trees: made
                .trees
                .into_iter()
                .take(1)
                .chain(role.trees.clone())
                .collect(),
        }))
    }
}

fn key(job: &Job, base: &Layer) -> Result<Key, Error> {
    let mut key = Key::new("initrd", job, &base.key);
    key.files(&initramfs::inputs_of_base(job)?);
    Ok(key)
}

/// The process beside: makes the layer and exits.
pub fn initrd(order: &Path) -> Result<(), Error> {
    namespace::prepare()?;
    let text = fs::read(order).map_err(Error::io("cannot read", order))?;
    let order: Order = serde_json::from_slice(&text)
        .map_err(|error| Error::Layout(format!("{}: {error}", order.display())))?;
    let job = Job::load(&order.job)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(Error::namespace("cannot leave the build's mounts"))?;
    fs::create_dir_all(&order.work).map_err(Error::io("cannot make", &order.work))?;
    let programs = Programs::new(
        super::worker::stage(&job, LOG)?,
        job.epoch,
        &Workshop::mount(&order.work),
    )?;
    let workshop = Workshop::open(job.layers.then_some(&job.cache), &order.work)?;
    let key = key(&job, &order.base)?;
    let made = workshop.make(&key, &order.base, &mut |_| {
        initramfs::generate_for_base(&job, &programs)
    });
    made.map(drop)
}
