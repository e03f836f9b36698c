//! What one side of a line asks the other, and who waits for the answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "ask")]
pub enum Question {
    /// Of the lead: a key wants its certificate.
    Sign {
        /// Which service's.
        service: String,
        /// Which of its certificates.
        name: String,
        /// SubjectPublicKeyInfo, DER, hex.
        public_key: String,
    },
    /// How it stands: the site, if the lead is asked, else the host.
    Status {},
    /// The same after every probe was made.
    Verify {},
    /// The last lines of a unit.
    Journal {
        /// Of the host of this role.
        role: String,
        /// Which one; may be a pattern.
        unit: String,
    },
    /// Of the deputy: keep this sealed copy of the site. Answered like [`Question::Holds`].
    Keep {
        /// As it is written to the disk.
        copy: String,
    },
    /// Of the deputy: which copy it has, [`Held`], or nothing.
    Holds {},
}

/// Which copy of the site a deputy has on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Held {
    /// The term of the lead that sealed it.
    pub term: u64,
    /// Its number.
    pub number: u64,
}

/// The answer, or why there is none.
pub type Answered = Result<Value, String>;

/// The answer as it goes over the line, and why there is none.
pub(super) fn parted(answered: Answered) -> (Option<Value>, String) {
    match answered {
        Ok(answer) => (Some(answer), String::new()),
        Err(reason) => (None, reason),
    }
}

/// Takes the answer to one question, from any thread. Dropped, it says that there is none.
pub struct Reply(Option<Box<dyn FnOnce(Answered) + Send>>);

impl Reply {
    /// One that passes the answer on.
    pub fn new(pass: impl FnOnce(Answered) + Send + 'static) -> Reply {
        Reply(Some(Box::new(pass)))
    }

    /// Answers.
    pub fn give(mut self, answered: Answered) {
        if let Some(pass) = self.0.take() {
            pass(answered);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(pass) = self.0.take() {
            pass(Err(
                "the other host could not answer; its log says why".into()
            ));
        }
    }
}

/// Questions that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    askers: BTreeMap<u64, SyncSender<Answered>>,
}

impl Pending {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks by saying the number; none if nothing can be said.
    pub(super) fn ask(&self, say: impl FnOnce(u64) -> bool) -> Option<Asked> {
        let (answer, answered) = sync_channel(1);
        let number = {
            let mut waiting = self.waiting();
            waiting.last += 1;
            let number = waiting.last;
            waiting.askers.insert(number, answer);
            number
        };
        if say(number) {
            return Some(Asked { number, answered });
        }
        self.waiting().askers.remove(&number);
        None
    }

    /// Passes an answer on; one that nobody waits for is nobody's.
    pub(super) fn answered(&self, number: u64, answer: Option<Value>, reason: String) {
        let asker = self.waiting().askers.remove(&number);
        if let Some(asker) = asker {
            let _ = asker.send(answer.ok_or(reason));
        }
    }

    /// The line is down: nothing will be answered.
    pub(super) fn forget(&self) {
        self.waiting().askers.clear();
    }

    /// Waits for the answer of `whom`.
    pub(super) fn wait(&self, asked: &Asked, whom: &str, limit: Duration) -> Answered {
        match asked.answered.recv_timeout(limit) {
            Ok(answered) => answered,
            Err(RecvTimeoutError::Timeout) => {
                self.waiting().askers.remove(&asked.number);
                let seconds = limit.as_secs();
                Err(format!("{whom} has not answered within {seconds} s"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the line to {whom} broke before it answered"))
            }
        }
    }
}

/// A question that waits.
pub(super) struct Asked {
    number: u64,
    answered: Receiver<Answered>,
}
