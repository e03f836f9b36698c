//! The flash of a machine with UEFI: the code is shared, the variables are its own.

use super::description::Firmware;
use crate::machine::{MachineError, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a machine keeps the variables of this firmware: those of one are nothing to another.
pub fn variables(firmware: &Firmware, place: &Path) -> PathBuf {
    place.join(firmware.variables.file_name().unwrap_or_default())
}

/// Gives a machine the variables that its firmware is delivered with, if it has none yet.
pub fn prepare(firmware: &Firmware, place: &Path) -> Result<()> {
    let own = variables(firmware, place);
    for file in [&firmware.code, &firmware.variables] {
        if !file.is_file() {
            return Err(MachineError::MissingFirmware {
                path: file.clone(),
                package: firmware.package.clone(),
            });
        }
    }
    let beside = own.with_extension("new");
    match fs::metadata(&own) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::copy(&firmware.variables, &beside)
            .and_then(|_| fs::rename(&beside, &own))
            .map_err(MachineError::io("write", &own)),
        Err(error) => Err(MachineError::io("read", &own)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_copied_once_and_missing_firmware_names_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("office");
        fs::create_dir(&place).unwrap();
        let mut firmware = Firmware {
            package: "ovmf".into(),
            code: dir.path().join("code"),
            variables: dir.path().join("delivered"),
            globals: Vec::new(),
        };
        fs::write(&firmware.code, "code").unwrap();
        fs::write(&firmware.variables, "keys").unwrap();
        prepare(&firmware, &place).unwrap();
        let own = variables(&firmware, &place);
        assert_eq!(fs::read_to_string(&own).unwrap(), "keys");
        fs::write(&own, "changed by the guest").unwrap();
        prepare(&firmware, &place).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), "changed by the guest");
        firmware.code = PathBuf::from("/none/such");
        let error = prepare(&firmware, &place).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no UEFI firmware: /none/such does not exist"
        );
        assert_eq!(
            miette::Diagnostic::help(&error).unwrap().to_string(),
            "it is in the package ovmf: apt install ovmf; or leave --firmware away"
        );
    }
}
