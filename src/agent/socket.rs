//! The socket on which the agent answers whoever is on its host: one line that asks, one JSON
//! document that answers.

use super::view::View;
use super::{Result, at};
use crate::bringup::status::Status;
use crate::site::accounts::Accounts;
use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a visitor may take to ask, and to take its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a question.
const LONGEST: u64 = 512;
/// Visitors at a time.
const VISITORS: usize = 16;
/// Templates and TLS are shallow.
const STACK: usize = 1 << 20;
/// Who may read the journal, as journalctl(1) has it.
const READERS: [&str; 3] = ["adm", "systemd-journal", "wheel"];

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// How the site stands.
    Status,
    /// The same after every probe was made, and failed tasks are tried again.
    Verify,
    /// The last lines of a unit.
    Journal {
        /// Of the host of this role.
        role: String,
        /// Which one.
        unit: String,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// How the site stands.
    Status {
        /// All of it.
        status: Box<Status>,
        /// Why it is not all of it; empty otherwise.
        note: String,
    },
    /// The last lines of a unit.
    Journal {
        /// They.
        lines: String,
    },
    /// Nothing.
    Refused {
        /// Why.
        words: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("{0}")]
    Nobody(io::Error),
    /// The connection failed.
    #[error("{0}")]
    Lost(io::Error),
    /// It ended without an answer.
    #[error("the agent stopped while it was asked")]
    Stopped,
    /// The answer is not what this program knows.
    #[error("{0}")]
    Garbled(serde_json::Error),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Status => f.write_str("status"),
            Request::Verify => f.write_str("verify"),
            Request::Journal { role, unit } => write!(f, "journal {role} {unit}"),
        }
    }
}

impl Request {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Request> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["status"] => Some(Request::Status),
            ["verify"] => Some(Request::Verify),
            ["journal", role, unit] => Some(Request::Journal {
                role: role.to_owned(),
                unit: unit.to_owned(),
            }),
            _ => None,
        }
    }
}

/// Asks the agent of this host; each part of its answer may take so long.
pub fn ask(
    socket: &Path,
    request: &Request,
    limit: Duration,
) -> std::result::Result<Answer, AskError> {
    let mut agent = UnixStream::connect(socket).map_err(AskError::Nobody)?;
    let mut answer = String::new();
    agent
        .set_read_timeout(Some(limit))
        .and_then(|()| agent.write_all(format!("{request}\n").as_bytes()))
        .and_then(|()| agent.read_to_string(&mut answer))
        .map_err(AskError::Lost)?;
    if answer.is_empty() {
        return Err(AskError::Stopped);
    }
    serde_json::from_str(&answer).map_err(AskError::Garbled)
}

/// Opens the socket.
pub fn open(path: &Path) -> Result<UnixListener> {
    // One left by an agent that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(at(path))?;
    // Whoever is on the host may ask for the truth; what else is asked here is looked at.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).map_err(at(path))?;
    Ok(listener)
}

/// Answers, for ever; `probed` is called after all was probed for somebody.
pub fn serve(view: &Arc<View>, listener: &UnixListener, probed: fn(&View)) {
    let visitors = Arc::new(AtomicUsize::new(0));
    for visitor in listener.incoming() {
        let visitor = match visitor {
            Ok(visitor) => visitor,
            Err(error) => {
                eprintln!("a visitor was lost: {error}");
                continue;
            }
        };
        let place = Place::take(&visitors);
        let view = Arc::clone(view);
        let work = move || {
            let answered = receive(&view, &visitor, place.is_some(), probed);
            if let Err(error) = answered {
                eprintln!("a visitor got no answer: {error}");
            }
            drop(place);
        };
        let thread = std::thread::Builder::new().name("visitor".into());
        if let Err(error) = thread.stack_size(STACK).spawn(work) {
            eprintln!("a visitor got no answer: {error}");
        }
    }
}

/// A visitor's place, for as long as it is there.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(visitors: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(visitors));
        let before = visitors.fetch_add(1, Ordering::SeqCst);
        (before < VISITORS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn receive(view: &View, visitor: &UnixStream, welcome: bool, probed: fn(&View)) -> io::Result<()> {
    visitor.set_read_timeout(Some(PATIENCE))?;
    visitor.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(visitor.take(LONGEST)).read_line(&mut line)?;
    let answer = match Request::parse(&line) {
        _ if !welcome => refused("too many ask at once; try again in a moment"),
        None => refused("this agent answers to: status, verify, journal ROLE UNIT"),
        Some(Request::Status) => status(view, false),
        Some(Request::Verify) => {
            let answer = status(view, true);
            probed(view);
            answer
        }
        Some(Request::Journal { role, unit }) => match may_read(view, visitor)? {
            true => match view.journal_here(&role, &unit) {
                Ok(lines) => Answer::Journal { lines },
                Err(words) => Answer::Refused { words },
            },
            false => refused("only root and the group systemd-journal may read journals"),
        },
    };
    let mut out = visitor;
    out.write_all(&serde_json::to_vec(&answer)?)
}

fn status(view: &View, verify: bool) -> Answer {
    let (status, note) = view.status_here(verify);
    Answer::Status {
        status: Box::new(status),
        note,
    }
}

fn refused(words: &str) -> Answer {
    Answer::Refused {
        words: words.to_owned(),
    }
}

/// Whether whoever is at the other end may read the journal without the agent, too.
fn may_read(view: &View, visitor: &UnixStream) -> io::Result<bool> {
    let uid = getsockopt(visitor, sockopt::PeerCredentials)?.uid();
    if uid == 0 {
        return Ok(true);
    }
    let root = &view.executor().facts().places.root;
    let accounts = Accounts::read(root).map_err(io::Error::other)?;
    Ok(is_reader(&accounts, uid))
}

fn is_reader(accounts: &Accounts, uid: u32) -> bool {
    let user = accounts.users.iter().find(|user| user.uid == uid);
    user.is_some_and(|user| {
        let mut groups = READERS.iter().filter_map(|name| accounts.group(name));
        groups.any(|group| group.gid == user.gid || group.members.contains(&user.name))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_nothing_else_is_one() {
        let journal = Request::Journal {
            role: "edge".into(),
            unit: "nginx*".into(),
        };
        for request in [Request::Status, Request::Verify, journal] {
            assert_eq!(Request::parse(&format!("{request}\n")), Some(request));
        }
        for line in [
            "",
            "\n",
            "stop",
            "journal edge",
            "journal edge a b",
            "status now",
        ] {
            assert_eq!(Request::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn only_who_may_read_the_journal_anyway_reads_it_through_the_agent() {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:/bin/sh\nadmin:x:1000:1000::/home/admin:/bin/bash\n\
             log:x:1001:4::/home/log:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
            "adm:x:4:syslog\nsystemd-journal:x:101:admin\n",
        );
        for (uid, may) in [(1000, true), (1001, true), (65534, false), (4711, false)] {
            assert_eq!(is_reader(&accounts, uid), may, "{uid}");
        }
    }

    #[test]
    fn whoever_asks_a_socket_without_an_agent_is_told_which_way() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let asked = |limit| ask(&socket, &Request::Status, limit).unwrap_err();
        let second = Duration::from_secs(1);
        assert!(matches!(asked(second), AskError::Nobody(_)));
        let listener = open(&socket).unwrap();
        for (bytes, words) in [
            (&b""[..], "the agent stopped while it was asked"),
            (b"{", "EOF while parsing an object at line 1 column 1"),
        ] {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut visitor, _) = listener.accept().unwrap();
                    BufReader::new(&visitor)
                        .read_line(&mut String::new())
                        .unwrap();
                    visitor.write_all(bytes).unwrap();
                });
                assert_eq!(asked(second).to_string(), words);
            });
        }
        assert!(matches!(
            asked(Duration::from_millis(50)),
            AskError::Lost(_)
        ));
    }
}
