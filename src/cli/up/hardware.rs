//! The virtual hardware of a machine, where it should differ from what its role asks for.

use crate::machine::{Boot, Bus, Changes};

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// SeaBIOS
    Bios,
    /// OVMF, starting anything
    Uefi,
    /// OVMF, starting only what Microsoft's keys have signed
    SecureBoot,
}

/// Options that describe hardware. A machine keeps what it was given last.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Hardware")]
pub struct Args {
    /// What starts the machine; bios unless told
    #[arg(long, value_enum, conflicts_with = "direct_kernel")]
    firmware: Option<Firmware>,
    /// Hand the kernel over directly, without firmware and boot loader: sooner, less real
    #[arg(long)]
    direct_kernel: bool,
    /// What the disk is attached to; virtio unless told
    #[arg(long, value_enum, value_name = "BUS")]
    disk_bus: Option<Bus>,
    /// Processors of each machine, not what its role says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Memory of each machine in MiB, not what its role says
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(256..))]
    memory: Option<u32>,
    /// Disk of each new machine in MiB, not what its role says; the image must fit
    #[arg(long, value_name = "MIB")]
    pub disk: Option<u32>,
}

impl Args {
    /// What is asked for.
    pub fn changes(&self) -> Changes {
        let boot = match (self.direct_kernel, self.firmware) {
            (true, _) => Some(Boot::Kernel),
            (false, Some(Firmware::Bios)) => Some(Boot::Bios),
            (false, Some(Firmware::Uefi)) => Some(Boot::Uefi),
            (false, Some(Firmware::SecureBoot)) => Some(Boot::SecureBoot),
            (false, None) => None,
        };
        Changes {
            boot,
            bus: self.disk_bus,
            cpus: self.cpus,
            memory: self.memory,
        }
    }
}
