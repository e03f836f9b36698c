//! The disk of a machine: an empty overlay on a hard link of its image. The link keeps the
//! image's bits when a later build puts a new file in its place.

use super::overlay;
use crate::machine::record::{Backing, Boot, Machine, Spec};
use crate::machine::{MachineError, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// Suffixes of what is handed over when a machine boots without firmware.
const KERNEL: [&str; 2] = ["vmlinuz", "initrd"];

/// Makes disk and links in `place`; the image and the disk's size in bytes.
pub fn create(place: &Path, spec: &Spec) -> Result<(Backing, u64)> {
    let missing = |path: &Path| MachineError::ImageMissing {
        stack: spec.stack.clone(),
        role: spec.role.clone(),
        path: path.to_owned(),
    };
    let (format, size) = overlay::measure(&spec.image).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(&spec.image),
        _ => MachineError::io("read", &spec.image)(error),
    })?;
    if size == 0 {
        return Err(MachineError::NotAnImage {
            stack: spec.stack.clone(),
            role: spec.role.clone(),
            path: spec.image.clone(),
            why: "it is empty".into(),
        });
    }
    let disk = place.join("disk.qcow2");
    let whole = size.max(u64::from(spec.disk) * MIB);
    // One that nobody has written to yet may be left over from an `up` that was stopped.
    let untouched = overlay::empty("", format, whole).len() as u64;
    if fs::metadata(&disk).is_ok_and(|meta| meta.len() > untouched) {
        return Err(MachineError::RecordGone {
            stack: spec.stack.clone(),
            path: disk,
        });
    }
    let image = keep(&spec.image, &place.join(format!("image.{format}")))?;
    for part in KERNEL {
        let beside = spec.image.with_extension(part);
        if beside.is_file() {
            keep(&beside, &place.join(format!("image.{part}")))?;
        } else if spec.boot == Boot::Kernel {
            return Err(missing(&beside));
        }
    }
    let meta = fs::metadata(&image).map_err(MachineError::io("read", &image))?;
    let size = whole;
    let beside = place.join("disk.new");
    fs::write(
        &beside,
        overlay::empty(&backing_name(place, &image), format, size),
    )
    .and_then(|()| fs::rename(&beside, &disk))
    .map_err(MachineError::io("write", &disk))?;
    let origin = std::path::absolute(&spec.image).unwrap_or_else(|_| spec.image.clone());
    let backing = Backing {
        origin,
        path: image,
        format: format.into(),
        size: meta.len(),
        mtime: nanoseconds(&meta),
    };
    Ok((backing, size))
}

/// Refuses a disk of so many MiB that the image does not fit on.
pub fn fits(role: &str, image: &Path, asked: u32) -> Result<()> {
    let (_, size) = overlay::measure(image).map_err(MachineError::io("read", image))?;
    let image = size.div_ceil(MIB);
    if u64::from(asked) < image {
        let role = role.to_owned();
        return Err(MachineError::DiskTooSmall { role, asked, image });
    }
    Ok(())
}

/// Refuses a disk whose image is gone or has other bits than when the disk was made, and a
/// direct boot without a kernel.
pub fn check(machine: &Machine, place: &Path) -> Result<()> {
    let image = &machine.image;
    let missing = |path: PathBuf| MachineError::ImageMissing {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
        path,
    };
    if machine.boot == Boot::Kernel {
        for part in KERNEL {
            if !place.join(format!("image.{part}")).is_file() {
                return Err(missing(image.origin.with_extension(part)));
            }
        }
    }
    let gone = |what, path: PathBuf| MachineError::DiskGone {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
        what,
        path,
    };
    let disk = place.join("disk.qcow2");
    if !disk.exists() {
        return Err(gone("disk", disk));
    }
    match fs::metadata(&image.path) {
        Ok(meta) if meta.len() == image.size && nanoseconds(&meta) == image.mtime => Ok(()),
        Ok(_) => Err(MachineError::ImageChanged {
            stack: machine.stack.clone(),
            role: machine.role.clone(),
            path: image.path.clone(),
        }),
        Err(_) => Err(gone("image under the disk", image.path.clone())),
    }
}

/// Whether a newer image stands where this machine's once came from.
pub fn superseded(machine: &Machine) -> bool {
    fs::metadata(&machine.image.origin).is_ok_and(|meta| {
        meta.len() != machine.image.size || nanoseconds(&meta) != machine.image.mtime
    })
}

/// Links `origin` to `link`; where links cannot be made (another file system, another
/// owner), the original is used in its place.
fn keep(origin: &Path, link: &Path) -> Result<PathBuf> {
    let origin = fs::canonicalize(origin).map_err(MachineError::io("read", origin))?;
    match fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(MachineError::io("replace", link)(error));
        }
        _ => {}
    }
    match fs::hard_link(&origin, link) {
        Ok(()) => Ok(link.to_owned()),
        Err(_) => {
            std::os::unix::fs::symlink(&origin, link).map_err(MachineError::io("link", link))?;
            Ok(origin)
        }
    }
}

/// How the overlay names its image: by file name when it stands beside, so that the folder
/// may move.
fn backing_name(place: &Path, image: &Path) -> String {
    match image.strip_prefix(place) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => image.to_string_lossy().into_owned(),
    }
}

fn nanoseconds(meta: &fs::Metadata) -> i64 {
    meta.mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(meta.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(image: &Path, boot: Boot) -> Spec {
        Spec {
            stack: "starter".into(),
            role: "office".into(),
            order: 0,
            memory: 64,
            cpus: 1,
            disk: 8,
            image: image.to_owned(),
            boot,
            ports: Vec::new(),
            routes: Vec::new(),
            segment: 0,
            inside: false,
        }
    }

    #[test]
    fn a_later_build_does_not_reach_the_disk_of_a_machine() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("office");
        fs::create_dir(&place).unwrap();
        let image = dir.path().join("office.raw");
        fs::write(&image, vec![7; 4096]).unwrap();
        let (backing, size) = create(&place, &spec(&image, Boot::Bios)).unwrap();
        assert_eq!(size, 8 * MIB);
        assert_eq!(backing.path, place.join("image.raw"));
        fs::write(dir.path().join("new"), vec![8; 8192]).unwrap();
        fs::rename(dir.path().join("new"), &image).unwrap();
        assert_eq!(fs::read(&backing.path).unwrap(), vec![7; 4096]);
    }

    #[test]
    fn a_missing_image_or_kernel_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("office.raw");
        let said = |boot| {
            create(dir.path(), &spec(&image, boot))
                .unwrap_err()
                .to_string()
        };
        let at = dir.path().display();
        assert_eq!(
            said(Boot::Bios),
            format!("there is no image of office: {at}/office.raw does not exist")
        );
        fs::write(&image, "").unwrap();
        assert_eq!(
            said(Boot::Bios),
            format!("{at}/office.raw is not a whole disk image: it is empty")
        );
        fs::write(&image, vec![7; 4096]).unwrap();
        assert_eq!(
            said(Boot::Kernel),
            format!("there is no image of office: {at}/office.vmlinuz does not exist")
        );
    }
}
