//! A cache in which nothing has been built yet.

use crate::site::{MUSTER, images};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A cache of its own, with the package files of everybody.
pub struct Cache(PathBuf);

/// Where that of whoever runs the tests is.
fn common() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
}

impl Cache {
    /// Below a folder, empty but for the package files.
    pub fn below(folder: &Path) -> Cache {
        let common = common();
        let cache = Cache(folder.join("cache"));
        fs::create_dir_all(cache.0.join("muster")).expect("made");
        for name in ["sha256", "release"] {
            let link = cache.0.join("muster").join(name);
            std::os::unix::fs::symlink(common.join("muster").join(name), link).expect("linked");
        }
        cache
    }

    /// The one of whoever runs the tests.
    pub fn of_everybody() -> Cache {
        Cache(common())
    }

    /// `muster ARGS…` where the images and their lock are.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command.current_dir(images()).args(arguments);
        command.envs(self.variable()).stdin(Stdio::null());
        command
    }

    /// What makes a program use it.
    pub fn variable(&self) -> [(&str, &Path); 1] {
        [("XDG_CACHE_HOME", &self.0)]
    }

    /// The same, run to its end.
    pub fn muster(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("muster starts")
    }

    /// What it says on standard error; it must end well.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.muster(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// A layer whose tree has this file.
    pub fn layer_with(&self, path: &str) -> PathBuf {
        let listed = self.muster(&["cache", "ls", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let folder = Path::new(listed["folder"].as_str().expect("a path")).join("layers");
        let entries = listed["entries"].as_array().expect("entries").iter();
        let layers = entries.filter(|entry| entry["kind"] == "layer");
        let found = layers
            .map(|layer| folder.join(layer["name"].as_str().expect("a key")))
            .find(|layer| layer.join("tree").join(path).exists());
        found.expect("a layer with the file")
    }
}
