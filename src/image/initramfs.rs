//! The initial RAM filesystem: made once, by the base's own tools.
//!
//! What goes into it comes from the base, so it is made above the base alone, by a process
//! beside the one that configures the packages of the role, and kept like any other layer. Where
//! a role brings something that it is made from, it is made anew above the role.

use super::error::Error;
use super::job::Job;
use super::overlay;
use super::program::Programs;
use crate::profile::OverlayFile;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What it is made from beside programs, libraries and modules: below these (a final slash),
/// or exactly these.
const INPUTS: [&str; 18] = [
    "etc/cryptsetup-initramfs/",
    "etc/crypttab",
    "etc/default/keyboard",
    "etc/fstab",
    "etc/initramfs-tools/",
    "etc/kernel/",
    "etc/lvm/",
    "etc/mdadm/",
    "etc/modprobe.d/",
    "etc/modules",
    "etc/modules-load.d/",
    "etc/systemd/network/",
    "etc/udev/",
    "usr/lib/firmware/",
    "usr/lib/modprobe.d/",
    "usr/lib/modules/",
    "usr/lib/udev/",
    "usr/share/initramfs-tools/",
];

/// Whether a path of the image is one of them.
fn is_input(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    INPUTS.iter().any(|input| match input.ends_with('/') {
        true => path.starts_with(input),
        false => path == *input,
    })
}

/// Makes it for every kernel of the root this process has entered.
pub fn generate(programs: &Programs) -> Result<(), Error> {
    let argv = ["/usr/sbin/update-initramfs", "-c", "-k", "all"];
    programs.run("making the initial RAM filesystem", &argv)
}

/// Makes it in a root that has the packages of the base and nothing else of the image.
pub fn generate_for_base(job: &Job, programs: &Programs) -> Result<(), Error> {
    for (path, file) in inputs_of_base(job)? {
        overlay::write(path, file.content.as_bytes(), file.mode)?;
    }
    generate(programs)
}

/// Files of the base's overlay that it is made from.
pub fn inputs_of_base(job: &Job) -> Result<BTreeMap<&str, &OverlayFile>, Error> {
    let base = job.base()?.overlay.iter();
    let inputs = base.filter(|(path, _)| is_input(path) && !path.ends_with(".j2"));
    Ok(inputs.map(|(path, file)| (path.as_str(), file)).collect())
}

/// Whether a role, whose packages left this tree, brings something that it is made from.
pub fn is_touched_by_role(job: &Job, tree: &Path) -> Result<bool, Error> {
    let services = job.services()?.into_iter();
    let mut files = services.flat_map(|service| service.overlay.keys());
    if files.any(|path| is_input(path) && !path.ends_with(".j2")) {
        return Ok(true);
    }
    for input in INPUTS {
        let path = tree.join(input);
        if holds_a_file(&path).map_err(Error::io("cannot read", &path))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something other than folders is there.
fn holds_a_file(path: &Path) -> std::io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(path)? {
        if holds_a_file(&entry?.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the links `/vmlinuz` and `/initrd.img` of the root point at.
pub fn kernel() -> Result<(PathBuf, PathBuf), Error> {
    let find = |link: &str| {
        let found = fs::canonicalize(link).map_err(Error::io("the root has no", link))?;
        Ok(found)
    };
    Ok((find("/vmlinuz")?, find("/initrd.img")?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_it_is_made_from_makes_it_anew() {
        assert!(is_input("/etc/initramfs-tools/conf.d/muster.conf"));
        assert!(is_input("/etc/fstab"));
        assert!(!is_input("/etc/fstab.d/more"));
        assert!(!is_input("/etc/hosts"));
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join("usr/lib/udev/rules.d");
        assert!(!holds_a_file(&folder).unwrap());
        fs::create_dir_all(&folder).unwrap();
        assert!(!holds_a_file(&tree.path().join("usr/lib/udev/")).unwrap());
        fs::write(folder.join("90-disk.rules"), "").unwrap();
        assert!(holds_a_file(&tree.path().join("usr/lib/udev/")).unwrap());
    }
}
