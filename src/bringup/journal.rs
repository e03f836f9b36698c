//! The journal: an append-only record of every task's start, result and input digest.
//!
//! One record per line: sixteen hexadecimal digits (the first half of the SHA-256 of what
//! follows), a space, one JSON object, a newline. Each record is on the disk (`fdatasync`)
//! before the work it announces begins. A last record torn by a power cut is cut off with a
//! note; a damaged record *before* sound ones is not a power cut and is reported.

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Version of the record format.
pub const FORMAT: u32 = 1;

/// Size from which the journal is rewritten with only the last record of each task.
const COMPACT_FROM: usize = 4 << 20;

/// What can be wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("cannot {what} the journal {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The journal.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A damaged record with sound ones behind it.
    #[error(
        "the journal {} is damaged in line {line}, with sound records behind it: {reason}; \
         move it aside and restart muster-agent: every task checks before it acts", path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong with the record.
        reason: String,
    },
    /// Written by a later muster.
    #[error(
        "the journal {} is of format {found}, this muster knows up to {FORMAT}: \
         start the image that wrote it", path.display()
    )]
    Format {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another process writes it.
    #[error("the journal {} is in use by another muster: is muster-agent running?", path.display())]
    Busy {
        /// The journal.
        path: PathBuf,
    },
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`] of the writer.
    pub v: u32,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Image the root was made from.
    pub image: String,
    /// Id of the task.
    pub task: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "moment", rename_all = "kebab-case")]
pub enum Entry {
    /// Work is about to begin; its effect may or may not be there.
    Started,
    /// The effect is there and verified.
    Done {
        /// SHA-256 of the rendered task and of what it watches.
        digest: String,
        /// How many times its effect has been made in all: what watches it runs again when
        /// this grows.
        applied: u64,
    },
    /// An attempt failed.
    Failed {
        /// Counted from one.
        attempt: u32,
        /// One line.
        reason: String,
        /// Last lines of output, if any.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
    },
}

/// What the journal knows of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskState {
    /// Its last record.
    pub last: Record,
    /// How many times its effect was made, from the last `done`.
    pub applied: u64,
}

/// What the records of a journal add up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Task id → its state.
    pub tasks: BTreeMap<String, TaskState>,
    /// Bytes of sound records.
    pub sound: usize,
    /// What was cut off the end, in words, if anything.
    pub torn: Option<String>,
}

/// Why one line is no record.
fn parse_line(line: &[u8]) -> Result<Record, String> {
    let line = std::str::from_utf8(line).map_err(|_| "not text".to_string())?;
    let (sum, json) = line
        .split_once(' ')
        .ok_or_else(|| "no checksum".to_string())?;
    if sum != checksum(json) {
        return Err("its checksum does not match".to_string());
    }
    serde_json::from_str(json).map_err(|error| format!("not a record: {error}"))
}

fn checksum(json: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(json.as_bytes()));
    digest.truncate(16);
    digest
}

fn encode(record: &Record) -> String {
    // A record is strings and numbers: this cannot fail.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("{} {json}\n", checksum(&json))
}

/// Reads records. `path` is only for the words of errors.
pub fn parse(bytes: &[u8], path: &Path) -> Result<History, JournalError> {
    let mut history = History::default();
    let mut bad: Option<(usize, String)> = None;
    let mut offset = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.last() == Some(&b'\n');
        let parsed = if whole {
            parse_line(&line[..line.len() - 1])
        } else {
            Err("it does not end".to_string())
        };
        match (parsed, &bad) {
            (Ok(_), Some((line, reason))) => {
                return Err(JournalError::Damaged {
                    path: path.to_path_buf(),
                    line: *line,
                    reason: reason.clone(),
                });
            }
            (Ok(record), None) => {
                if record.v > FORMAT {
                    return Err(JournalError::Format {
                        path: path.to_path_buf(),
                        found: record.v,
                    });
                }
                offset += line.len();
                history.take(record);
            }
            (Err(reason), None) => bad = Some((index + 1, reason)),
            (Err(_), Some(_)) => {}
        }
    }
    history.sound = offset;
    history.torn = bad.map(|(line, reason)| {
        format!(
            "cut a torn end of {} bytes off the journal (line {line}: {reason})",
            bytes.len() - offset
        )
    });
    Ok(history)
}

impl History {
    fn take(&mut self, record: Record) {
        let before = self.tasks.get(&record.task).map_or(0, |task| task.applied);
        let applied = match &record.entry {
            Entry::Done { applied, .. } => *applied,
            _ => before,
        };
        let task = record.task.clone();
        let state = TaskState {
            last: record,
            applied,
        };
        self.tasks.insert(task, state);
    }

    /// Reads a journal without touching it; an absent one is empty.
    pub fn read(path: &Path) -> Result<History, JournalError> {
        match std::fs::read(path) {
            Ok(bytes) => parse(&bytes, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(History::default()),
            Err(source) => Err(JournalError::Io {
                what: "read",
                path: path.to_path_buf(),
                source,
            }),
        }
    }
}

/// The journal, open for writing by this process alone.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    image: String,
    history: History,
}

impl Journal {
    /// Opens or creates the journal (mode 0600) for the root made from `image`.
    pub fn open(path: &Path, image: &str) -> Result<Journal, JournalError> {
        let io = |what| {
            move |source| JournalError::Io {
                what,
                path: path.to_path_buf(),
                source,
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io("open"))?;
        sync_directory(path).map_err(io("create"))?;
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| JournalError::Busy {
                path: path.to_path_buf(),
            })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("read"))?;
        let history = parse(&bytes, path)?;
        if history.torn.is_some() {
            file.set_len(history.sound as u64).map_err(io("repair"))?;
            file.sync_all().map_err(io("repair"))?;
        }
        let mut journal = Journal {
            path: path.to_path_buf(),
            file,
            image: image.to_string(),
            history,
        };
        if bytes.len() > COMPACT_FROM {
            journal.compact().map_err(io("compact"))?;
        }
        Ok(journal)
    }

    /// Rewrites the journal with the last record of each task.
    fn compact(&mut self) -> std::io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut text = String::new();
        for state in self.history.tasks.values() {
            if !matches!(state.last.entry, Entry::Done { .. }) && state.applied > 0 {
                let counted = Entry::Done {
                    digest: String::new(),
                    applied: state.applied,
                };
                text.push_str(&encode(&Record {
                    entry: counted,
                    ..state.last.clone()
                }));
            }
            text.push_str(&encode(&state.last));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| std::io::Error::from(errno))?;
        std::fs::rename(&beside, &self.path)?;
        sync_directory(&self.path)?;
        self.file = file;
        Ok(())
    }

    /// What was cut off at opening, in words.
    pub fn torn(&self) -> Option<&str> {
        self.history.torn.as_deref()
    }

    /// The image this root was made from.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// What is known of a task.
    pub fn state(&self, task: &str) -> Option<&TaskState> {
        self.history.tasks.get(task)
    }

    /// Adds a record; returns when it is on the disk.
    pub fn write(&mut self, task: &str, entry: Entry) -> Result<(), JournalError> {
        let record = Record {
            v: FORMAT,
            at: now(),
            image: self.image.clone(),
            task: task.to_string(),
            entry,
        };
        let line = encode(&record);
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|source| JournalError::Io {
                what: "write",
                path: self.path.clone(),
                source,
            })?;
        self.history.take(record);
        Ok(())
    }
}

/// The time now, RFC 3339 in UTC, whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .unwrap_or_else(|_| jiff::Timestamp::now())
        .to_string()
}

/// Makes a new or renamed entry of the directory that holds `path` last.
pub fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of(records: usize) -> Vec<u8> {
        let mut text = String::new();
        for number in 0..records {
            text.push_str(&encode(&Record {
                v: FORMAT,
                at: "2026-01-01T00:00:00Z".into(),
                image: "image".into(),
                task: format!("task-{number}"),
                entry: Entry::Started,
            }));
        }
        text.into_bytes()
    }

    #[test]
    fn every_torn_end_is_cut_off_and_nothing_else() {
        let whole = journal_of(3);
        let two = journal_of(2);
        for cut in two.len() + 1..whole.len() {
            let history = parse(&whole[..cut], Path::new("j")).expect("a torn end");
            assert_eq!(history.tasks.len(), 2, "cut at {cut}");
            assert_eq!(history.sound, two.len());
            assert!(history.torn.is_some());
        }
        let mut zeros = two.clone();
        zeros.extend_from_slice(&[0; 300]);
        let history = parse(&zeros, Path::new("j")).expect("blocks never written");
        assert_eq!(history.sound, two.len());
        assert_eq!(
            history.torn.as_deref(),
            Some("cut a torn end of 300 bytes off the journal (line 3: it does not end)")
        );
    }

    #[test]
    fn a_flipped_bit_before_sound_records_is_reported_with_its_line() {
        let whole = journal_of(3);
        let second = journal_of(1).len() + 40;
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[second] ^= 1 << bit;
            let error = parse(&damaged, Path::new("/var/lib/muster/journal")).expect_err("damage");
            let words = error.to_string();
            assert!(
                words.starts_with(
                    "the journal /var/lib/muster/journal is damaged in line 2, with sound records behind it: "
                ),
                "{words}"
            );
        }
    }

    #[test]
    fn a_later_format_is_refused_by_number() {
        let line = encode(&Record {
            v: FORMAT + 1,
            at: String::new(),
            image: String::new(),
            task: "t".into(),
            entry: Entry::Started,
        });
        assert_eq!(
            parse(line.as_bytes(), Path::new("j"))
                .expect_err("a later format")
                .to_string(),
            "the journal j is of format 2, this muster knows up to 1: start the image that wrote it"
        );
    }

    #[test]
    fn what_was_written_is_read_back_and_a_torn_end_is_repaired_on_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path, "a").expect("a new journal");
        let done = Entry::Done {
            digest: "d".into(),
            applied: 1,
        };
        journal.write("t", Entry::Started).expect("written");
        journal.write("t", done.clone()).expect("written");
        journal.write("u", Entry::Started).expect("written");
        assert!(matches!(
            Journal::open(&path, "a"),
            Err(JournalError::Busy { .. })
        ));
        drop(journal);
        let mut bytes = std::fs::read(&path).expect("the file");
        bytes.extend_from_slice(b"0123456789abcdef {\"v\":1,");
        std::fs::write(&path, &bytes).expect("a torn end");
        let mut journal = Journal::open(&path, "b").expect("repaired");
        assert!(journal.torn().is_some());
        let state = journal.state("t").expect("the task");
        assert_eq!((&state.last.entry, state.applied), (&done, 1));
        assert_eq!(state.last.image, "a");
        journal.write("u", done).expect("written");
        drop(journal);
        let again = History::read(&path).expect("sound");
        assert_eq!(again.torn, None);
        assert_eq!(again.tasks["u"].last.image, "b");
    }

    #[test]
    fn a_journal_that_has_grown_large_is_compacted_when_it_is_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        let record = |task: &str, output: String| {
            encode(&Record {
                v: FORMAT,
                at: "2026-01-01T00:00:00Z".into(),
                image: "image".into(),
                task: task.into(),
                entry: Entry::Failed {
                    attempt: 1,
                    reason: "it failed".into(),
                    output,
                },
            })
        };
        let last = record("b", "last".into());
        let mut text = record("a", "x".repeat(1 << 20)).repeat(4);
        text.truncate(COMPACT_FROM);
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        for (more, length) in [("", text.len()), (&*text, 0)] {
            std::fs::write(&path, format!("{text}{more}{last}")).expect("written");
            let before = History::read(&path).expect("sound");
            drop(Journal::open(&path, "image").expect("opened"));
            let after = std::fs::metadata(&path).expect("the file").len() as usize;
            match length {
                0 => assert!(after < 2 << 20, "{after} bytes"),
                _ => assert_eq!(after, length + last.len()),
            }
            assert_eq!(History::read(&path).expect("sound").tasks, before.tasks);
        }
    }

    #[test]
    fn compacting_keeps_every_state_and_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path, "a").expect("a new journal");
        for round in 1..4 {
            let done = Entry::Done {
                digest: format!("{round}"),
                applied: round,
            };
            journal.write("t", done).expect("written");
        }
        journal.write("t", Entry::Started).expect("written");
        let before = journal.history.tasks.clone();
        journal.compact().expect("compacted");
        journal.write("u", Entry::Started).expect("written");
        drop(journal);
        let after = History::read(&path).expect("sound");
        assert_eq!(after.tasks["t"], before["t"]);
        assert_eq!(after.tasks.len(), 2);
        assert_eq!(after.tasks["t"].applied, 3);
    }
}
