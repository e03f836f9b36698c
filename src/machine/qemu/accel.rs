//! Which accelerator really works. `/dev/kvm` that opens proves little: on a computer
//! without the processor's flag a guest simply hangs. So KVM is believed only when the flag
//! is there, the device opens, and a guest of five instructions has run.

use super::description::Description;
use super::program;
use crate::machine::process::boot_id;
use crate::machine::{MachineError, Result, folder};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// The processor's own virtualization.
    Kvm,
    /// QEMU's translator: works everywhere, slowly.
    Tcg,
}

/// What the person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Wish {
    /// Whatever really works.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// The translator.
    Tcg,
}

/// An accelerator and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Choice {
    /// Which.
    pub accel: Accel,
    /// For people, for example `no vmx or svm in /proc/cpuinfo`.
    pub reason: String,
}

impl Accel {
    /// Its name in words and options.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.accel.name(), self.reason)
    }
}

/// What `--accel auto` found, kept until the computer boots again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Remembered {
    boot: String,
    uid: u32,
    program: std::path::PathBuf,
    choice: Choice,
}

/// Chooses. `state` is the folder of all stacks, where the finding is kept per boot.
pub fn choose(wish: Wish, description: &Description, state: &Path) -> Result<Choice> {
    if wish == Wish::Tcg {
        return Ok(Choice {
            accel: Accel::Tcg,
            reason: "asked for".into(),
        });
    }
    let found = remembered_or_tried(description, state)?;
    if wish == Wish::Kvm && found.accel != Accel::Kvm {
        return Err(MachineError::KvmUnusable {
            reason: found.reason,
        });
    }
    Ok(found)
}

fn remembered_or_tried(description: &Description, state: &Path) -> Result<Choice> {
    let path = state.join("accel.json");
    let program = program::find(&description.machine)?;
    let (boot, uid) = (boot_id(), nix::unistd::geteuid().as_raw());
    let remembered = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| serde_json::from_str::<Remembered>(&text).ok())
        .filter(|old| old.boot == boot && old.uid == uid && old.program == program);
    if let Some(old) = remembered {
        return Ok(old.choice);
    }
    let choice = try_kvm(description, &program);
    let text = serde_json::to_string(&Remembered {
        boot,
        uid,
        program,
        choice: choice.clone(),
    });
    if let Ok(text) = text {
        folder::write_private(&path, text.as_bytes())?;
    }
    Ok(choice)
}

fn try_kvm(description: &Description, program: &Path) -> Choice {
    let tcg = |reason: String| Choice {
        accel: Accel::Tcg,
        reason,
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let Some(flag) = flag(&cpuinfo) else {
        return tcg("no vmx or svm in /proc/cpuinfo".into());
    };
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    if let Err(error) = device {
        return tcg(format!("/dev/kvm: {error}"));
    }
    match runs_a_guest(
        program,
        &description.accel.kvm.option,
        Duration::from_secs(2),
    ) {
        Ok(took) => Choice {
            accel: Accel::Kvm,
            reason: format!("{flag}, and a guest ran in {} ms", took.as_millis()),
        },
        Err(why) => tcg(format!("a guest under kvm {why}")),
    }
}

/// The processor's flag for virtualization.
fn flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    ["vmx", "svm"]
        .into_iter()
        .find(|flag| flags.split_whitespace().any(|word| word == *flag))
}

/// Runs five instructions from the reset vector of a bare machine, the last of which makes
/// QEMU's debug-exit device end it; how long that took.
fn runs_a_guest(
    program: &Path,
    accel: &str,
    patience: Duration,
) -> std::result::Result<Duration, String> {
    let said = |error: std::io::Error| format!("could not be tried: {error}");
    let firmware = tempfile::NamedTempFile::new().map_err(said)?;
    std::fs::write(firmware.path(), reset_vector()).map_err(said)?;
    let started = Instant::now();
    let mut guest = Command::new(program)
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "pc",
            "-m",
            "16",
        ])
        .args([
            "-accel",
            accel,
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-bios",
        ])
        .arg(firmware.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(said)?;
    loop {
        match guest.try_wait().map_err(said)? {
            Some(status) if status.code() == Some(EXIT) => return Ok(started.elapsed()),
            Some(status) => return Err(format!("ended with {status}")),
            None if started.elapsed() > patience => {
                guest.kill().and_then(|()| guest.wait()).map_err(said)?;
                return Err(format!("did nothing for {} s", patience.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// isa-debug-exit ends QEMU with `value * 2 + 1`.
const VALUE: u8 = 0x2a;
const EXIT: i32 = VALUE as i32 * 2 + 1;

/// 64 KiB of firmware; the processor starts at its last sixteen bytes.
fn reset_vector() -> Vec<u8> {
    let mut rom = vec![0xf4; 0x1_0000];
    let code = [
        0x31, 0xc0, // xor ax, ax
        0xb0, VALUE, // mov al, VALUE
        0xe6, 0xf4, // out 0xf4, al
        0xfa, // cli
        0xf4, // hlt
    ];
    rom[0xfff0..0xfff0 + code.len()].copy_from_slice(&code);
    rom
}

#[cfg(test)]
mod tests {
    use super::super::description;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_flag_is_a_word_of_its_own() {
        assert_eq!(
            flag("model name : x\nflags\t\t: fpu vmx sse\n"),
            Some("vmx")
        );
        assert_eq!(flag("flags : fpu svm\n"), Some("svm"));
        assert_eq!(flag("flags : fpu svm_lock avmx\n"), None);
        assert_eq!(flag("vmx flags\n"), None);
    }

    #[test]
    fn the_trial_guest_runs_where_guests_can_run_and_is_given_up_where_they_cannot() {
        let program = program::find(&description::machine().unwrap().machine).unwrap();
        runs_a_guest(&program, "tcg", Duration::from_secs(60)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let hangs = dir.path().join("hangs");
        std::fs::write(&hangs, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&hangs, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = runs_a_guest(&hangs, "kvm", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, "did nothing for 1 s");
        let error = runs_a_guest(&program, "none-such", Duration::from_secs(60)).unwrap_err();
        assert_eq!(error, "ended with exit status: 1");
    }

    #[test]
    fn auto_takes_what_works_here_and_remembers_it_for_this_boot() {
        let state = tempfile::tempdir().unwrap();
        let description = description::machine().unwrap();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let chosen = choose(Wish::Auto, &description, state.path()).unwrap();
        if flag(&cpuinfo).is_none() {
            assert_eq!(chosen.to_string(), "tcg: no vmx or svm in /proc/cpuinfo");
            assert_eq!(
                choose(Wish::Kvm, &description, state.path())
                    .unwrap_err()
                    .to_string(),
                "--accel kvm cannot work here: no vmx or svm in /proc/cpuinfo"
            );
        }
        let path = state.path().join("accel.json");
        let kept = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, kept.replace(&chosen.reason, "remembered")).unwrap();
        assert_eq!(
            choose(Wish::Auto, &description, state.path())
                .unwrap()
                .reason,
            "remembered"
        );
        std::fs::write(&path, kept.replace(&boot_id(), "an earlier boot")).unwrap();
        assert_eq!(
            choose(Wish::Auto, &description, state.path()).unwrap(),
            chosen
        );
    }
}
