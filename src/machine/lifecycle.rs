//! What `up` and `down` do with the machines of a stack.

use super::record::{Condition, Machine, Spec};
use super::{Backend, Folder, Result, Start};
use std::time::{Duration, Instant};

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
    specs: &[Spec],
    start: &Start,
    note: &mut dyn FnMut(&Machine, Note),
) -> Result<Vec<Machine>> {
    folder.create(None)?;
    let _held = folder.hold()?;
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

/// Shuts down what runs, the last made first; what has not gone after `grace` is cut. How
/// many machines were running.
pub fn down(
    backend: &dyn Backend,
    folder: &Folder,
    grace: Duration,
    note: &mut dyn FnMut(&Machine, Note),
) -> Result<usize> {
    let _held = folder.hold()?;
    let mut running = folder.machines()?;
    running.retain(Machine::alive);
    running.sort_by(|a, b| b.created.cmp(&a.created));
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
        std::thread::sleep(Duration::from_millis(100));
    }
    for machine in &running {
        note(machine, Note::Cut);
        backend.cut_power(folder, machine)?;
    }
    Ok(count)
}
