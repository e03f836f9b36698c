//! Where profiles, overlays and other data come from: a stack's own directory, then
//! `--profiles DIR`, then what is built into the binary. The first that has a file wins; of
//! an overlay, the first that has the folder.
//!
//! Paths are those of the project's tree: `profiles/services/nginx.toml`,
//! `overlays/nginx/etc/…`, `image/…`, `qemu/…`.

use super::problem::{ProfileError, Text};
use include_dir::{Dir, DirEntry, include_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

static PROFILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/profiles");
static OVERLAYS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/overlays");
static IMAGE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/image");
static QEMU: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/qemu");
static EXECUTABLES: &[&str] = include!(concat!(env!("OUT_DIR"), "/executables.rs"));

/// Layers of data, the first wins.
#[derive(Debug, Clone)]
pub struct Source {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
enum Layer {
    /// Directories on disk: what `profiles/` stands for, and where the other folders are.
    Folder { profiles: PathBuf, rest: PathBuf },
    /// A stack among the profiles: its own `services/`, `bases/` and `overlays/`.
    Nested { stack: String },
    /// Built into the binary.
    BuiltIn,
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name and content.
    pub text: Text,
    /// Whether it may be executed.
    pub executable: bool,
}

/// Where a stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackPlace {
    /// A directory of its own.
    Directory(PathBuf),
    /// Among the profiles, by name.
    Named(String),
}

/// Folders that a directory of profiles may hold.
const FOLDERS: [&str; 7] = [
    "profiles", "bases", "services", "stacks", "overlays", "image", "qemu",
];

/// The directory that `--profiles` names.
///
/// # Errors
/// It is not there, or holds nothing that would be read: every built-in file would silently
/// stand in for the one that was meant.
pub fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match std::fs::metadata(&path) {
        Err(error) => return Err(format!("it cannot be read: {error}")),
        Ok(metadata) if !metadata.is_dir() => return Err("it is not a directory".into()),
        Ok(_) => {}
    }
    if FOLDERS.iter().any(|name| path.join(name).is_dir()) {
        return Ok(path);
    }
    Err(format!(
        "it holds no profiles: none of {} is in it",
        FOLDERS.join(", ")
    ))
}

impl Source {
    /// The built-in data; with `profiles` (`--profiles DIR`), that directory first. It holds
    /// `bases`, `services`, `stacks` and `overlays`, or is a checkout of the project, or its
    /// `profiles` folder.
    pub fn new(profiles: Option<&Path>) -> Self {
        let mut layers = Vec::new();
        if let Some(folder) = profiles {
            let inner = folder.join("profiles");
            let inner = if inner.is_dir() {
                inner
            } else {
                folder.to_owned()
            };
            let beside = inner.parent().filter(|_| inner.ends_with("profiles"));
            let rest = match beside {
                Some(parent) if !inner.join("overlays").is_dir() => parent.to_owned(),
                _ => inner.clone(),
            };
            layers.push(Layer::Folder {
                profiles: inner,
                rest,
            });
        }
        layers.push(Layer::BuiltIn);
        Source { layers }
    }

    /// Only this directory, without what is built in.
    pub fn only(folder: &Path) -> Self {
        let mut source = Source::new(Some(folder));
        source.layers.truncate(1);
        source
    }

    /// What `check`, `plan`, `lock`, `build` and `up` mean by their argument: a stack of the
    /// profiles by name, or a directory with a `stack.toml`.
    pub fn locate(&self, name_or_dir: &str) -> Result<StackPlace, ProfileError> {
        let directory = Path::new(name_or_dir);
        let path_like = name_or_dir.contains('/') || matches!(name_or_dir, "." | "..");
        let known = self.stacks()?;
        if !path_like && known.contains(name_or_dir) {
            return Ok(StackPlace::Named(name_or_dir.to_owned()));
        }
        let file = directory.join("stack.toml");
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => {
                return Ok(StackPlace::Directory(directory.to_owned()));
            }
            Err(source) if path_like && !absent(&source) => {
                return Err(ProfileError::Read { path: file, source });
            }
            _ => {}
        }
        let named = known.iter().map(String::as_str);
        let hint = match super::problem::nearest(name_or_dir, named) {
            Some(near) if !path_like => format!("did you mean `{near}`?"),
            _ => what_is_there(directory, path_like),
        };
        Err(ProfileError::NoStack {
            name: name_or_dir.to_owned(),
            known: known.into_iter().collect(),
            hint,
        })
    }

    /// Names of all stacks of the profiles.
    pub fn stacks(&self) -> Result<BTreeSet<String>, ProfileError> {
        let mut stacks = BTreeSet::new();
        for name in self.entries("profiles/stacks")? {
            if self
                .read(&format!("profiles/stacks/{name}/stack.toml"))?
                .is_some()
            {
                stacks.insert(name);
            }
        }
        Ok(stacks)
    }

    /// Names of the TOML files of `services` or `bases`, without their suffix.
    pub fn profiles(&self, kind: &str) -> Result<BTreeSet<String>, ProfileError> {
        let entries = self.entries(&format!("profiles/{kind}"))?;
        Ok(entries
            .iter()
            .filter_map(|e| e.strip_suffix(".toml"))
            .map(str::to_owned)
            .collect())
    }

    /// This source with the stack's own files first, and the text of its `stack.toml`.
    pub fn within(&self, place: &StackPlace) -> Result<(Source, Text), ProfileError> {
        let mut layers = self.layers.clone();
        match place {
            StackPlace::Directory(folder) => {
                let path = folder.join("stack.toml");
                let found = read_file(&path)?.ok_or_else(|| ProfileError::Read {
                    path,
                    source: std::io::ErrorKind::NotFound.into(),
                })?;
                layers.insert(
                    0,
                    Layer::Folder {
                        profiles: folder.clone(),
                        rest: folder.clone(),
                    },
                );
                Ok((Source { layers }, found.text))
            }
            StackPlace::Named(name) => {
                let path = format!("profiles/stacks/{name}/stack.toml");
                let found = self.read(&path)?.ok_or_else(|| ProfileError::NoStack {
                    name: name.clone(),
                    known: Vec::new(),
                    hint: "it has no stack.toml".into(),
                })?;
                layers.insert(
                    0,
                    Layer::Nested {
                        stack: name.clone(),
                    },
                );
                Ok((Source { layers }, found.text))
            }
        }
    }

    /// One file, from the first layer that has it.
    pub fn read(&self, path: &str) -> Result<Option<Found>, ProfileError> {
        for (index, layer) in self.layers.iter().enumerate() {
            let found = match layer {
                Layer::Folder { .. } => read_file(&layer.on_disk(path))?,
                Layer::Nested { stack } => self.beneath(index).read(&nested(stack, path))?,
                Layer::BuiltIn => built_in_file(path)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Names in a folder, over all layers.
    pub fn entries(&self, folder: &str) -> Result<BTreeSet<String>, ProfileError> {
        let mut names = BTreeSet::new();
        for (index, layer) in self.layers.iter().enumerate() {
            match layer {
                Layer::Folder { .. } => names.extend(list(&layer.on_disk(folder))?),
                Layer::Nested { stack } => {
                    names.extend(self.beneath(index).entries(&nested(stack, folder))?);
                }
                Layer::BuiltIn => {
                    let entries = built_in_folder(folder)
                        .map(Dir::entries)
                        .unwrap_or_default();
                    names.extend(
                        entries.iter().filter_map(|entry| {
                            entry.path().file_name()?.to_str().map(str::to_owned)
                        }),
                    );
                }
            }
        }
        Ok(names)
    }

    /// Every file below a folder, from the first layer that has the folder: path below it
    /// (without a leading slash) → file. Layers are not mixed here, or what one layer has
    /// dropped would come back from the next. Editors' backup files (`…~`) are left out.
    pub fn below(&self, folder: &str) -> Result<BTreeMap<String, Found>, ProfileError> {
        for (index, layer) in self.layers.iter().enumerate() {
            let files = match layer {
                Layer::Nested { stack } => self.beneath(index).below(&nested(stack, folder))?,
                layer => Source {
                    layers: vec![layer.clone()],
                }
                .walk(folder)?,
            };
            if !files.is_empty() {
                return Ok(files);
            }
        }
        Ok(BTreeMap::new())
    }

    fn walk(&self, folder: &str) -> Result<BTreeMap<String, Found>, ProfileError> {
        let mut files = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(inner) = folders.pop() {
            for name in self.entries(&format!("{folder}{inner}"))? {
                let relative = format!("{inner}/{name}");
                match self.read(&format!("{folder}{relative}"))? {
                    Some(found) if !name.ends_with('~') => {
                        files.insert(relative.trim_start_matches('/').to_owned(), found);
                    }
                    Some(_) => {}
                    None => folders.push(relative),
                }
            }
        }
        Ok(files)
    }

    fn beneath(&self, index: usize) -> Source {
        Source {
            layers: self.layers[index + 1..].to_vec(),
        }
    }
}

impl Layer {
    fn on_disk(&self, path: &str) -> PathBuf {
        match (self, path.strip_prefix("profiles/")) {
            (Layer::Folder { profiles, .. }, Some(inner)) => profiles.join(inner),
            (Layer::Folder { rest, .. }, None) => rest.join(path),
            _ => PathBuf::from(path),
        }
    }
}

/// Why a path is no stack's directory, and what would be.
fn what_is_there(path: &Path, path_like: bool) -> String {
    let shown = path.display();
    match path.parent() {
        Some(parent) if path.ends_with("stack.toml") && path.is_file() => {
            let parent = match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            };
            format!("name the directory it is in: {}", parent.display())
        }
        _ if path.is_dir() => format!(
            "there is no stack.toml in the directory {shown}; give the directory of one, or the name of a stack"
        ),
        _ if path.exists() => {
            format!("{shown} is a file; a stack is named, or is a directory with a stack.toml")
        }
        _ if path_like => {
            format!("{shown} does not exist; a stack is named, or is a directory with a stack.toml")
        }
        _ => "a stack is named, or is a directory with a stack.toml".to_owned(),
    }
}

fn nested(stack: &str, path: &str) -> String {
    let inner = path.strip_prefix("profiles/").unwrap_or(path);
    format!("profiles/stacks/{stack}/{inner}")
}

fn read_file(path: &Path) -> Result<Option<Found>, ProfileError> {
    let failed = |source| ProfileError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(None),
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let content = std::fs::read(path).map_err(failed)?;
    let content = String::from_utf8(content).map_err(|_| ProfileError::NotText {
        path: path.to_owned(),
    })?;
    Ok(Some(Found {
        text: Text {
            name: path.to_string_lossy().into(),
            content: content.into(),
        },
        executable: metadata.permissions().mode() & 0o111 != 0,
    }))
}

fn absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn list(folder: &Path) -> Result<Vec<String>, ProfileError> {
    let failed = |source| ProfileError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.into_string().map_err(|name| ProfileError::NotText {
            path: folder.join(name),
        })?);
    }
    Ok(names)
}

fn built_in_root(path: &str) -> Option<(&'static Dir<'static>, &str)> {
    let (root, inner) = path.split_once('/').unwrap_or((path, ""));
    let folder = match root {
        "profiles" => &PROFILES,
        "overlays" => &OVERLAYS,
        "image" => &IMAGE,
        "qemu" => &QEMU,
        _ => return None,
    };
    Some((folder, inner.trim_end_matches('/')))
}

fn built_in_folder(path: &str) -> Option<&'static Dir<'static>> {
    let (root, inner) = built_in_root(path)?;
    match inner {
        "" => Some(root),
        inner => root.get_entry(inner).and_then(DirEntry::as_dir),
    }
}

fn built_in_file(path: &str) -> Result<Option<Found>, ProfileError> {
    let Some((root, inner)) = built_in_root(path) else {
        return Ok(None);
    };
    let Some(file) = root.get_entry(inner).and_then(DirEntry::as_file) else {
        return Ok(None);
    };
    let content = std::str::from_utf8(file.contents())
        .map_err(|_| ProfileError::NotText { path: path.into() })?;
    Ok(Some(Found {
        text: Text {
            name: path.into(),
            content: content.into(),
        },
        executable: EXECUTABLES.contains(&path),
    }))
}
