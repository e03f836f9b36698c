//! Says when the built-in data has changed, and which of its files are executable.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const FOLDERS: &[&str] = &["profiles", "overlays", "image", "qemu"];

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut executables = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        executables_below(&root, &root.join(folder), &mut executables)?;
    }
    executables.sort();
    let mut list = String::from("&[");
    for path in executables {
        let _ = write!(list, "{path:?}, ");
    }
    list.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("executables.rs"), list)
}

fn executables_below(root: &Path, folder: &Path, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = std::fs::metadata(&path)?;
        if metadata.is_dir() {
            executables_below(root, &path, found)?;
        } else if metadata.permissions().mode() & 0o111 != 0 {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            found.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
