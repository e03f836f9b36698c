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
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus: Option<u32>,
    /// Memory of each machine in MiB, not what its role says
    #[arg(long, value_name = "MIB", value_parser = memory)]
    memory: Option<u32>,
    /// Disk of each new machine in MiB, not what its role says; the image must fit
    #[arg(long, value_name = "MIB", value_parser = mebibytes)]
    pub disk: Option<u32>,
}

/// MiB as a plain number; what people write instead is turned into one for them.
fn mebibytes(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "mb" | "mib" => Some(1),
        "g" | "gb" | "gib" => Some(1024),
        "t" | "tb" | "tib" => Some(1024 * 1024),
        _ => None,
    };
    let meant = factor.and_then(|factor: u32| number.parse::<u32>().ok()?.checked_mul(factor));
    Err(match meant {
        Some(meant) => format!("write it in MiB, as a number alone: {meant}"),
        None => "write it in MiB, as a number alone: 4096".into(),
    })
}

fn memory(text: &str) -> Result<u32, String> {
    match mebibytes(text)? {
        number if number < LEAST => Err(format!(
            "a machine does not start with less than {LEAST} MiB"
        )),
        number => Ok(number),
    }
}

fn cpus(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..=255) => Ok(number),
        _ => Err("write a number from 1 to 255".into()),
    }
}

/// No Linux of the bases starts in less, in MiB.
const LEAST: u32 = 256;

impl Args {
    /// The options given that a machine takes over when it starts.
    pub fn named(&self) -> Vec<&'static str> {
        let given = [
            ("--firmware", self.firmware.is_some()),
            ("--direct-kernel", self.direct_kernel),
            ("--disk-bus", self.disk_bus.is_some()),
            ("--cpus", self.cpus.is_some()),
            ("--memory", self.memory.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }

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
