//! The emulator on this computer.

use super::description::Chipset;
use crate::machine::{MachineError, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the emulator is.
pub fn find(chipset: &Chipset) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(&path, &chipset.program).ok_or_else(|| MachineError::MissingProgram {
        program: chipset.program.clone(),
        package: chipset.package.clone(),
    })
}

fn find_in(path: &std::ffi::OsStr, program: &str) -> Option<PathBuf> {
    let runs = |file: &Path| {
        std::fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| runs(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_path_only_when_it_can_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qemu");
        std::fs::write(&file, "").unwrap();
        let set = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o644);
        assert_eq!(find_in(dir.path().as_os_str(), "qemu"), None);
        set(0o755);
        assert_eq!(find_in(dir.path().as_os_str(), "qemu"), Some(file.clone()));
    }

    #[test]
    fn a_missing_emulator_names_its_package() {
        let chipset = Chipset {
            program: "qemu-system-none-such".into(),
            package: "qemu-system-x86".into(),
            r#type: "pc".into(),
        };
        let error = find(&chipset).unwrap_err();
        assert_eq!(error.to_string(), "qemu-system-none-such is not installed");
        assert_eq!(
            miette::Diagnostic::help(&error).unwrap().to_string(),
            "it is in the package qemu-system-x86: apt install qemu-system-x86"
        );
    }
}
