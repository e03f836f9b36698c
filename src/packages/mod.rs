//! A stack to a [`lock::Lock`] to verified files in the [`cache::Cache`].

pub mod apt;
pub mod artifact;
pub mod cache;
pub mod download;
pub mod error;
pub mod fetch;
pub mod http;
pub mod lock;
pub mod oci;

use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

pub use apt::mirror::{Mirrors, Preferences};
pub use error::PackagesError;

/// SHA-256 in lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes a file beside its place and renames it there; makes the folder if need be.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
