//! How far long work is: a bar on a person's screen, a line now and then in a log, or JSON
//! lines (docs/schemas/progress.json) for a program that asked for them.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a program hears of bytes.
const BRISK: Duration = Duration::from_millis(500);
/// How often a log does.
const CALM: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A person's terminal, standard error.
    Screen,
    /// Standard error that nobody looks at while it grows.
    Log,
    /// A program; nothing once it does not read any more.
    Program(Arc<Mutex<Option<File>>>),
}

/// What takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Packages are being pinned.
    Lock,
    /// Files come into the cache; counted in bytes.
    Fetch,
    /// An image is being made.
    Image,
    /// Machines are being started.
    Machines,
    /// Hosts bring themselves up; counted in tasks.
    BringUp,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// It begins.
    Started,
    /// It goes on.
    Running,
    /// It has come to its end.
    Done,
    /// It was given up; standard error says why.
    Failed,
}

/// One JSON line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line<'a> {
    /// What takes long.
    pub stage: Stage,
    /// Of which stack; of an image, which role.
    pub subject: &'a str,
    /// How far it is.
    pub moment: Moment,
    /// Bytes or tasks so far, 0 where nothing is counted.
    pub done: u64,
    /// Out of so many; none while unknown or where nothing is counted.
    pub total: Option<u64>,
    /// News for people; mostly empty.
    pub message: &'a str,
}

impl Progress {
    /// For whoever looks at standard error.
    pub fn of_standard_error(terminal: bool) -> Progress {
        match terminal {
            true => Progress::Screen,
            false => Progress::Log,
        }
    }

    /// For the program at the other end of this file.
    pub fn of_program(file: File) -> Progress {
        Progress::Program(Arc::new(Mutex::new(Some(file))))
    }

    /// Begins something long.
    pub fn begin(&self, stage: Stage, subject: &str) -> Work {
        let bar = match (self, stage) {
            (Progress::Screen, Stage::Fetch) => ProgressBar::new(0).with_style(bytes()),
            _ => ProgressBar::hidden(),
        };
        let teller = Teller {
            progress: self.clone(),
            stage,
            subject: subject.to_owned(),
            bar,
        };
        teller.tell(Moment::Started, "");
        let ticker = (stage == Stage::Fetch)
            .then(|| Ticker::start(teller.clone()))
            .flatten();
        Work {
            teller,
            ticker,
            ended: false,
        }
    }

    fn write(&self, line: &Line<'_>) {
        let Progress::Program(file) = self else {
            return;
        };
        let Ok(mut text) = serde_json::to_vec(line) else {
            return;
        };
        text.push(b'\n');
        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = file.as_mut().map(|file| file.write_all(&text));
        // The work goes on when nobody wants to hear of it any more.
        if let Some(Err(_)) = written {
            *file = None;
        }
    }
}

fn bytes() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Something long. Dropped before [`Work::done`], it was given up.
#[derive(Debug)]
pub struct Work {
    teller: Teller,
    ticker: Option<Ticker>,
    ended: bool,
}

impl Work {
    /// What counts; visible only on a screen.
    pub fn bar(&self) -> &ProgressBar {
        &self.teller.bar
    }

    /// Tells a program how far it is and what is new.
    pub fn say(&self, message: &str) {
        self.teller.tell(Moment::Running, message);
    }

    /// It has come to its end.
    pub fn done(mut self) {
        self.end(Moment::Done);
    }

    fn end(&mut self, moment: Moment) {
        if !std::mem::replace(&mut self.ended, true) {
            // The ticker first, so that nothing comes behind the last line.
            self.ticker = None;
            self.teller.tell(moment, "");
            self.teller.bar.finish_and_clear();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.end(Moment::Failed);
    }
}

#[derive(Debug, Clone)]
struct Teller {
    progress: Progress,
    stage: Stage,
    subject: String,
    bar: ProgressBar,
}

impl Teller {
    fn tell(&self, moment: Moment, message: &str) {
        self.progress.write(&Line {
            stage: self.stage,
            subject: &self.subject,
            moment,
            done: self.bar.position(),
            total: self.bar.length(),
            message,
        });
    }

    /// What it has come to since the last time.
    fn tick(&self) {
        match (&self.progress, self.bar.length()) {
            (Progress::Program(_), _) => self.tell(Moment::Running, ""),
            (Progress::Log, Some(total)) if total > 0 => {
                let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
                let done = megabytes(self.bar.position());
                let (subject, total) = (&self.subject, megabytes(total));
                // Nobody may be listening any more; the work goes on.
                let _ = writeln!(std::io::stderr(), "{subject}: {done} of {total} MB");
            }
            _ => {}
        }
    }
}

/// Looks at a bar now and then, until it is dropped.
#[derive(Debug)]
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// None where a bar draws itself.
    fn start(teller: Teller) -> Option<Ticker> {
        let pause = match teller.progress {
            Progress::Screen => return None,
            Progress::Log => CALM,
            Progress::Program(_) => BRISK,
        };
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                teller.tick();
            }
        });
        Some(Ticker {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that has panicked has told all it could.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    fn lines(work: impl FnOnce(&Progress)) -> Vec<String> {
        let mut file = tempfile::tempfile().expect("a file");
        work(&Progress::of_program(file.try_clone().expect("a handle")));
        let mut text = String::new();
        file.rewind().expect("rewound");
        file.read_to_string(&mut text).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn work_that_ends_is_done_and_work_that_is_dropped_has_failed() {
        let told = lines(|progress| {
            progress.begin(Stage::Lock, "starter").done();
            drop(progress.begin(Stage::Image, "office"));
        });
        let line = |stage: &str, subject: &str, moment: &str| {
            format!(
                r#"{{"stage":"{stage}","subject":"{subject}","moment":"{moment}","done":0,"total":null,"message":""}}"#
            )
        };
        assert_eq!(
            told,
            [
                line("lock", "starter", "started"),
                line("lock", "starter", "done"),
                line("image", "office", "started"),
                line("image", "office", "failed"),
            ]
        );
    }

    #[test]
    fn a_program_hears_of_bytes_while_they_come() {
        let told = lines(|progress| {
            let work = progress.begin(Stage::Fetch, "starter");
            work.bar().set_length(10);
            work.bar().inc(4);
            std::thread::sleep(BRISK * 3 / 2);
            work.bar().inc(6);
            work.done();
        });
        assert!(
            told[1].contains(r#""moment":"running","done":4,"total":10"#),
            "{told:?}"
        );
        let last = told.last().expect("a line");
        assert!(
            last.contains(r#""moment":"done","done":10,"total":10"#),
            "{told:?}"
        );
    }

    #[test]
    fn a_program_that_went_away_does_not_stop_the_work() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let progress = Progress::of_program(File::from(std::os::fd::OwnedFd::from(writer)));
        let work = progress.begin(Stage::Image, "office");
        work.say("still here");
        work.done();
        let Progress::Program(file) = progress else {
            unreachable!("it was made for a program");
        };
        assert!(file.lock().expect("whole").is_none());
    }
}
