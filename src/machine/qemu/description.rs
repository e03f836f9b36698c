//! `qemu/machine.toml` and `qemu/network.toml`: the machine and its network, as data.

use crate::machine::record::Boot;
use crate::machine::{MachineError, Result};
use serde::Deserialize;
use std::path::PathBuf;

const MACHINE: &str = include_str!("../../../qemu/machine.toml");
const NETWORK: &str = include_str!("../../../qemu/network.toml");

/// What is asked of QEMU.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// Program and chipset.
    pub machine: Chipset,
    /// The two accelerators.
    pub accel: Accelerators,
    /// Device models.
    pub devices: Devices,
    /// Block device models.
    pub disk: Disks,
    /// Firmware other than the chipset's own.
    pub firmware: Firmwares,
    /// How a kernel is handed over.
    pub kernel: Kernel,
}

impl Description {
    /// The firmware that a way to boot needs, if it is not the chipset's own.
    pub fn firmware(&self, boot: Boot) -> Option<&Firmware> {
        match boot {
            Boot::Bios | Boot::Kernel => None,
            Boot::Uefi => Some(&self.firmware.uefi),
            Boot::SecureBoot => Some(&self.firmware.secure_boot),
        }
    }
}

/// Block device models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disks {
    /// Paravirtual.
    pub virtio: String,
    /// On the chipset's AHCI controller.
    pub sata: String,
    /// NVM Express.
    pub nvme: String,
}

/// The firmwares.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Firmwares {
    /// Starts anything.
    pub uefi: Firmware,
    /// Starts what Microsoft's keys have signed.
    pub secure_boot: Firmware,
}

/// Firmware in flash.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Firmware {
    /// Debian package that has it.
    pub package: String,
    /// Its code.
    pub code: PathBuf,
    /// Its variables as delivered, keys included; each machine has its own copy.
    pub variables: PathBuf,
    /// `-global` options.
    #[serde(default)]
    pub globals: Vec<String>,
}

/// Program and chipset.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Chipset {
    /// The emulator's name in PATH.
    pub program: String,
    /// Debian package that has it.
    pub package: String,
    /// `-machine`.
    pub r#type: String,
}

/// The accelerators.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accelerators {
    /// The processor's own virtualization.
    pub kvm: Accelerator,
    /// QEMU's translator.
    pub tcg: Accelerator,
}

/// How one accelerator is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accelerator {
    /// `-accel`.
    pub option: String,
    /// `-cpu`.
    pub cpu: String,
}

/// Device models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Devices {
    /// Network card.
    pub network: String,
    /// Entropy source.
    pub random: String,
    /// Controller of the event port.
    pub channel: String,
    /// Graphics card: the screen console.
    pub screen: String,
}

/// How a kernel is handed over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kernel {
    /// Kernel command line.
    pub command_line: String,
}

/// The user-mode network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkDescription {
    /// Addresses.
    pub network: UserNetwork,
    /// Ports forwarded in any case.
    #[serde(rename = "forward")]
    pub forwards: Vec<AlwaysForwarded>,
}

/// Addresses of the user-mode network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserNetwork {
    /// Address forwarded ports listen on.
    pub listen: std::net::Ipv4Addr,
    /// Wished distance between guest's and workstation's port.
    pub offset: u16,
    /// The guest's address.
    pub guest: std::net::Ipv4Addr,
}

/// A port forwarded in any case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlwaysForwarded {
    /// Port of the guest.
    pub port: u16,
    /// What for.
    pub purpose: String,
}

/// The built-in machine.
pub fn machine() -> Result<Description> {
    parse(MACHINE)
}

/// The built-in network.
pub fn network() -> Result<NetworkDescription> {
    parse(NETWORK)
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| MachineError::Description {
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_descriptions_are_whole() {
        assert_eq!(machine().unwrap().machine.package, "qemu-system-x86");
        assert_eq!(network().unwrap().forwards[0].port, 22);
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        let error = parse::<NetworkDescription>("[network]\nofset = 1\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ofset = 1") && error.contains("unknown field `ofset`"),
            "{error}"
        );
    }
}
