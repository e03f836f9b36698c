//! `muster ps`: which machines there are, how they are, and how to reach them.

use super::out::say;
use super::{Cli, exit, machines, out};
use crate::machine::qemu::Qemu;
use crate::machine::record::Forward;
use crate::machine::{Backend, Condition, Folder, Machine, MachineError, keys};
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Options of `ps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory; without it every stack with machines
    #[arg(value_name = "STACK")]
    pub stack: Option<String>,
    /// As JSON (docs/schemas/ps.json)
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// Format version, 1.
    pub version: u32,
    /// Machines by stack, the lead of each first.
    pub machines: Vec<Row>,
}

/// One machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Name of the stack.
    pub stack: String,
    /// Role, also the host name.
    pub role: String,
    /// How it is; why, when it is paused.
    #[serde(flatten)]
    pub condition: Condition,
    /// Process id of the hypervisor while it runs.
    pub pid: Option<u32>,
    /// What runs the guest, `kvm` or `tcg`, since the last start.
    pub accel: Option<String>,
    /// RFC 3339 UTC, of the last start.
    pub started: Option<String>,
    /// Seconds since the last start while it runs.
    pub uptime_seconds: Option<i64>,
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// As the guest sees its own.
    pub addresses: Vec<Ipv4Addr>,
    /// On 127.0.0.1.
    pub forwards: Vec<Forward>,
    /// Of its routes, as this computer reaches them.
    pub urls: Vec<String>,
    /// User name for ssh.
    pub user: String,
    /// Its state.
    pub folder: PathBuf,
    /// All its serial console ever showed.
    pub serial_log: PathBuf,
    /// What the host told (docs/schemas/events.json).
    pub events: PathBuf,
    /// Certificate of the site's authority, once the site has one.
    pub site_ca: Option<PathBuf>,
    /// Clear passwords of a demonstration.
    pub passwords: Option<PathBuf>,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let root = Folder::default_root();
    let folders = match &args.stack {
        Some(stack) => vec![machines::folder(cli, stack)?],
        None => {
            let known = Folder::known(&root)?.into_iter();
            known.map(|stack| Folder::new(&root, &stack)).collect()
        }
    };
    let qemu = Qemu::open(&root)?;
    let mut rows = Vec::new();
    let mut code = exit::OK;
    for folder in &folders {
        match seen(&qemu, folder) {
            Ok(seen) => rows.extend(seen),
            // One stack's trouble hides no other's machines.
            Err(error) => {
                say!("{:?}", miette::Report::from(error));
                code = exit::FAILURE;
            }
        }
    }
    if args.json {
        let listing = Listing {
            version: 1,
            machines: rows,
        };
        let json = serde_json::to_string_pretty(&listing)
            .map_err(|error| miette::miette!("the machines do not fit JSON: {error}"))?;
        out::write(json + "\n")?;
    } else if rows.is_empty() && code == exit::OK {
        say!("no machines");
    } else {
        out::write(rows.iter().map(words).collect::<String>())?;
    }
    Ok(code)
}

fn seen(qemu: &Qemu, folder: &Folder) -> Result<Vec<Row>, MachineError> {
    let machines = folder.machines()?;
    keys::collect(folder, &machines)?;
    let rows = machines.iter().map(|machine| row(qemu, folder, machine));
    Ok(rows.collect())
}

fn row(qemu: &Qemu, folder: &Folder, machine: &Machine) -> Row {
    let run = machine.run.as_ref();
    let live = run.filter(|run| run.process.alive());
    let uptime = live.and_then(|run| run.started.parse::<jiff::Timestamp>().ok());
    let there = |name: &str| Some(folder.file(name)).filter(|path| path.is_file());
    let place = folder.role(&machine.role);
    Row {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
        condition: qemu.condition(folder, machine),
        pid: live.map(|run| run.process.pid),
        accel: run.map(|run| run.accel.clone()),
        started: run.map(|run| run.started.clone()),
        uptime_seconds: uptime.map(|from| jiff::Timestamp::now().as_second() - from.as_second()),
        memory: machine.memory,
        cpus: machine.cpus,
        addresses: vec![qemu.guest_address()],
        forwards: machine.forwards.clone(),
        urls: machine.urls(),
        user: machines::admin(folder),
        serial_log: place.join("serial.log"),
        events: place.join("events.jsonl"),
        folder: place,
        site_ca: there("site-ca.pem"),
        passwords: there("demo-passwords.toml"),
    }
}

/// A few lines for people.
fn words(row: &Row) -> String {
    let mut text = format!("{}/{}  {}", row.stack, row.role, row.condition.word());
    if let (Some(pid), Some(accel)) = (row.pid, &row.accel) {
        text.push_str(&format!("  pid {pid}  {accel}"));
    }
    if let Some(seconds) = row.uptime_seconds {
        text.push_str(&format!("  up {}", span(seconds)));
    }
    text.push('\n');
    if let Condition::Paused(why) = &row.condition {
        text.push_str(&format!("  {why}\n"));
    }
    let ports: Vec<String> = row
        .forwards
        .iter()
        .map(|forward| format!("{} {} -> {}", forward.purpose, forward.host, forward.guest))
        .collect();
    text.push_str(&format!("  127.0.0.1: {}\n", ports.join(", ")));
    for url in &row.urls {
        text.push_str(&format!("  {url}\n"));
    }
    text
}

/// `1h02m`, `3m05s`, `7s`.
fn span(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}
