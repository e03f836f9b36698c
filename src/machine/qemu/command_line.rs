//! The command line of one machine. Pure: the same record gives the same words.

use super::accel::Accel;
use super::description::{Description, NetworkDescription};
use super::firmware;
use crate::machine::events;
use crate::machine::record::{Boot, Bus, Machine, Segment};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What differs from start to start.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// Which accelerator.
    pub accel: Accel,
    /// Answers file of the stack, when there is one.
    pub answers: Option<&'a Path>,
    /// `<task id>:<moment>` at which the agent stops, a debugging facility.
    pub break_at: Option<&'a str>,
    /// What its clock starts at, when that is not the time.
    pub clock: Option<&'a str>,
}

/// QEMU's arguments. It is started in the machine's folder, where the sockets get relative
/// names: a socket's path may not be longer than 107 bytes, a folder's may.
pub fn arguments(
    description: &Description,
    network: &NetworkDescription,
    machine: &Machine,
    folder: &Path,
    launch: &Launch<'_>,
) -> Vec<OsString> {
    let accel = match launch.accel {
        Accel::Kvm => &description.accel.kvm,
        Accel::Tcg => &description.accel.tcg,
    };
    let devices = &description.devices;
    let mut words = Words::default();
    words.pair(
        "-name",
        format!("muster-{}-{}", machine.stack, machine.role),
    );
    words.pair("-uuid", &machine.uuid);
    words.flag("-nodefaults").flag("-no-user-config");
    words.pair("-machine", &description.machine.r#type);
    if let Some(firmware) = description.firmware(machine.boot) {
        for global in &firmware.globals {
            words.pair("-global", global);
        }
        words.pair_path(
            "-drive",
            "if=pflash,unit=0,format=raw,readonly=on,file=",
            &firmware.code,
        );
        words.pair_path(
            "-drive",
            "if=pflash,unit=1,format=raw,file=",
            &firmware::variables(firmware, folder),
        );
    }
    words.pair("-accel", &accel.option);
    words.pair("-cpu", &accel.cpu);
    words.pair("-smp", machine.cpus.to_string());
    words.pair("-m", machine.memory.to_string());
    words.pair("-rtc", format!("base={}", launch.clock.unwrap_or("utc")));
    words.pair("-boot", "menu=off,strict=on");

    words.pair("-display", "none");
    words.pair("-device", &devices.screen);

    let disk = folder.join("disk.qcow2");
    words.pair_path(
        "-drive",
        "if=none,id=disk,format=qcow2,discard=unmap,file=",
        &disk,
    );
    // A kernel handed over directly is a boot ROM with index 0.
    let bus = match machine.bus {
        Bus::Virtio => &description.disk.virtio,
        Bus::Sata => &description.disk.sata,
        Bus::Nvme => &description.disk.nvme,
    };
    words.pair("-device", format!("{bus},drive=disk,bootindex=1"));

    let mut user = String::from("user,id=network");
    if machine.inside {
        // Forwarded ports work all the same.
        user.push_str(",restrict=on");
    }
    for forward in &machine.forwards {
        user.push_str(&format!(
            ",hostfwd=tcp:{}:{}-{}:{}",
            network.network.listen, forward.host, network.network.guest, forward.guest
        ));
    }
    words.pair("-netdev", user);
    words.pair(
        "-device",
        format!(
            "{},netdev=network,mac={},romfile=",
            devices.network, machine.mac
        ),
    );

    if let Some(segment) = &machine.segment {
        let Segment { group, port, .. } = segment;
        for (index, mac) in [&segment.mac]
            .into_iter()
            .chain(&segment.bonded)
            .enumerate()
        {
            let id = match index {
                0 => "hosts".to_owned(),
                _ => format!("hosts{}", index + 1),
            };
            words.pair(
                "-netdev",
                format!(
                    "socket,id={id},mcast={group}:{port},localaddr={}",
                    network.network.listen
                ),
            );
            words.pair(
                "-device",
                format!("{},netdev={id},mac={mac},romfile=", devices.network),
            );
        }
    }

    words.pair("-object", "rng-random,id=random,filename=/dev/urandom");
    words.pair("-device", format!("{},rng=random", devices.random));

    words.pair(
        "-chardev",
        "socket,id=console,path=console.sock,server=on,wait=off,logfile=serial.log,logappend=on",
    );
    words.pair("-serial", "chardev:console");
    words.pair("-device", &devices.channel);
    words.pair("-chardev", "file,id=events,path=events.jsonl,append=on");
    words.pair(
        "-device",
        format!("virtserialport,chardev=events,name={}", events::PORT),
    );
    words.pair(
        "-chardev",
        "socket,id=control,path=qmp.sock,server=on,wait=off",
    );
    words.pair("-mon", "chardev=control,mode=control");

    if let Some(answers) = launch.answers {
        words.pair_path("-fw_cfg", "name=opt/muster/answers,file=", answers);
    }
    if let Some(moment) = launch.break_at {
        words.pair(
            "-fw_cfg",
            format!("name=opt/muster/break,string={}", doubled(moment)),
        );
    }
    if machine.boot == Boot::Kernel {
        words.flag("-kernel").path(&folder.join("image.vmlinuz"));
        words.flag("-initrd").path(&folder.join("image.initrd"));
        words.pair("-append", &description.kernel.command_line);
    }

    words.pair("-D", "qemu.log");
    words.pair("-pidfile", "pid");
    words.flag("-daemonize");
    words.0
}

#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.into());
        self
    }

    fn path(&mut self, path: &Path) {
        self.0.push(path.into());
    }

    fn pair(&mut self, option: &str, value: impl AsRef<OsStr>) {
        self.0.push(option.into());
        self.0.push(value.as_ref().to_owned());
    }

    /// An option whose value ends in a path.
    fn pair_path(&mut self, option: &str, before: &str, path: &Path) {
        self.pair(
            option,
            format!("{before}{}", doubled(&path.to_string_lossy())),
        );
    }
}

/// QEMU's option parser reads `,,` as a comma of the value.
fn doubled(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::super::description;
    use super::*;
    use crate::machine::record::{Backing, Forward};

    fn sample() -> Machine {
        Machine {
            version: 1,
            stack: "starter".into(),
            role: "office".into(),
            order: 0,
            uuid: "00000000-0000-4000-8000-000000000000".into(),
            mac: "52:54:00:01:02:03".into(),
            segment: None,
            inside: false,
            memory: 2048,
            cpus: 2,
            disk: 1 << 33,
            image: Backing {
                origin: "/o/office.raw".into(),
                path: "/s/image.raw".into(),
                format: "raw".into(),
                size: 1,
                mtime: 1,
            },
            boot: Boot::Kernel,
            bus: Bus::Virtio,
            forwards: vec![
                Forward {
                    guest: 22,
                    host: 8022,
                    purpose: "ssh".into(),
                },
                Forward {
                    guest: 443,
                    host: 8443,
                    purpose: "https".into(),
                },
            ],
            routes: vec!["webmail".into()],
            created: String::new(),
            run: None,
        }
    }

    #[test]
    fn the_command_line_of_a_machine() {
        let words = arguments(
            &description::machine().unwrap(),
            &description::network().unwrap(),
            &sample(),
            Path::new("/state/a,b/office"),
            &Launch {
                accel: Accel::Tcg,
                answers: Some(Path::new("/state/a,b/answers.toml")),
                break_at: Some("office/slapd/database:applied"),
                clock: None,
            },
        );
        let mut lines = String::new();
        for word in &words {
            let word = word.to_str().unwrap();
            lines.push_str(if word.starts_with('-') { "\n" } else { " " });
            lines.push_str(word);
        }
        assert_eq!(
            lines.trim_start(),
            include_str!("command_line.golden").trim_end()
        );
    }

    #[test]
    fn other_firmware_and_other_disks_are_other_words() {
        let mut machine = sample();
        machine.boot = Boot::SecureBoot;
        machine.bus = Bus::Nvme;
        let launch = Launch {
            accel: Accel::Tcg,
            answers: None,
            break_at: None,
            clock: Some("2040-01-31T12:00:00"),
        };
        let words = arguments(
            &description::machine().unwrap(),
            &description::network().unwrap(),
            &machine,
            Path::new("/state/office"),
            &launch,
        );
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        for wanted in [
            "driver=cfi.pflash01,property=secure,value=on",
            "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
            "if=pflash,unit=1,format=raw,file=/state/office/OVMF_VARS_4M.ms.fd",
            "nvme,serial=muster,drive=disk,bootindex=1",
            "base=2040-01-31T12:00:00",
        ] {
            assert!(words.contains(&wanted), "{wanted} is not in {words:?}");
        }
        assert!(!words.contains(&"-kernel"));
    }

    #[test]
    fn a_host_among_others_has_cards_for_them() {
        let mut machine = sample();
        machine.segment = Some(Segment {
            group: [239, 1, 2, 3].into(),
            port: 20_001,
            mac: "52:54:00:0a:0b:0c".into(),
            bonded: vec!["52:54:00:0d:0e:0f".into()],
        });
        machine.inside = true;
        let words = arguments(
            &description::machine().unwrap(),
            &description::network().unwrap(),
            &machine,
            Path::new("/state/office"),
            &Launch {
                accel: Accel::Tcg,
                answers: None,
                break_at: None,
                clock: None,
            },
        );
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        for wanted in [
            "socket,id=hosts,mcast=239.1.2.3:20001,localaddr=127.0.0.1",
            "virtio-net-pci,netdev=hosts,mac=52:54:00:0a:0b:0c,romfile=",
            "socket,id=hosts2,mcast=239.1.2.3:20001,localaddr=127.0.0.1",
            "virtio-net-pci,netdev=hosts2,mac=52:54:00:0d:0e:0f,romfile=",
        ] {
            assert!(words.contains(&wanted), "{wanted} is not in {words:?}");
        }
        assert!(
            words
                .iter()
                .any(|word| word.starts_with("user,id=network,restrict=on,"))
        );
    }

    #[test]
    fn urls_and_forwards_are_told_by_the_record() {
        let machine = sample();
        assert_eq!(machine.urls(), ["https://webmail.localhost:8443/"]);
        assert_eq!(machine.forward(25), None);
    }
}
