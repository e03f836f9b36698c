//! Where the layers of one image are made, one above the other.
//!
//! They stand in the cache where it can be written to, else in the folder of the build. Where
//! overlayfs does not work there is one folder, in which each layer is made on top of the one
//! before and none is kept.

use super::error::Error;
use super::fence::{Fence, Ground};
use super::layer::Layers;
use super::layer::key::Key;
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const NONE: Option<&str> = None;

/// The workshop of one build.
#[derive(Debug)]
pub struct Workshop {
    work: PathBuf,
    layers: Option<Layers>,
    stacks: bool,
}

/// A layer that can be stood on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its key.
    pub key: String,
    /// Its tree, and those it stands on: the upper before the lower.
    pub trees: Vec<PathBuf>,
}

impl Layer {
    /// What the first layer stands on.
    pub fn nothing() -> Layer {
        Layer {
            key: String::new(),
            trees: Vec::new(),
        }
    }
}

impl Workshop {
    /// Where the workshop in `work` mounts roots.
    pub fn mount(work: &Path) -> PathBuf {
        work.join("mount")
    }

    /// A workshop in the empty folder `work`, with the layers of a cache. The process is alone
    /// in its mount namespace.
    pub fn open(cache: Option<&Path>, work: &Path) -> Result<Workshop, Error> {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NONE, "/", NONE, private, NONE)
            .map_err(Error::namespace("cannot make the mounts private"))?;
        let layers = cache.and_then(Layers::open);
        let layers = layers.filter(|layers| Ground::works(layers.folder()));
        if let Some(layers) = &layers {
            layers.sweep()?;
            layers.forget(SystemTime::now())?;
        }
        Ok(Workshop {
            work: work.to_owned(),
            layers,
            stacks: Ground::works(work),
        })
    }

    /// Layers that outlive this build.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_ref().filter(|_| self.stacks)
    }

    /// Whether one layer can stand on another.
    pub fn stacks(&self) -> bool {
        self.stacks
    }

    /// A layer that a build before has made.
    pub fn find(&self, key: &Key, lower: &Layer) -> Result<Option<Layer>, Error> {
        let key = key.clone().hex();
        let found = match self.layers() {
            Some(layers) => layers.find(&key)?,
            None => None,
        };
        Ok(found.map(|tree| above(key, tree, lower)))
    }

    /// Makes a layer above `lower`: in its fenced root, which `make` finds entered and leaves
    /// with what belongs to the layer.
    pub fn make(
        &self,
        key: &Key,
        lower: &Layer,
        make: &mut dyn FnMut(&mut Fence) -> Result<(), Error>,
    ) -> Result<Layer, Error> {
        let key = key.clone().hex();
        let Some(layers) = self.layers() else {
            let ground = self.ground(&key, lower)?;
            inside(&ground, make)?;
            return Ok(above(key, ground.upper, lower));
        };
        let growing = layers.begin(&key)?;
        // Another build may have made it while this one waited.
        if let Some(tree) = layers.find(&key)? {
            return Ok(above(key, tree, lower));
        }
        let ground = Ground {
            lower: lower.trees.clone(),
            upper: growing.tree(),
            work: Some(growing.work()),
            mount: self.mount_point()?,
        };
        inside(&ground, make)?;
        Ok(above(key, growing.finish()?, lower))
    }

    /// The ground of what is not kept.
    pub fn ground(&self, name: &str, lower: &Layer) -> Result<Ground, Error> {
        let mount = self.mount_point()?;
        if !self.stacks {
            return Ok(Ground {
                lower: Vec::new(),
                upper: self.folder("root")?,
                work: None,
                mount,
            });
        }
        Ok(Ground {
            lower: lower.trees.clone(),
            upper: self.folder(&format!("{name}.tree"))?,
            work: Some(self.folder(&format!("{name}.work"))?),
            mount,
        })
    }

    fn mount_point(&self) -> Result<PathBuf, Error> {
        made(Workshop::mount(&self.work))
    }

    fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        made(self.work.join(name))
    }
}

/// A folder, made if it is not there.
fn made(path: PathBuf) -> Result<PathBuf, Error> {
    fs::create_dir_all(&path).map_err(Error::io("cannot make", &path))?;
    Ok(path)
}

fn above(key: String, tree: PathBuf, lower: &Layer) -> Layer {
    let mut trees = vec![tree];
    trees.extend(lower.trees.iter().cloned());
    Layer { key, trees }
}

fn inside(
    ground: &Ground,
    make: &mut dyn FnMut(&mut Fence) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut fence = Fence::raise(ground)?;
    fence.enter()?;
    make(&mut fence)?;
    fence.lower()?;
    fence.leave()
}
