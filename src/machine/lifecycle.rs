//! What `up` and `down` do with the machines of a stack.

use super::folder::Held;
use super::record::{Condition, Machine, Spec};
use super::{Backend, Folder, Result, Start};
use std::time::{Duration, Instant};

/// A guest that is still booting misses its power button; it is pressed again this often.
const PRESS_AGAIN: Duration = Duration::from_secs(5);

/// What happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It was made and started.
    Started,
    /// It was there, off, and was started with the disk it had.
    Resumed,
    /// It was there and runs; nothing was done.
    LeftAlone,
    /// It stood still and goes on.
    Proceeded,
    /// The guest shut itself down.
    ShutDown,
    /// The guest did not shut down within the time it was given; its power was cut.
    Cut,
}

/// Makes what is missing, starts what is off, leaves alone what runs. Machines in the order
/// of `specs`.
pub fn up(
    backend: &dyn Backend,
    folder: &Folder,
    _held: &Held,
    specs: &[Spec],
    start: &Start,
    note: &mut dyn FnMut(&Machine, Note),
) -> Result<Vec<Machine>> {
    let mut machines = Vec::new();
    for spec in specs {
        let (mut machine, made) = match folder.machine(&spec.role)? {
            Some(machine) => (machine, false),
            None => (backend.prepare(folder, spec)?, true),
        };
        if machine.alive() {
            match backend.condition(folder, &machine) {
                Condition::Paused(_) => {
                    backend.proceed(folder, &machine)?;
                    note(&machine, Note::Proceeded);
                }
                _ => note(&machine, Note::LeftAlone),
            }
        } else {
            (machine.memory, machine.cpus, machine.boot) = (spec.memory, spec.cpus, spec.boot);
            backend.start(folder, &mut machine, start)?;
            note(&machine, if made { Note::Started } else { Note::Resumed });
        }
        machines.push(machine);
    }
    Ok(machines)
}

/// Shuts down what runs of these roles, of all if none is named, the lead last; what has not gone
/// after `grace` is cut. How many machines were running.
pub fn down(
    backend: &dyn Backend,
    folder: &Folder,
    roles: &[String],
    grace: Duration,
    note: &mut dyn FnMut(&Machine, Note),
) -> Result<usize> {
    let _held = folder.hold()?;
    let mut running = folder.machines()?;
    let wanted = |machine: &Machine| roles.is_empty() || roles.contains(&machine.role);
    running.retain(|machine| wanted(machine) && machine.alive());
    running.reverse();
    let count = running.len();
    let mut deaf = Vec::new();
    for machine in &running {
        if let Condition::Paused(_) = backend.condition(folder, machine) {
            backend.proceed(folder, machine)?;
        }
        // One whose socket does not answer cannot be asked: it is cut at once.
        if backend.press_power(folder, machine).is_err() {
            deaf.push(machine.role.clone());
        }
    }
    let (deaf, mut running): (Vec<Machine>, Vec<Machine>) = running
        .into_iter()
        .partition(|machine| deaf.contains(&machine.role));
    for machine in &deaf {
        note(machine, Note::Cut);
        backend.cut_power(folder, machine)?;
    }
    let started = Instant::now();
    let mut pressed = started;
    loop {
        running.retain(|machine| {
            let alive = machine.alive();
            if !alive {
                note(machine, Note::ShutDown);
            }
            alive
        });
        if running.is_empty() || started.elapsed() > grace {
            break;
        }
        if pressed.elapsed() > PRESS_AGAIN {
            pressed = Instant::now();
            for machine in &running {
                // It may have gone since; whether it has is seen above.
                let _ = backend.press_power(folder, machine);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for machine in &running {
        note(machine, Note::Cut);
        backend.cut_power(folder, machine)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::super::qemu::{Qemu, accel::Wish};
    use super::super::{Boot, MachineError, PublicPort};
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::{Path, PathBuf};

    /// A state folder and an image of the one-sector guest; no machine outlives it.
    struct Workstation {
        dir: tempfile::TempDir,
    }

    impl Workstation {
        fn new() -> Workstation {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(
                dir.path().join("office.raw"),
                include_bytes!("../../tests/fixtures/machine/guest.img"),
            )
            .unwrap();
            std::fs::create_dir(dir.path().join("muster")).unwrap();
            Workstation { dir }
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("muster")
        }

        fn folder(&self) -> Folder {
            Folder::new(&self.root(), "starter")
        }

        fn qemu(&self) -> Qemu {
            self.qemu_with(BTreeMap::new())
        }

        /// Machines of other tests come and go on the usual ports.
        fn quiet_ports(&self) -> BTreeMap<u16, u16> {
            let any = || super::super::qemu::ports::any_free([127, 0, 0, 1].into());
            BTreeMap::from([(22, any()), (443, any())])
        }

        fn qemu_with(&self, wanted: BTreeMap<u16, u16>) -> Qemu {
            Qemu::new(&self.root(), Wish::Tcg, wanted).unwrap()
        }

        fn specs(&self) -> Vec<Spec> {
            vec![Spec {
                stack: "starter".into(),
                role: "office".into(),
                order: 0,
                memory: 32,
                cpus: 1,
                disk: 8,
                image: self.dir.path().join("office.raw"),
                boot: Boot::Bios,
                ports: vec![PublicPort {
                    guest: 443,
                    purpose: "https".into(),
                }],
                routes: vec!["webmail".into()],
                segment: 1,
                inside: true,
            }]
        }

        fn start(&self) -> Machine {
            self.up(&self.qemu_with(self.quiet_ports())).unwrap().0
        }

        fn up(&self, qemu: &Qemu) -> Result<(Machine, Note)> {
            let mut notes = Vec::new();
            let specs = self.specs();
            let mut machines = self.up_specs(qemu, &specs, &mut |_, note| notes.push(note))?;
            Ok((machines.remove(0), notes.remove(0)))
        }

        fn up_specs(
            &self,
            qemu: &Qemu,
            specs: &[Spec],
            note: &mut dyn FnMut(&Machine, Note),
        ) -> Result<Vec<Machine>> {
            let folder = self.folder();
            folder.create(None)?;
            let held = folder.hold()?;
            up(qemu, &folder, &held, specs, &Start::default(), note)
        }

        fn down(&self, grace: u64) -> (usize, Vec<Note>) {
            let mut notes = Vec::new();
            let grace = Duration::from_secs(grace);
            let mut note = |_: &Machine, note| notes.push(note);
            let count = down(&self.qemu(), &self.folder(), &[], grace, &mut note);
            (count.unwrap(), notes)
        }

        fn wait_for(&self, file: &str, text: &str) {
            let path = self.folder().role("office").join(file);
            for _ in 0..1200 {
                if std::fs::read_to_string(&path).is_ok_and(|said| said.contains(text)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            panic!("{} never said {text}", path.display());
        }
    }

    impl Drop for Workstation {
        fn drop(&mut self) {
            for machine in self.folder().machines().unwrap_or_default() {
                if let Some(run) = machine.run.filter(|run| run.process.alive()) {
                    let _ = kill(Pid::from_raw(run.process.pid as i32), Signal::SIGKILL);
                }
            }
        }
    }

    fn kill_and_wait(machine: &Machine) {
        let process = &machine.run.as_ref().unwrap().process;
        kill(Pid::from_raw(process.pid as i32), Signal::SIGKILL).unwrap();
        while process.alive() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_machine_starts_is_left_alone_shuts_down_resumes_and_its_death_is_noticed() {
        let here = Workstation::new();
        let (qemu, folder) = (here.qemu(), here.folder());
        let ports = here.qemu_with(here.quiet_ports());
        let (machine, note) = here.up(&ports).unwrap();
        assert_eq!(note, Note::Started);
        assert_eq!(qemu.condition(&folder, &machine), Condition::Running);
        here.wait_for("serial.log", "ready");

        let (again, note) = here.up(&qemu).unwrap();
        assert_eq!((again.run, note), (machine.run.clone(), Note::LeftAlone));

        assert_eq!(here.down(120), (1, vec![Note::ShutDown]));
        let record = folder.machine("office").unwrap().unwrap();
        assert_eq!(qemu.condition(&folder, &record), Condition::Stopped);
        assert_eq!(here.down(120), (0, vec![]));

        let (resumed, note) = here.up(&qemu).unwrap();
        assert_eq!(note, Note::Resumed);
        assert_eq!(resumed.forwards, machine.forwards);
        assert_eq!((&resumed.mac, &resumed.uuid), (&machine.mac, &machine.uuid));
        assert_ne!(resumed.run, machine.run);

        kill_and_wait(&resumed);
        assert_eq!(qemu.condition(&folder, &resumed), Condition::Died);
        let (_, note) = here.up(&qemu).unwrap();
        assert_eq!(note, Note::Resumed);
        assert_eq!(here.down(120).0, 1);
        folder.purge().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_guest_that_ignores_its_power_button_is_cut() {
        let here = Workstation::new();
        std::fs::write(here.dir.path().join("office.raw"), [0; 4096]).unwrap();
        here.start();
        assert_eq!(here.down(1), (1, vec![Note::Cut]));
    }

    #[test]
    fn one_machine_of_a_stack_is_shut_down_alone() {
        let here = Workstation::new();
        std::fs::write(here.dir.path().join("office.raw"), [0; 4096]).unwrap();
        here.start();
        let down = |role: &str| {
            let roles = [role.to_owned()];
            let grace = Duration::from_secs(1);
            down(&here.qemu(), &here.folder(), &roles, grace, &mut |_, _| {}).unwrap()
        };
        assert_eq!(down("edge"), 0);
        assert_eq!(down("office"), 1);
    }

    #[test]
    fn a_reused_process_id_is_not_taken_for_the_machine() {
        let here = Workstation::new();
        let mut machine = here.start();
        kill_and_wait(&machine);
        let stranger = super::super::process::Process::of(std::process::id()).unwrap();
        let run = machine.run.as_mut().unwrap();
        run.process.pid = stranger.pid;
        here.folder().save(&machine).unwrap();
        assert_eq!(here.down(1), (0, vec![]));
        assert_eq!(here.up(&here.qemu()).unwrap().1, Note::Resumed);
    }

    #[test]
    fn a_taken_port_is_refused_by_number_and_can_be_moved() {
        let here = Workstation::new();
        let machine = here.start();
        here.down(120);
        let https = machine.forward(443).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", https)).unwrap();
        let error = here.up(&here.qemu()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("port {https} on 127.0.0.1, which leads to port 443 of office, is taken")
        );
        assert_eq!(
            miette::Diagnostic::help(&error).unwrap().to_string(),
            format!(
                "see who has it: ss -ltnp 'sport = :{https}'; or move it: \
                 muster up starter --forward 443=PORT"
            )
        );
        let free = super::super::qemu::ports::any_free([127, 0, 0, 1].into());
        let (moved, _) = here
            .up(&here.qemu_with(BTreeMap::from([(443, free)])))
            .unwrap();
        assert_eq!(moved.forward(443), Some(free));
        drop(listener);
        here.down(120);
        let (kept, _) = here.up(&here.qemu()).unwrap();
        assert_eq!(kept.forward(443), Some(free));
    }

    #[test]
    fn a_state_folder_with_a_path_too_long_for_sockets_works() {
        let mut here = Workstation::new();
        let long = here.dir.path().join("x".repeat(120));
        std::fs::create_dir_all(long.join("muster")).unwrap();
        std::fs::rename(here.dir.path().join("office.raw"), long.join("office.raw")).unwrap();
        let dir = std::mem::replace(&mut here.dir, tempfile::tempdir_in(&long).unwrap());
        std::fs::rename(long.join("office.raw"), here.dir.path().join("office.raw")).unwrap();
        std::fs::create_dir(here.root()).unwrap();
        let machine = here.start();
        assert_eq!(
            here.qemu().condition(&here.folder(), &machine),
            Condition::Running
        );
        assert_eq!(here.down(120), (1, vec![Note::ShutDown]));
        drop(here);
        drop(dir);
    }

    #[test]
    fn an_image_changed_in_place_is_refused_before_it_ruins_the_disk() {
        let here = Workstation::new();
        here.start();
        here.down(120);
        let kept = here.folder().role("office").join("image.raw");
        std::fs::write(&kept, [1; 1024]).unwrap();
        assert_eq!(
            here.up(&here.qemu()).unwrap_err().to_string(),
            format!(
                "the image of office was changed under its disk: {}",
                kept.display()
            )
        );
    }

    #[test]
    fn qemus_refusal_is_shown_with_the_command() {
        let here = Workstation::new();
        let mut specs = here.specs();
        specs[0].cpus = 100_000;
        let error = here
            .up_specs(&here.qemu(), &specs, &mut |_, _| {})
            .unwrap_err();
        let MachineError::StartRefused { role, why, command } = &error else {
            panic!("{error}")
        };
        assert_eq!(role, "office");
        assert!(why.starts_with("Invalid SMP CPUs 100000."), "{why}");
        assert!(command.contains(" -smp 100000 "), "{command}");
    }

    #[test]
    fn the_console_carries_what_is_typed_and_what_is_said() {
        let here = Workstation::new();
        let machine = here.start();
        here.wait_for("serial.log", "ready");
        let mut console = here.qemu().console(&here.folder(), &machine).unwrap();
        console.write_all(b"hello").unwrap();
        let mut said = [0; 5];
        console.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
        here.wait_for("serial.log", "ready\r\nhello");
    }

    #[test]
    fn a_missing_image_names_the_command_that_makes_it() {
        let here = Workstation::new();
        let mut specs = here.specs();
        specs[0].image = Path::new("/nowhere/office.raw").into();
        let error = here
            .up_specs(&here.qemu(), &specs, &mut |_, _| {})
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no image of office: /nowhere/office.raw does not exist"
        );
        assert_eq!(
            miette::Diagnostic::help(&error).unwrap().to_string(),
            "make it with: muster build starter --role office"
        );
    }
}
