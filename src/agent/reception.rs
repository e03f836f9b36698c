//! Where the agent of a lead answers `muster join`: a socket that root alone may open.

use super::invite::{Standing, Waits};
use super::lead::Office;
use super::{Result, at, thread};
use crate::bringup::places::Places;
use crate::mesh::join::lead::{Facts, Lobby};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a request: none has a tenth of them.
const MOST: u64 = 4096;
/// How long a visitor may be silent, or deaf.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// How joining stands.
    Show {},
    /// Open the lead again, with a new code.
    Open {},
    /// Let the host in that waits for this role.
    Confirm {
        /// The role.
        role: String,
    },
    /// Send it away.
    Refuse {
        /// The role.
        role: String,
    },
    /// Take the role from its host, for good.
    Replace {
        /// The role.
        role: String,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reply {
    /// What was done, or why it was not.
    pub done: std::result::Result<String, Refusal>,
    /// How joining stands then.
    pub standing: Standing,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Refusal {
    /// What and why.
    pub words: String,
    /// What to do.
    pub help: String,
}

fn refusal(words: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal {
        words: words.into(),
        help: help.into(),
    }
}

/// Answers for as long as the host is up.
pub fn open(places: &Places, lobby: Arc<Lobby<Office>>) -> Result<()> {
    let socket = places.join_socket();
    // One left by an agent that was killed.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(at(&socket))?;
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o600)).map_err(at(&socket))?;
    thread("join", move || {
        for visitor in listener.incoming() {
            let answered = visitor.and_then(|visitor| answer(&lobby, visitor));
            if let Err(error) = answered {
                eprintln!("join: {error}");
            }
        }
    })
}

fn answer(lobby: &Lobby<Office>, mut visitor: UnixStream) -> io::Result<()> {
    visitor.set_read_timeout(Some(PATIENCE))?;
    visitor.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&visitor).take(MOST)).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let done = perform(lobby, &request);
    let standing = Standing::of(lobby).map_err(io::Error::other)?;
    let reply = serde_json::to_vec(&Reply { done, standing })?;
    visitor.write_all(&reply)
}

/// Does what is asked; what was done, in words.
fn perform(lobby: &Lobby<Office>, request: &Request) -> std::result::Result<String, Refusal> {
    let office = lobby.hub().desk();
    match request {
        Request::Show {} => Ok(String::new()),
        Request::Open {} => {
            let opened = lobby.reopen();
            opened.map_err(|error| refusal(error.to_string(), "try again"))?;
            office.invite();
            Ok("joining is open, with a new code".into())
        }
        Request::Confirm { role } => answered(lobby, role, true),
        Request::Refuse { role } => answered(lobby, role, false),
        Request::Replace { role } => {
            known(lobby.facts(), role)?;
            let revoked = lobby.revoke(role).map_err(|error| {
                refusal(
                    error.to_string(),
                    "make room or mend the disk: df -h /data; journalctl -k -p err",
                )
            })?;
            match revoked {
                Some(gone) => Ok(format!(
                    "{role} is free: the host that joined on {} from {} may not come back",
                    gone.joined, gone.address
                )),
                None => Err(nobody_has(role)),
            }
        }
    }
}

fn known(facts: &Facts, role: &str) -> std::result::Result<(), Refusal> {
    if facts.roles.contains(role) {
        return Ok(());
    }
    let words = match role == facts.lead {
        true => format!("{role} is the lead itself, which does not join"),
        false => format!("this site has no role {role}"),
    };
    let roles: Vec<&str> = facts.roles.iter().map(String::as_str).collect();
    Err(refusal(
        words,
        format!("its other roles are: {}", roles.join(", ")),
    ))
}

fn nobody_waits(role: &str) -> Refusal {
    refusal(
        format!("no host waits to join as {role}"),
        "type the code on its console first: sudo muster join shows it",
    )
}

fn nobody_has(role: &str) -> Refusal {
    refusal(
        format!("nobody has joined as {role}"),
        "its host may join now: sudo muster join shows the code",
    )
}

fn answered(lobby: &Lobby<Office>, role: &str, yes: bool) -> std::result::Result<String, Refusal> {
    known(lobby.facts(), role)?;
    let waiting = lobby.hub().desk().waiting();
    let candidate = waiting.answer(role, yes);
    let candidate = candidate.ok_or_else(|| nobody_waits(role))?;
    let Waits { address, key, .. } = Waits::of(&candidate);
    Ok(match yes {
        true => format!("{role} is let in: {address}, key {key}"),
        false => format!("{role} is sent away: {address}, key {key}"),
    })
}

/// Asks the agent.
pub fn ask(mut agent: UnixStream, request: &Request) -> io::Result<Reply> {
    agent.set_read_timeout(Some(PATIENCE * 3))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    agent.write_all(&line)?;
    let mut text = Vec::new();
    agent.read_to_end(&mut text)?;
    match text.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(serde_json::from_slice(&text)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refusal: Refusal) -> [String; 2] {
        [refusal.words, refusal.help]
    }

    #[test]
    fn a_role_that_cannot_join_is_named_with_those_that_can() {
        let facts = Facts {
            site: "5".into(),
            lead: "core".into(),
            roles: ["edge".to_owned(), "files".to_owned()].into(),
            plan: "ab".into(),
        };
        assert_eq!(known(&facts, "edge"), Ok(()));
        for (role, words) in [
            ("core", "core is the lead itself, which does not join"),
            ("phones", "this site has no role phones"),
        ] {
            assert_eq!(
                known(&facts, role).map_err(told),
                Err([words.into(), "its other roles are: edge, files".into()])
            );
        }
    }

    #[test]
    fn an_answer_that_nobody_waits_for_says_what_comes_first() {
        assert_eq!(
            told(nobody_waits("edge")),
            [
                "no host waits to join as edge",
                "type the code on its console first: sudo muster join shows it"
            ]
        );
        assert_eq!(
            told(nobody_has("edge")),
            [
                "nobody has joined as edge",
                "its host may join now: sudo muster join shows the code"
            ]
        );
    }

    #[test]
    fn a_request_and_its_reply_are_read_as_they_were_written() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let reply = Reply {
            done: Err(nobody_waits("edge")),
            standing: Standing {
                lead: "core".into(),
                code: None,
                lives: 0,
                held: false,
                rivals: Default::default(),
                missing: vec!["edge".into()],
                waiting: Vec::new(),
                addresses: Vec::new(),
            },
        };
        let text = serde_json::to_vec(&reply).expect("JSON");
        let agent = std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&there).read_line(&mut line).expect("asked");
            (&there).write_all(&text).expect("answered");
            line
        });
        let role = "edge".to_owned();
        assert_eq!(ask(here, &Request::Confirm { role }).expect("told"), reply);
        let line = agent.join().expect("it ends");
        assert_eq!(line, "{\"ask\":\"confirm\",\"role\":\"edge\"}\n");
    }
}
