//! What is remembered of a machine between commands: `machine.json` in its folder.

use super::process::Process;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The format this muster writes and reads.
pub const VERSION: u32 = 1;

/// What to run, before it exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Stack.
    pub stack: String,
    /// Role, also the host name.
    pub role: String,
    /// Position among the stack's roles; 0 is the lead.
    pub order: usize,
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Least size of the disk, MiB; a larger image wins.
    pub disk: u32,
    /// The image the disk is laid over, `.raw` or `.qcow2`.
    pub image: PathBuf,
    /// How it boots.
    pub boot: Boot,
    /// Ports the workstation reaches, beside ssh.
    pub ports: Vec<PublicPort>,
    /// Leftmost labels of its routes.
    pub routes: Vec<String>,
    /// How many cards it has where it meets the other hosts of its stack; none where it does not.
    pub segment: u8,
    /// Whether it reaches nobody else.
    pub inside: bool,
}

/// A port of the guest that is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicPort {
    /// Port of the guest.
    pub guest: u16,
    /// What for.
    pub purpose: String,
}

/// How a machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// SeaBIOS and the image's own boot loader, as on old hardware.
    #[serde(alias = "firmware")]
    Bios,
    /// UEFI (OVMF) and the image's own boot loader, as on new hardware.
    Uefi,
    /// UEFI that starts only what Microsoft's keys have signed, as new hardware is delivered.
    SecureBoot,
    /// The kernel and initrd beside the image, handed over directly: saves the time that
    /// firmware and boot loader take where nothing accelerates them.
    Kernel,
}

/// What a machine's disk is attached to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// Paravirtual: the fastest where the guest knows it.
    #[default]
    Virtio,
    /// AHCI, as in most computers of the 2010s.
    Sata,
    /// NVM Express, as in most since.
    Nvme,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// Format version, 1.
    pub version: u32,
    /// Stack.
    pub stack: String,
    /// Role.
    pub role: String,
    /// Position among the stack's roles; 0 is the lead.
    pub order: usize,
    /// SMBIOS system id, random.
    pub uuid: String,
    /// MAC address of the card towards the workstation and everybody else.
    pub mac: String,
    /// Where it meets the other hosts of its stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// Whether it reaches nobody else; the workstation reaches it all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Bytes of the disk as the guest sees it.
    pub disk: u64,
    /// The image below the disk.
    pub image: Backing,
    /// How it boots.
    pub boot: Boot,
    /// What its disk is attached to.
    #[serde(default)]
    pub bus: Bus,
    /// Ports, sorted by the guest's.
    pub forwards: Vec<Forward>,
    /// Leftmost labels of its routes.
    pub routes: Vec<String>,
    /// When its disk was made, RFC 3339 UTC.
    pub created: String,
    /// The last start, if there was one; it need not run any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// The network between the machines of a stack, and a machine's cards in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Segment {
    /// Multicast group, on the loopback interface.
    pub group: std::net::Ipv4Addr,
    /// UDP port.
    pub port: u16,
    /// MAC address of the card.
    pub mac: String,
    /// MAC addresses of further cards, which the host bonds with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bonded: Vec<String>,
}

/// The image a disk is laid over. Its bits must never change under the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backing {
    /// Where the image stood when the disk was made.
    pub origin: PathBuf,
    /// The file the disk refers to: a hard link of its own, which a later build cannot
    /// change, or `origin` where links cannot be made.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: String,
    /// Bytes of the file.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
}

/// One forwarded port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Forward {
    /// Port of the guest.
    pub guest: u16,
    /// Port on 127.0.0.1.
    pub host: u16,
    /// What for.
    pub purpose: String,
}

/// One start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Run {
    /// The hypervisor's process.
    pub process: Process,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// RFC 3339 UTC.
    pub started: String,
    /// Length of `events.jsonl` before it: events of this start stand behind it.
    pub events_from: u64,
    /// Length of `serial.log` before it.
    pub serial_from: u64,
}

/// How a machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "condition", content = "why")]
pub enum Condition {
    /// It runs.
    Running,
    /// Its process lives but the guest stands still; why.
    Paused(String),
    /// It was shut down, or never started.
    Stopped,
    /// Its process went away without shutting down.
    Died,
}

impl Condition {
    /// One word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Condition::Running => "running",
            Condition::Paused(_) => "paused",
            Condition::Stopped => "stopped",
            Condition::Died => "died",
        }
    }
}

impl Machine {
    /// Port on 127.0.0.1 that leads to this port of the guest.
    pub fn forward(&self, guest: u16) -> Option<u16> {
        self.forwards
            .iter()
            .find(|forward| forward.guest == guest)
            .map(|forward| forward.host)
    }

    /// `https://<route>.localhost:<port>/` of each route, sorted.
    pub fn urls(&self) -> Vec<String> {
        let Some(port) = self.forward(443) else {
            return Vec::new();
        };
        let mut urls: Vec<String> = self
            .routes
            .iter()
            .map(|route| format!("https://{route}.localhost:{port}/"))
            .collect();
        urls.sort();
        urls
    }

    /// Whether its hypervisor process lives.
    pub fn alive(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.process.alive())
    }
}
