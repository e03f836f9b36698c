//! Follows the events of machines until bring-up has ended.

use super::events::{self, Event, Outcome};
use super::record::{Condition, Machine};
use super::{Backend, Folder, MachineError, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A log that grows, read line by line.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
}

impl Tail {
    /// From this many bytes on.
    pub fn new(path: PathBuf, offset: u64) -> Tail {
        Tail {
            path,
            offset,
            partial: Vec::new(),
        }
    }

    /// The events whose lines were completed since the last call.
    pub fn poll(&mut self) -> Result<Vec<Event>> {
        let mut fresh = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file
                .and_then(|mut file| {
                    file.seek(SeekFrom::Start(self.offset))?;
                    file.read_to_end(&mut fresh)
                })
                .map_err(MachineError::io("read", &self.path))?,
        };
        self.offset += fresh.len() as u64;
        self.partial.extend(fresh);
        let complete = self
            .partial
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.partial.drain(..complete).collect();
        Ok(events::parse_all(&String::from_utf8_lossy(&lines)))
    }
}

/// How bring-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Integrations whose probes are green.
    pub proven: usize,
    /// All integrations.
    pub total: usize,
}

/// How long a lead takes to see that a host is well which has just come back.
const GRACE: Duration = Duration::from_secs(90);

/// What the machines have said of the end of bring-up.
#[derive(Debug)]
struct Word {
    /// Which machines have ended, each in its present run.
    ended: Vec<bool>,
    /// What the lead, the first machine, said last of all of them.
    outcome: Option<Ended>,
    /// When the last machine ended, if the lead has said nothing since.
    since: Option<Instant>,
}

impl Word {
    fn of(machines: usize) -> Word {
        Word {
            ended: vec![false; machines],
            outcome: None,
            since: None,
        }
    }

    /// A machine says how bring-up has ended.
    fn hear(&mut self, machine: usize, outcome: Ended, now: Instant) {
        let early = self.ended.contains(&false);
        self.ended[machine] = true;
        let all = !self.ended.contains(&false);
        if machine == 0 {
            self.outcome = Some(outcome);
            self.since = None;
        }
        if early && all && machine != 0 {
            self.since = Some(now);
        }
    }

    /// The end, once there is one. What the lead said before the last machine had ended may be
    /// about its absence.
    fn last(&self, now: Instant) -> Option<Ended> {
        let outcome = self.outcome.filter(|_| !self.ended.contains(&false))?;
        let waits = self.since.is_some_and(|since| now - since < GRACE);
        (outcome.outcome == Outcome::Green || !waits).then_some(outcome)
    }
}

/// Waits until the lead, the first machine, says that bring-up has ended, and every other has
/// ended, too; `None` when `limit` passes first. `tell` is given every event as it comes, with the
/// role that sent it.
///
/// # Errors
/// A machine that dies or stands still while somebody waits for it.
pub fn until_ended(
    backend: &dyn Backend,
    folder: &Folder,
    machines: &[Machine],
    limit: Duration,
    tell: &mut dyn FnMut(&str, &Event),
) -> Result<Option<Ended>> {
    let started = Instant::now();
    let mut tails: Vec<(&Machine, Tail)> = machines
        .iter()
        .map(|machine| {
            let path = folder.role(&machine.role).join("events.jsonl");
            let from = machine.run.as_ref().map_or(0, |run| run.events_from);
            (machine, Tail::new(path, from))
        })
        .collect();
    let mut examined = Instant::now();
    let mut word = Word::of(machines.len());
    loop {
        // Looked at before the log, so that last words are still read.
        let dead = machines.iter().find(|machine| !machine.alive());
        for (index, (machine, tail)) in tails.iter_mut().enumerate() {
            for event in tail.poll()? {
                tell(&machine.role, &event);
                if let Event::BringUp {
                    outcome,
                    proven,
                    total,
                } = &event
                {
                    let ended = Ended {
                        outcome: *outcome,
                        proven: *proven,
                        total: *total,
                    };
                    word.hear(index, ended, Instant::now());
                }
            }
        }
        let ended = word.last(Instant::now());
        if ended.is_some() {
            return Ok(ended);
        }
        if let Some(machine) = dead {
            return Err(died(folder, machine));
        }
        if examined.elapsed() > Duration::from_secs(10) {
            examined = Instant::now();
            for machine in machines {
                if let Condition::Paused(why) = backend.condition(folder, machine) {
                    return Err(MachineError::Paused {
                        stack: machine.stack.clone(),
                        role: machine.role.clone(),
                        why,
                    });
                }
            }
        }
        if started.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn died(folder: &Folder, machine: &Machine) -> MachineError {
    let log = folder.role(&machine.role).join("serial.log");
    let from = machine.run.as_ref().map_or(0, |run| run.serial_from);
    MachineError::Died {
        stack: machine.stack.clone(),
        role: machine.role.clone(),
        tail: last_lines(&log, from, 12),
        log,
    }
}

/// The last `count` lines of a console log behind `from` bytes, without the escape sequences
/// that would colour or move somebody else's terminal.
pub fn last_lines(log: &Path, from: u64, count: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let bytes = bytes
        .get(usize::try_from(from).unwrap_or(0)..)
        .unwrap_or_default();
    let text = plain(&String::from_utf8_lossy(bytes));
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|l| !l.is_empty())
        .collect();
    if lines.is_empty() {
        return "(nothing)".into();
    }
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Text without escape sequences and control characters; a carriage return ends a line.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                // CSI: parameters, then one final byte; other sequences: one byte.
                if characters.next_if_eq(&'[').is_some() {
                    while characters
                        .next_if(|c| !('\x40'..='\x7e').contains(c))
                        .is_some()
                    {}
                }
                characters.next();
            }
            '\r' | '\n' => out.push('\n'),
            '\t' => out.push(' '),
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_line_counts_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut tail = Tail::new(path.clone(), 5);
        assert_eq!(tail.poll().unwrap(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"old!\n{\"event\":\"phase\",").unwrap();
        assert_eq!(tail.poll().unwrap(), []);
        file.write_all(b"\"name\":\"core\"}\n{").unwrap();
        assert_eq!(
            tail.poll().unwrap(),
            [Event::Phase {
                name: "core".into()
            }]
        );
        assert_eq!(tail.poll().unwrap(), []);
    }

    #[test]
    fn bring_up_has_ended_when_every_machine_has_and_the_lead_says_how() {
        let ended = |outcome| Ended {
            outcome,
            proven: 1,
            total: 2,
        };
        let (red, green) = (ended(Outcome::Red), ended(Outcome::Green));
        let now = Instant::now();
        let mut alone = Word::of(1);
        assert_eq!(alone.last(now), None);
        alone.hear(0, red, now);
        assert_eq!(alone.last(now), Some(red));

        // The lead was up all the time, and red while the other was away.
        let mut back = Word::of(2);
        back.hear(0, green, now);
        back.hear(0, red, now);
        assert_eq!(back.last(now), None);
        back.hear(1, green, now);
        assert_eq!(back.last(now), None, "it may not have seen it yet");
        assert_eq!(back.last(now + GRACE), Some(red));
        back.hear(0, green, now);
        assert_eq!(back.last(now), Some(green));

        // The lead is the last to say it.
        let mut together = Word::of(2);
        together.hear(1, green, now);
        assert_eq!(together.last(now), None);
        together.hear(0, red, now);
        assert_eq!(together.last(now), Some(red));
    }

    #[test]
    fn last_words_are_shown_without_what_would_move_a_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serial.log");
        std::fs::write(
            &log,
            "earlier boot\n\x1bc\x1b[?7l\x1b[2J\x1b[0;32m  OK\x1b[0m a\r\n\r\nb\x07\n",
        )
        .unwrap();
        assert_eq!(last_lines(&log, 13, 12), "  OK a\nb");
        assert_eq!(last_lines(&log, 13, 1), "b");
        assert_eq!(last_lines(&log, 999, 1), "(nothing)");
    }
}
