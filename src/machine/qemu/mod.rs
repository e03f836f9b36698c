//! Machines run by QEMU on this computer.

pub mod accel;
pub mod command_line;
pub mod description;
pub mod disk;
mod firmware;
pub mod overlay;
pub mod ports;
pub mod program;
pub mod qmp;

use super::process::Process;
use super::record::{Bus, Condition, Forward, Machine, Run, Segment, Spec, VERSION};
use super::{Backend, Folder, MachineError, Result, Start, keys};
use crate::profile::network::{Card, mac};
use accel::{Choice, Wish};
use description::{Description, NetworkDescription};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qmp::Qmp;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long QEMU may take to answer: it is busy when many machines share few processors.
const PATIENCE: Duration = Duration::from_secs(10);

/// QEMU of this computer.
#[derive(Debug)]
pub struct Qemu {
    description: Description,
    network: NetworkDescription,
    root: PathBuf,
    accel: Option<Choice>,
    wanted: BTreeMap<u16, u16>,
}

impl Qemu {
    /// For machines that are there already: no accelerator is chosen.
    pub fn open(root: &Path) -> Result<Qemu> {
        Ok(Qemu {
            description: description::machine()?,
            network: description::network()?,
            root: root.to_owned(),
            accel: None,
            wanted: BTreeMap::new(),
        })
    }

    /// For starting machines. `root` is the folder of all stacks; `wanted` are ports of the
    /// workstation a person chose, by the guest's.
    pub fn new(root: &Path, wish: Wish, wanted: BTreeMap<u16, u16>) -> Result<Qemu> {
        let mut qemu = Qemu::open(root)?;
        program::find(&qemu.description.machine)?;
        qemu.accel = Some(accel::choose(wish, &qemu.description, root)?);
        qemu.wanted = wanted;
        Ok(qemu)
    }

    /// Ports of every guest that are forwarded, whatever its role.
    pub fn always(&self) -> impl Iterator<Item = u16> + '_ {
        self.network.forwards.iter().map(|forward| forward.port)
    }

    /// Cuts the power of whatever still answers on a control socket of this stack, also where
    /// the record of the machine is damaged or gone.
    ///
    /// # Errors
    /// It answers and does not go.
    pub fn cut_unknown(folder: &Folder) -> Result<()> {
        let entries = std::fs::read_dir(folder.path()).into_iter().flatten();
        for place in entries.flatten().map(|entry| entry.path()) {
            let socket = place.join("qmp.sock");
            let Ok(mut qmp) = Qmp::connect(&socket, PATIENCE) else {
                continue;
            };
            qmp.execute("quit").map_err(|error| MachineError::Control {
                stack: folder.stack().to_owned(),
                role: place
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into(),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// What QEMU's own DHCP gives every guest.
    pub fn guest_address(&self) -> std::net::Ipv4Addr {
        self.network.network.guest
    }

    fn forwards(&self, spec: &Spec) -> Vec<Forward> {
        let always = self.network.forwards.iter();
        let always = always.map(|forward| (forward.port, forward.purpose.clone()));
        let public = spec
            .ports
            .iter()
            .map(|port| (port.guest, port.purpose.clone()));
        let wishes: BTreeMap<u16, String> = public.chain(always).collect();
        let mut forwards: Vec<Forward> = wishes
            .into_iter()
            .map(|(guest, purpose)| Forward {
                guest,
                host: 0,
                purpose,
            })
            .collect();
        self.choose_ports(&mut forwards);
        forwards
    }

    fn choose_ports(&self, forwards: &mut [Forward]) {
        let mut taken = BTreeSet::new();
        for stack in Folder::known(&self.root).unwrap_or_default() {
            // A neighbour's damaged record is not this stack's trouble.
            for machine in Folder::new(&self.root, &stack)
                .machines()
                .unwrap_or_default()
            {
                taken.extend(machine.forwards.iter().map(|forward| forward.host));
            }
        }
        let listen = self.network.network.listen;
        for forward in forwards {
            forward.host = self.wanted.get(&forward.guest).copied().unwrap_or_else(|| {
                ports::choose(
                    forward.guest,
                    self.network.network.offset,
                    &taken,
                    |port| ports::is_free(listen, port),
                    || ports::any_free(listen),
                )
            });
            taken.insert(forward.host);
        }
    }

    /// A program that has just ended may hold its ports for another moment.
    fn check_ports(&self, machine: &Machine) -> Result<()> {
        let listen = self.network.network.listen;
        let started = Instant::now();
        for forward in &machine.forwards {
            while !ports::is_free(listen, forward.host) {
                if started.elapsed() > Duration::from_secs(1) {
                    return Err(port_taken(machine, forward));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn launch(&self, folder: &Folder, machine: &mut Machine, start: &Start) -> Result<()> {
        let choice = self.accel.as_ref().ok_or_else(|| off(machine))?;
        let place = folder.role(&machine.role);
        disk::check(machine, &place)?;
        if let Some(firmware) = self.description.firmware(machine.boot) {
            firmware::prepare(firmware, &place)?;
        }
        self.check_ports(machine)?;
        for left_over in ["pid", "qmp.sock", "console.sock", "qemu.log"] {
            match std::fs::remove_file(place.join(left_over)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(MachineError::io("remove", &place.join(left_over))(error));
                }
                _ => {}
            }
        }
        let launch = command_line::Launch {
            accel: choice.accel,
            answers: match machine.role == start.lead {
                true => start.answers.as_deref(),
                false => start.join.as_deref(),
            },
            break_at: start.break_at.as_deref(),
            clock: start.clock.as_deref(),
        };
        let (events_from, serial_from) = (
            length(&place.join("events.jsonl")),
            length(&place.join("serial.log")),
        );
        let mut command = Command::new(program::find(&self.description.machine)?);
        command
            .current_dir(&place)
            .stdin(Stdio::null())
            .args(command_line::arguments(
                &self.description,
                &self.network,
                machine,
                &place,
                &launch,
            ));
        let output = command.output().map_err(MachineError::io(
            "run",
            Path::new(&self.description.machine.program),
        ))?;
        if !output.status.success() {
            // Once it has opened its log, that is where its errors go.
            let mut said = output.stderr;
            said.extend(std::fs::read(place.join("qemu.log")).unwrap_or_default());
            return Err(refused(machine, &command, &said));
        }
        let process = read_pid(&place.join("pid"))
            .and_then(Process::of)
            .ok_or_else(|| refused(machine, &command, b"it ended as soon as it had started"))?;
        machine.run = Some(Run {
            process,
            accel: choice.accel.name().into(),
            started: now(),
            events_from,
            serial_from,
        });
        folder.save(machine)
    }

    fn control(&self, folder: &Folder, machine: &Machine) -> Result<Qmp> {
        if !machine.alive() {
            return Err(off(machine));
        }
        Qmp::connect(&folder.role(&machine.role).join("qmp.sock"), PATIENCE)
            .map_err(unanswered(machine))
    }
}

fn off(machine: &Machine) -> MachineError {
    MachineError::NotRunning {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
    }
}

fn port_taken(machine: &Machine, forward: &Forward) -> MachineError {
    MachineError::PortTaken {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
        port: forward.host,
        guest: forward.guest,
    }
}

fn unanswered(machine: &Machine) -> impl Fn(std::io::Error) -> MachineError {
    let (stack, role) = (machine.stack.clone(), machine.role.clone());
    move |error| MachineError::Control {
        stack: stack.clone(),
        role: role.clone(),
        why: error.to_string(),
    }
}

/// Where the hosts of a stack meet: a multicast group on the loopback interface, which anybody
/// may join without a privilege and no process has to keep up (RFC 2365: administratively
/// scoped). The same for the same user, folder and stack. All cards of a machine are in it, as
/// on one switch; none where it has no `cards` there.
fn segment(folder: &Folder, role: &str, cards: u8) -> Option<Segment> {
    let user = nix::unistd::getuid();
    let digest = Sha256::digest(format!("{user}:{}", folder.path().display()));
    let mut cards = (0..cards).map(|index| mac(folder.stack(), role, Card::Hosts(index)));
    Some(Segment {
        group: [239, digest[0], digest[1], digest[2]].into(),
        port: 20_000 + u16::from_be_bytes([digest[3], digest[4]]) % 10_000,
        mac: cards.next()?,
        bonded: cards.collect(),
    })
}

/// A random UUID, version 4.
fn uuid() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        MachineError::io("read", Path::new("/dev/urandom"))(std::io::Error::other(error))
    })?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    Ok([
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-"))
}

fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

impl Backend for Qemu {
    fn describe(&self) -> String {
        self.accel
            .as_ref()
            .map(Choice::to_string)
            .unwrap_or_default()
    }

    fn prepare(&self, folder: &Folder, spec: &Spec) -> Result<Machine> {
        let forwards = self.forwards(spec);
        folder.create(Some(&spec.role))?;
        let (image, size) = disk::create(&folder.role(&spec.role), spec)?;
        let machine = Machine {
            version: VERSION,
            stack: spec.stack.clone(),
            role: spec.role.clone(),
            order: spec.order,
            uuid: uuid()?,
            mac: mac(&spec.stack, &spec.role, Card::Outside),
            segment: segment(folder, &spec.role, spec.segment),
            inside: spec.inside,
            memory: spec.memory,
            cpus: spec.cpus,
            disk: size,
            image,
            boot: spec.boot,
            bus: Bus::default(),
            forwards,
            routes: spec.routes.clone(),
            created: now(),
            run: None,
        };
        folder.save(&machine)?;
        Ok(machine)
    }

    fn start(&self, folder: &Folder, machine: &mut Machine, start: &Start) -> Result<()> {
        start.changes.apply(machine);
        for forward in &mut machine.forwards {
            if let Some(host) = self.wanted.get(&forward.guest) {
                forward.host = *host;
            }
        }
        // Until a machine has run nobody knows its ports: they may still give way.
        let mut tries = if machine.run.is_none() { 3 } else { 1 };
        loop {
            match self.launch(folder, machine, start) {
                Err(MachineError::PortTaken { guest, .. })
                    if tries > 1 && !self.wanted.contains_key(&guest) =>
                {
                    tries -= 1;
                    self.choose_ports(&mut machine.forwards);
                }
                other => return other,
            }
        }
    }

    fn condition(&self, folder: &Folder, machine: &Machine) -> Condition {
        if !machine.alive() {
            // QEMU removes its pid file when it ends by itself, and cannot when it is killed.
            let killed = folder.role(&machine.role).join("pid").exists();
            return if killed {
                Condition::Died
            } else {
                Condition::Stopped
            };
        }
        let status = self
            .control(folder, machine)
            .ok()
            .and_then(|mut qmp| qmp.execute("query-status").ok());
        match status.as_ref().and_then(|status| status["status"].as_str()) {
            Some("io-error") => {
                Condition::Paused("its disk cannot be written, is there room left?".into())
            }
            Some("running") | None => Condition::Running,
            Some(other) => Condition::Paused(other.into()),
        }
    }

    fn proceed(&self, folder: &Folder, machine: &Machine) -> Result<()> {
        self.control(folder, machine)?
            .execute("cont")
            .map_err(unanswered(machine))
            .map(drop)
    }

    fn press_power(&self, folder: &Folder, machine: &Machine) -> Result<()> {
        self.control(folder, machine)?
            .execute("system_powerdown")
            .map_err(unanswered(machine))
            .map(drop)
    }

    fn cut_power(&self, folder: &Folder, machine: &Machine) -> Result<()> {
        let Some(run) = &machine.run else {
            return Ok(());
        };
        let gone = |patience: Duration| {
            let started = Instant::now();
            while run.process.alive() {
                if started.elapsed() > patience {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            true
        };
        // QEMU may hang up before it answers: what counts is that it goes.
        let quit = self
            .control(folder, machine)
            .and_then(|mut qmp| qmp.execute("quit").map(drop).map_err(unanswered(machine)));
        if quit.is_ok() && gone(PATIENCE) {
            return Ok(());
        }
        let pid = Pid::from_raw(run.process.pid.cast_signed());
        for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, PATIENCE)] {
            if gone(Duration::ZERO) {
                return Ok(());
            }
            kill(pid, signal).map_err(|errno| unanswered(machine)(errno.into()))?;
            if gone(patience) {
                return Ok(());
            }
        }
        Err(unanswered(machine)(std::io::ErrorKind::TimedOut.into()))
    }

    fn console(&self, folder: &Folder, machine: &Machine) -> Result<UnixStream> {
        if !machine.alive() {
            return Err(off(machine));
        }
        qmp::connect(&folder.role(&machine.role).join("console.sock")).map_err(unanswered(machine))
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// QEMU's refusal, the ones people meet in our words.
fn refused(machine: &Machine, command: &Command, stderr: &[u8]) -> MachineError {
    let said = String::from_utf8_lossy(stderr);
    let taken = machine.forwards.iter().find(|forward| {
        said.contains("Could not set up host forwarding rule")
            && said.contains(&format!(":{}-", forward.host))
    });
    if let Some(forward) = taken {
        return port_taken(machine, forward);
    }
    let why = said
        .lines()
        .map(|line| {
            line.split_once(": ")
                .filter(|(who, _)| who.contains("qemu"))
        })
        .zip(said.lines())
        .map(|(split, line)| split.map_or(line, |(_, words)| words))
        .collect::<Vec<_>>()
        .join("\n");
    MachineError::StartRefused {
        role: machine.role.clone(),
        why: why.trim().to_owned(),
        command: keys::shown(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_of_a_stack_meet_in_a_group_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let folder = |stack: &str| Folder::new(home.path(), stack);
        let core = segment(&folder("office"), "core", 1).unwrap();
        let edge = segment(&folder("office"), "edge", 2).unwrap();
        assert_eq!((core.group, core.port), (edge.group, edge.port));
        assert_ne!(core.mac, edge.mac);
        assert!(core.group.is_multicast() && (20_000..30_000).contains(&core.port));
        for other in [
            segment(&folder("starter"), "core", 1).unwrap(),
            segment(
                &Folder::new(&home.path().join("other"), "office"),
                "core",
                1,
            )
            .unwrap(),
        ] {
            assert_ne!((core.group, core.port), (other.group, other.port));
        }
        assert_eq!(core.bonded, [""; 0]);
        assert_eq!(edge.bonded.len(), 1);
        assert_ne!(edge.bonded[0], edge.mac);
        assert_eq!(segment(&folder("office"), "core", 0), None);
    }

    #[test]
    fn a_uuid_is_a_random_one_of_version_4() {
        let one = uuid().unwrap();
        assert_ne!(one, uuid().unwrap());
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
    }
}
