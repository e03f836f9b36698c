//! How far a machine has come since it was started, by what it tells and what stands on its
//! console: so a moment is chosen by progress, however fast the computer is.

use serde_json::Value;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How many lines a start writes on the serial console until tasks begin.
pub const LINES: usize = 160;

/// How long a start may take to come to its first task.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A machine of a stack, by the folder of its record.
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// The machine whose files are in this folder.
    pub fn of(folder: PathBuf) -> Machine {
        Machine { folder }
    }

    /// How many lines it has written on its console.
    pub fn lines(&self) -> usize {
        let console = self.since_power_on("serial.log", "serial-from");
        console.iter().filter(|byte| **byte == b'\n').count()
    }

    /// What it has told.
    pub fn events(&self) -> Vec<Value> {
        let told = self.since_power_on("events.jsonl", "events-from");
        let lines = told.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// How many tasks have begun.
    pub fn begun(&self) -> u64 {
        let events = self.events();
        let begun = events.iter().filter(|event| event["moment"] == "started");
        begun.count() as u64
    }

    /// How far it has come, for a person.
    pub fn stand(&self) -> String {
        let events = self.events();
        let last = events.iter().rev().find(|event| event["event"] == "task");
        let last = last.map_or("before tasks".to_owned(), |event| {
            format!("{} {}", event["id"], event["moment"])
        });
        format!("{} lines, {} events, {last}", self.lines(), events.len())
    }

    /// Waits until there are that many lines on the console or that many tasks have begun. One
    /// with nothing left to do says less, and an emulated processor hangs now and then: so no
    /// longer than `limit`.
    pub fn comes_to(&self, lines: usize, tasks: u64, limit: Duration) {
        let end = Instant::now() + limit;
        while self.lines() < lines && self.begun() < tasks && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a file of the machine has got; its record says from where on.
    fn since_power_on(&self, file: &str, from: &str) -> Vec<u8> {
        let record = std::fs::read_to_string(self.folder.join("machine.json")).expect("readable");
        let record: Value = serde_json::from_str(&record).expect("JSON");
        let start = record["run"][from].as_u64().unwrap_or(0) as usize;
        let bytes = std::fs::read(self.folder.join(file)).unwrap_or_default();
        bytes.get(start..).unwrap_or_default().to_vec()
    }
}

/// Sleeps so many seconds, or fewer.
pub fn pause(seconds: Range<f64>) {
    let seconds = rand::Rng::gen_range(&mut rand::thread_rng(), seconds);
    std::thread::sleep(Duration::from_secs_f64(seconds));
}
