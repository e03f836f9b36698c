//! The initial RAM filesystem: made once, after everything is configured.

use super::error::Error;
use super::program::Programs;
use std::fs;
use std::path::PathBuf;

/// Makes it for every kernel of the root this process has entered.
pub fn generate(programs: &Programs) -> Result<(), Error> {
    let argv = ["/usr/sbin/update-initramfs", "-c", "-k", "all"];
    programs.run("making the initial RAM filesystem", &argv)
}

/// What the links `/vmlinuz` and `/initrd.img` of the root point at.
pub fn kernel() -> Result<(PathBuf, PathBuf), Error> {
    let find = |link: &str| {
        let found = fs::canonicalize(link).map_err(Error::io("the root has no", link))?;
        Ok(found)
    };
    Ok((find("/vmlinuz")?, find("/initrd.img")?))
}
