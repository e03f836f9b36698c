//! Disk to a running machine.
//!
//! [`Folder`] is where the machines of a stack live between commands, [`Machine`] what is
//! remembered of each, [`Backend`] what makes them run; [`lifecycle`] is what `up` and `down`
//! do with them.

pub mod attach;
mod error;
pub mod events;
pub mod folder;
pub mod follow;
pub mod keys;
pub mod lifecycle;
pub mod process;
pub mod qemu;
pub mod record;

pub use error::{MachineError, Result};
pub use folder::Folder;
pub use record::{Boot, Bus, Condition, Machine, PublicPort, Spec};

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// How one start differs from others.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Answers file of the stack, when there is one.
    pub answers: Option<PathBuf>,
    /// Role of the lead.
    pub lead: String,
    /// What the other hosts are told, who get the rest from the lead.
    pub join: Option<PathBuf>,
    /// `<task id>:<moment>` at which the agent stops for good: for trying power cuts.
    pub break_at: Option<String>,
    /// What the machine's clock starts at, `2040-01-31T12:00:00` in UTC; the time without it.
    pub clock: Option<String>,
    /// Hardware that differs from what the machine had.
    pub changes: Changes,
}

/// Hardware a person has asked for; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// How it boots.
    pub boot: Option<Boot>,
    /// What its disk is attached to.
    pub bus: Option<Bus>,
    /// Processors.
    pub cpus: Option<u32>,
    /// MiB.
    pub memory: Option<u32>,
}

impl Changes {
    fn apply(&self, machine: &mut Machine) {
        machine.boot = self.boot.unwrap_or(machine.boot);
        machine.bus = self.bus.unwrap_or(machine.bus);
        machine.cpus = self.cpus.unwrap_or(machine.cpus);
        machine.memory = self.memory.unwrap_or(machine.memory);
    }
}

/// What makes machines run. One folder per variant.
pub trait Backend {
    /// What it runs them with, and why, for people: `tcg: no vmx or svm in /proc/cpuinfo`.
    fn describe(&self) -> String;

    /// Makes a machine: its disk over the image, its address, its ports. Nothing runs yet.
    fn prepare(&self, folder: &Folder, spec: &Spec) -> Result<Machine>;

    /// Starts it so that it outlives this program, and remembers that.
    fn start(&self, folder: &Folder, machine: &mut Machine, start: &Start) -> Result<()>;

    /// How it is.
    fn condition(&self, folder: &Folder, machine: &Machine) -> Condition;

    /// Lets a paused machine go on.
    fn proceed(&self, folder: &Folder, machine: &Machine) -> Result<()>;

    /// Presses the power button: the guest shuts itself down, if it listens.
    fn press_power(&self, folder: &Folder, machine: &Machine) -> Result<()>;

    /// Pulls the plug and returns when the machine is gone.
    fn cut_power(&self, folder: &Folder, machine: &Machine) -> Result<()>;

    /// Connects to the serial console.
    fn console(&self, folder: &Folder, machine: &Machine) -> Result<UnixStream>;
}
