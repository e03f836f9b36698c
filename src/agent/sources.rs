//! Where answers come from when nobody is there to give them: fw_cfg, SMBIOS, a disk, the
//! kernel command line.

use super::{AgentError, Result, at};
use crate::bringup::process::Program;
use base64::Engine;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where QEMU's `-fw_cfg name=opt/muster/answers,file=…` appears, below /sys.
const FW_CFG: &str = "firmware/qemu_fw_cfg/by_name/opt/muster/answers/raw";
/// The SMBIOS string that holds answers (OEM Strings, type 11).
const SMBIOS: &str = "muster.answers=";
/// Labels of a disk that carries `muster.toml`.
const LABELS: [&str; 2] = ["MUSTER", "cidata"];
/// Kernel parameters of ours that are no answers.
const NO_ANSWERS: [&str; 2] = ["answers", "break"];

/// Answers found, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// An answers file and the words for where it was.
    pub file: Option<(String, String)>,
    /// Single values of the kernel command line.
    pub parameters: BTreeMap<String, String>,
}

/// Looks everywhere; the first file found counts.
pub fn look() -> Result<Found> {
    // Where there is nothing to load, the kernel has it already or the machine never will.
    for module in ["qemu_fw_cfg", "dmi-sysfs"] {
        Program::new(["modprobe", "-q", module]).run().ok();
    }
    let sys = Path::new("/sys");
    let file = match (fw_cfg(sys)?, smbios(sys)?) {
        (Some(text), _) => Some(("fw_cfg opt/muster/answers".to_string(), text)),
        (None, Some(text)) => Some(("SMBIOS type 11".to_string(), text)),
        (None, None) => disk()?,
    };
    let path = Path::new("/proc/cmdline");
    let line = std::fs::read_to_string(path).map_err(at(path))?;
    Ok(Found {
        file,
        parameters: parameters(&line),
    })
}

fn fw_cfg(sys: &Path) -> Result<Option<String>> {
    let path = sys.join(FW_CFG);
    match path.exists() {
        true => std::fs::read_to_string(&path).map(Some).map_err(at(&path)),
        false => Ok(None),
    }
}

fn smbios(sys: &Path) -> Result<Option<String>> {
    let folder = sys.join("firmware/dmi/entries");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(None);
    };
    let mut entries: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    for entry in entries {
        let oem = entry
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("11-"));
        if !oem {
            continue;
        }
        let path = entry.join("raw");
        let raw = std::fs::read(&path).map_err(at(&path))?;
        let strings = oem_strings(&raw);
        let Some(text) = strings.iter().find_map(|text| text.strip_prefix(SMBIOS)) else {
            continue;
        };
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
        let decoded = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return match decoded {
            Some(text) => Ok(Some(text)),
            None => Err(AgentError::Content {
                path,
                reason: "muster.answers is not the base64 of a text; make it with: base64 -w0 muster.toml"
                    .into(),
            }),
        };
    }
    Ok(None)
}

/// The strings of an SMBIOS structure (SMBIOS 3.7 §6.1.3): behind the formatted area, whose
/// length is the second byte, each ended by a zero, all by another.
fn oem_strings(raw: &[u8]) -> Vec<String> {
    let Some(length) = raw.get(1) else {
        return Vec::new();
    };
    let Some(area) = raw.get(usize::from(*length)..) else {
        return Vec::new();
    };
    area.split(|byte| *byte == 0)
        .take_while(|text| !text.is_empty())
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}

/// `muster.toml` on a disk of one of our labels. The labels are udev's, which knows every
/// file system's; which one it is, is found by trying.
fn disk() -> Result<Option<(String, String)>> {
    // Without udev there are no labels, and the next lines find none.
    Program::new(["udevadm", "settle", "--timeout=20"])
        .run()
        .ok();
    for label in LABELS {
        let device = Path::new("/dev/disk/by-label").join(label);
        if !device.exists() {
            continue;
        }
        let folder = Path::new("/run/muster/answers-disk");
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let mut outcome = Err(nix::Error::ENODEV);
        for kind in ["iso9660", "vfat", "ext4"] {
            outcome = mount(Some(&device), folder, Some(kind), flags, None::<&str>);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|error| AgentError::Mount {
            what: device.clone(),
            at: folder.into(),
            error,
        })?;
        let path = folder.join("muster.toml");
        let text = match path.exists() {
            true => std::fs::read_to_string(&path).map(Some).map_err(at(&path)),
            false => Ok(None),
        };
        umount2(folder, MntFlags::MNT_DETACH).map_err(|error| AgentError::System {
            what: "cannot unmount the disk with the answers",
            error,
        })?;
        if let Some(text) = text? {
            return Ok(Some((format!("muster.toml on the disk {label}"), text)));
        }
    }
    Ok(None)
}

/// `muster.KEY=value` of a kernel command line; values with spaces stand in double quotes.
fn parameters(line: &str) -> BTreeMap<String, String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.trim().chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => words.push(String::new()),
            letter => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words
        .iter()
        .filter_map(|word| word.strip_prefix("muster.")?.split_once('='))
        .filter(|(key, _)| !NO_ANSWERS.contains(key))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_parameters_are_single_answers_and_may_be_quoted() {
        let found = parameters(
            "root=/dev/vda2 ro muster.time.zone=Europe/Berlin quiet \
             \"muster.organisation.name=Example Ltd\" muster.admin.full-name=\"Anna B\" \
             muster.break=x:done\n",
        );
        let expected = [
            ("admin.full-name", "Anna B"),
            ("organisation.name", "Example Ltd"),
            ("time.zone", "Europe/Berlin"),
        ];
        assert_eq!(
            found,
            BTreeMap::from(expected.map(|(key, value)| (key.to_string(), value.to_string())))
        );
    }

    #[test]
    fn fw_cfg_and_smbios_are_read_as_the_kernel_shows_them() {
        let sys = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(fw_cfg(sys.path()).expect("looked"), None);
        assert_eq!(smbios(sys.path()).expect("looked"), None);
        let path = sys.path().join(FW_CFG);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, "[time]\nzone = \"UTC\"\n").expect("written");
        assert_eq!(
            fw_cfg(sys.path()).expect("read").expect("there"),
            "[time]\nzone = \"UTC\"\n"
        );

        let entry = sys.path().join("firmware/dmi/entries/11-0");
        std::fs::create_dir_all(&entry).expect("a folder");
        let base64 = base64::engine::general_purpose::STANDARD.encode("a = 1\n");
        let raw = [
            &[11, 5, 0, 3, 2][..],
            b"vendor=x\0muster.answers=",
            base64.as_bytes(),
            b"\0\0",
        ]
        .concat();
        std::fs::write(entry.join("raw"), raw).expect("written");
        assert_eq!(smbios(sys.path()).expect("read").expect("there"), "a = 1\n");
        std::fs::write(entry.join("raw"), b"\x0b\x05\0\0\x01muster.answers=%%%\0\0").expect("w");
        let error = smbios(sys.path()).expect_err("refused").to_string();
        assert!(
            error.ends_with(
                ": muster.answers is not the base64 of a text; make it with: base64 -w0 muster.toml"
            ),
            "{error}"
        );
    }
}
