//! Several consoles, one dialogue: whoever presses Enter first answers. The others are told
//! where, and can take it over; a console that goes away may come back.

use super::dialogue::{self, Asker, DialogueError, Given};
use super::events::{Event, Events};
use super::line::{Line, Verdict};
use super::plain::{Plain, wrapped};
use super::tty::{self, Terminal, Tty};
use crate::site::answers::Answers;
use crate::site::question::Questions;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What takes the dialogue over on a console that only watches.
const TAKE_OVER: &str = "here";
/// How soon a console that hung up is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// The same for one that took nothing for long: each attempt may hold up the others.
const AGAIN_STUCK: Duration = Duration::from_secs(60);

/// A dialogue with whoever is at the console that owns it.
pub type Talk<'a> = &'a mut dyn FnMut(&mut dyn Asker) -> Result<(), DialogueError>;

/// A console of the host.
#[derive(Debug)]
struct Console {
    path: PathBuf,
    name: String,
    /// While it is there.
    tty: Option<Tty>,
    /// When it is tried again.
    due: Instant,
    /// What is typed while somebody else answers; never shown.
    aside: Line,
}

impl Console {
    fn open(&mut self) {
        self.tty = Tty::open(&self.path).ok();
        self.aside.begin(true);
        self.due = Instant::now() + AGAIN;
    }

    fn lose(&mut self, error: &io::Error) {
        self.tty = None;
        let after = match error.kind() {
            ErrorKind::TimedOut => AGAIN_STUCK,
            _ => AGAIN,
        };
        self.due = Instant::now() + after;
    }

    /// Shows a text; a console that cannot be told is gone.
    fn say(&mut self, text: &str) {
        let sent = self.tty.as_mut().map(|tty| tty.send(text.as_bytes()));
        if let Some(Err(error)) = sent {
            self.lose(&error);
        }
    }

    /// One byte typed there, if there is one; a console that cannot be read is gone.
    fn byte_now(&mut self) -> Option<u8> {
        match self.tty.as_mut()?.byte_now() {
            Ok(byte) => byte,
            Err(error) => {
                self.lose(&error);
                None
            }
        }
    }
}

/// The consoles of a host that has questions.
#[derive(Debug)]
pub struct Lobby<'e> {
    consoles: Vec<Console>,
    events: &'e Events,
    greeting: String,
    /// Where the questions are answered.
    owner: Option<usize>,
    /// The console that takes them over.
    next: Option<usize>,
}

impl<'e> Lobby<'e> {
    /// Opens these devices; nothing when none of them can be.
    pub fn open(devices: &[PathBuf], welcome: &str, events: &'e Events) -> Option<Self> {
        let consoles: Vec<Console> = devices
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let mut console = Console {
                    path: path.clone(),
                    name: name.to_string_lossy().into_owned(),
                    tty: None,
                    due: Instant::now(),
                    aside: Line::default(),
                };
                console.open();
                console
            })
            .collect();
        let there = consoles.iter().any(|console| console.tty.is_some());
        there.then(|| Lobby {
            consoles,
            events,
            greeting: format!("\n{}\nPress Enter to begin.\n", wrapped(welcome)),
            owner: None,
            next: None,
        })
    }

    /// Asks the questions of first boot.
    pub fn run(
        &mut self,
        questions: &Questions,
        answers: &mut Answers,
        given: Given<'_>,
    ) -> Result<(), DialogueError> {
        self.hold(&mut |asker| dialogue::run(asker, questions, answers, given))
    }

    /// Holds a dialogue on one of the consoles. When it goes away in the middle, the rest wait
    /// again, with none left, for one to come back; and it is held again.
    pub fn hold(&mut self, talk: Talk<'_>) -> Result<(), DialogueError> {
        for place in 0..self.consoles.len() {
            self.tell(place);
        }
        loop {
            let enter = self.first_enter()?;
            for place in 0..self.consoles.len() {
                if self.owner != Some(place) {
                    self.tell(place);
                }
            }
            let ended = talk(&mut Plain::after(self, enter));
            let Err(DialogueError::Lost(error)) = ended else {
                for tty in self.consoles.iter().filter_map(|one| one.tty.as_ref()) {
                    tty.forget_input();
                }
                return ended;
            };
            if self.next.is_some() {
                continue;
            }
            if let Some(owner) = self.owner.take() {
                self.consoles[owner].lose(&error);
            }
            for place in 0..self.consoles.len() {
                // What was typed aside must neither begin the dialogue nor answer a question.
                if let Some(tty) = &self.consoles[place].tty {
                    tty.forget_input();
                }
                self.tell(place);
            }
        }
    }

    /// Shows a text on every console.
    pub fn say(&mut self, text: &str) {
        for console in &mut self.consoles {
            console.say(text);
        }
    }

    /// Tells one console what can be done there now.
    fn tell(&mut self, place: usize) {
        if self.consoles[place].tty.is_none() {
            return;
        }
        self.consoles[place].aside.begin(true);
        let text = match self.owner {
            None => {
                self.events.emit(&Event::Dialogue {
                    console: self.consoles[place].name.clone(),
                });
                self.greeting.clone()
            }
            Some(owner) => format!(
                "\nThe questions are being answered on {}.\nTo answer them on this console \
                 instead, type \"{TAKE_OVER}\" (not shown) and press Enter.\n",
                self.consoles[owner].name
            ),
        };
        self.consoles[place].say(&text);
    }

    /// Waits for the console that answers from now on; the byte with which it began.
    fn first_enter(&mut self) -> io::Result<u8> {
        loop {
            if let Some(next) = self.next.take() {
                self.owner = Some(next);
                return Ok(b'\r');
            }
            for place in self.watch()? {
                while let Some(byte) = self.consoles[place].byte_now() {
                    if matches!(byte, b'\r' | b'\n') {
                        self.owner = Some(place);
                        return Ok(byte);
                    }
                }
            }
        }
    }

    /// Waits until something is typed somewhere, and opens again what had gone; the places
    /// where there is something to read.
    fn watch(&mut self) -> io::Result<Vec<usize>> {
        let now = Instant::now();
        for place in 0..self.consoles.len() {
            let console = &mut self.consoles[place];
            if console.tty.is_none() && console.due <= now {
                console.open();
                self.tell(place);
            }
        }
        let open = |console: &&Console| console.tty.is_none();
        let due = self.consoles.iter().filter(open).map(|gone| gone.due).min();
        let limit = due.map(|due| due.saturating_duration_since(Instant::now()));
        let (places, ttys): (Vec<usize>, Vec<&Tty>) = self
            .consoles
            .iter()
            .enumerate()
            .filter_map(|(place, console)| Some((place, console.tty.as_ref()?)))
            .unzip();
        let ready = tty::wait(&ttys, limit)?;
        Ok(ready.into_iter().map(|ready| places[ready]).collect())
    }

    /// Reads what is typed on a console that only watches.
    fn overhear(&mut self, place: usize) {
        while let Some(byte) = self.consoles[place].byte_now() {
            let aside = &mut self.consoles[place].aside;
            match aside.feed(byte, &mut Vec::new()) {
                Verdict::More => {}
                Verdict::Line if aside.text().map(str::trim) == Some(TAKE_OVER) => {
                    self.next = Some(place);
                    return;
                }
                Verdict::Line | Verdict::Cancelled => self.tell(place),
            }
        }
    }
}

/// What the console sees and types where the questions are answered.
impl Terminal for Lobby<'_> {
    fn byte(&mut self) -> io::Result<u8> {
        let gone = || io::Error::from(ErrorKind::NotConnected);
        let owner = self.owner.ok_or_else(gone)?;
        loop {
            let tty = self.consoles[owner].tty.as_mut().ok_or_else(gone)?;
            if let Some(byte) = tty.byte_now()? {
                return Ok(byte);
            }
            for place in self.watch()? {
                if place != owner {
                    self.overhear(place);
                }
            }
            if self.next.is_some() {
                return Err(ErrorKind::Interrupted.into());
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let owner = self
            .owner
            .and_then(|owner| self.consoles[owner].tty.as_mut());
        owner.ok_or(ErrorKind::NotConnected)?.send(bytes)
    }
}
