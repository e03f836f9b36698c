//! What muster itself puts into a configured root: overlays, the agent, facts about the image,
//! the host's name, and what apt on the host reads.

use super::apt;
use super::error::Error;
use super::job::Job;
use super::program::Programs;
use crate::profile::OverlayFile;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const UNITS: &str = "/usr/lib/systemd/system/";

/// Writes all of it below `/`, which this process has entered.
pub fn apply(job: &Job, agent: &mut File, image_id: &str) -> Result<(), Error> {
    for (path, file) in job.overlay()? {
        write(path, file.content.as_bytes(), file.mode)?;
    }
    let path = "/usr/bin/muster";
    remove(path)?;
    let mut copy = File::create(path).map_err(Error::io("cannot write", path))?;
    io::copy(agent, &mut copy).map_err(Error::io("cannot write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("cannot set up", path))?;
    let facts = json!({ "image-id": image_id, "role": job.role, "stack": job.stack });
    write(
        "/usr/share/muster/image.json",
        facts.to_string().as_bytes(),
        0o644,
    )?;
    write("/etc/hostname", format!("{}\n", job.role).as_bytes(), 0o644)?;
    let hosts = format!(
        "127.0.0.1 localhost\n127.0.1.1 {}\n\
         ::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n",
        job.role
    );
    write("/etc/hosts", hosts.as_bytes(), 0o644)?;
    apt::configure(job)?;
    if Path::new("/usr/lib/systemd/systemd-resolved").exists() {
        let path = "/etc/resolv.conf";
        remove(path)?;
        symlink("../run/systemd/resolve/stub-resolv.conf", path)
            .map_err(Error::io("cannot make", path))?;
    }
    Ok(())
}

/// Those files of the overlays that decide what starts at boot.
pub fn units<'a>(
    overlay: &BTreeMap<&'a str, &'a OverlayFile>,
) -> BTreeMap<&'a str, &'a OverlayFile> {
    let folders = ["/usr/lib/systemd/", "/etc/systemd/", "/etc/init.d/"];
    let all = overlay.iter().map(|(path, file)| (*path, *file));
    all.filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)))
        .collect()
}

/// Writes those files of the overlays that no package brings, before scripts of packages run:
/// some look for the settings of people (`createcluster.d` of PostgreSQL). All others would
/// stand in dpkg's way.
pub fn before_configuration(overlay: &BTreeMap<&str, &OverlayFile>) -> Result<(), Error> {
    for (path, file) in overlay {
        let packaged = [(*path).to_string(), format!("{path}.dpkg-new")];
        if packaged
            .iter()
            .all(|path| fs::symlink_metadata(path).is_err())
        {
            write(path, file.content.as_bytes(), file.mode)?;
        }
    }
    Ok(())
}

/// Writes units of overlays below `/`, which this process has entered, and lets systemd.preset(5)
/// decide what starts at boot, instead of the packages: what a stack brings up is enabled by its
/// bring-up. Services that only have an init script follow suit.
pub fn presets(units: &BTreeMap<&str, &OverlayFile>, programs: &Programs) -> Result<(), Error> {
    for (path, file) in units {
        write(path, file.content.as_bytes(), file.mode)?;
    }
    let tool = "/usr/bin/systemctl";
    if !Path::new(tool).exists() {
        return Ok(());
    }
    programs.run("applying the presets of units", &[tool, "preset-all"])?;
    let path = "/etc/init.d";
    let mut scripts: Vec<String> = fs::read_dir(path)
        .map_err(Error::io("cannot read", path))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !Path::new(&format!("{UNITS}{name}.service")).exists())
        .filter(|name| started(name))
        .collect();
    scripts.sort();
    for script in scripts {
        let what = format!("disabling the init script {script}");
        programs.run(&what, &["/usr/sbin/update-rc.d", &script, "disable"])?;
    }
    Ok(())
}

/// Whether a runlevel with users starts an init script.
fn started(script: &str) -> bool {
    let Ok(entries) = fs::read_dir("/etc/rc2.d") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with('S') && name.get(3..) == Some(script)
    })
}

impl Job {
    /// Files of the base's and the services' overlays that land in the image as they are; a
    /// service's file wins over the base's. Templates (`.j2`) are rendered at bring-up.
    pub fn overlay(&self) -> Result<BTreeMap<&str, &OverlayFile>, Error> {
        let services = self.services()?;
        let base = self.base()?.overlay.iter();
        let all = base.chain(services.iter().flat_map(|service| &service.overlay));
        let plain = all.filter(|(path, _)| !path.ends_with(".j2"));
        Ok(plain.map(|(path, file)| (path.as_str(), file)).collect())
    }
}

fn remove(path: &str) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file of the image, replacing what is there.
pub fn write(path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    let target = Path::new(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Error::io("cannot make", parent))?;
    }
    remove(path)?;
    fs::write(target, content)
        .and_then(|()| fs::set_permissions(target, fs::Permissions::from_mode(mode)))
        .map_err(Error::io("cannot write", target))
}
