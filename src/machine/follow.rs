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
    /// Which machine leads, and in which term: the first until one says that it does.
    lead: (usize, u64),
    /// What the lead said last of all of them.
    outcome: Option<Ended>,
    /// When the last machine ended, if the lead has said nothing since.
    since: Option<Instant>,
}

impl Word {
    fn of(machines: usize) -> Word {
        Word {
            ended: vec![false; machines],
            lead: (0, 0),
            outcome: None,
            since: None,
        }
    }

    /// A machine says that it leads. What another has said is no word on all of them then.
    fn leads(&mut self, machine: usize, term: u64) {
        let (lead, known) = self.lead;
        if term < known {
            return;
        }
        self.lead = (machine, term);
        if machine != lead {
            self.outcome = None;
            self.since = None;
        }
    }

    /// A machine says how bring-up has ended.
    fn hear(&mut self, machine: usize, outcome: Ended, now: Instant) {
        let early = self.ended.contains(&false);
        self.ended[machine] = true;
        let all = !self.ended.contains(&false);
        let leads = machine == self.lead.0;
        if leads {
            self.outcome = Some(outcome);
            self.since = None;
        }
        if early && all && !leads {
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

/// Waits until the lead says that bring-up has ended, and every other machine has ended, too;
/// `None` when `limit` passes first. The lead is who says so, else the first machine. `tell` is
/// given every event as it comes, with the role that sent it.
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
                match event {
                    Event::Leads { term } => word.leads(index, term),
                    Event::BringUp {
                        outcome,
                        proven,
                        total,
                    } => {
                        let ended = Ended {
                            outcome,
                            proven,
                            total,
                        };
                        word.hear(index, ended, Instant::now());
                    }
                    _ => {}
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

    fn ended(outcome: Outcome) -> Ended {
        Ended {
            outcome,
            proven: 1,
            total: 2,
        }
    }

    #[test]
    fn the_lead_is_who_was_promoted_last() {
        let (red, green) = (ended(Outcome::Red), ended(Outcome::Green));
        let now = Instant::now();
        // The second was a member, was promoted, and a new first joins it.
        let mut promoted = Word::of(2);
        promoted.hear(0, green, now);
        promoted.hear(1, green, now);
        promoted.leads(1, 2);
        assert_eq!(
            promoted.last(now),
            None,
            "the lead has not said how it ends"
        );
        promoted.hear(1, red, now);
        assert_eq!(promoted.last(now), Some(red));
        promoted.hear(0, green, now);
        assert_eq!(promoted.last(now), Some(red), "that is its own part only");
        // One that led before and is read later does not lead again, …
        promoted.leads(0, 1);
        assert_eq!(promoted.last(now), Some(red));
        // … and one that says it again after a start of its agent has said nothing new.
        promoted.leads(1, 2);
        assert_eq!(promoted.last(now), Some(red));
    }

    #[test]
    fn bring_up_has_ended_when_every_machine_has_and_the_lead_says_how() {
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
