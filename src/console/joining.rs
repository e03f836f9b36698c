//! The dialogue of a host that joins a site: where its lead is, if nothing else tells, and the
//! three words on the lead's screen.

use super::dialogue::{Asker, DialogueError, text};
use crate::mesh::code::Code;
use crate::site::rules::network::{self, Peer};
use std::io;

const CODE: &str = "The three words on the lead's screen";
const CODE_HELP: &str = "  The lead of this site shows them on its screen while hosts are missing; `sudo muster join` \
     there shows them, too. Each word may be cut after four letters. They change after 15 minutes \
     and after each wrong try. An address instead of the words: the lead is there.";
const ADDRESS: &str = "Address of the lead";
const ADDRESS_HELP: &str = "  It stands beside the three words on the lead's screen, and `sudo muster join` there shows \
     it: 192.0.2.10, fd00::10, or fe80::1%eth0 with the name of this host's network card.";
/// Leaves the list of leads.
const NONE: &str = "none";

/// A lead that was seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub lead: Peer,
    /// Its role.
    pub role: String,
    /// Whether it was built with this host, and both understand each other.
    pub fits: bool,
}

/// Why a host has not joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// The lead said no.
    Refused(String),
    /// What is there is not the lead, or nothing is.
    Lost(String),
}

/// What the dialogue can do.
pub trait Way {
    /// The leads on the wire.
    fn look(&mut self) -> io::Result<Vec<Seen>>;
    /// One attempt to join; `waits` is called when a person at the lead is asked. What the lead
    /// said is kept when this returns.
    fn join(&mut self, lead: &Peer, code: &Code, waits: &mut dyn FnMut()) -> Result<(), Missed>;
}

/// How far the dialogue is: it may go on at another console.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// Where the lead is, as far as known.
    pub lead: Option<Peer>,
    /// Where it was in vain: not taken again without a word.
    before: Option<Peer>,
    joined: bool,
}

impl Joining {
    /// One that begins with what plan or answers tell.
    pub fn new(lead: Option<Peer>) -> Joining {
        Joining {
            lead,
            ..Joining::default()
        }
    }

    /// Asks until this host has joined.
    pub fn run(&mut self, asker: &mut dyn Asker, way: &mut dyn Way) -> Result<(), DialogueError> {
        while !self.joined {
            let Some(lead) = self.lead.clone() else {
                self.lead = whereabouts(asker, way, self.before.as_ref())?;
                continue;
            };
            match words(asker)? {
                None => {}
                Some(Words::Elsewhere(other)) => self.lead = Some(other),
                Some(Words::Code(code)) => self.attempt(asker, way, lead, &code)?,
            }
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        asker: &mut dyn Asker,
        way: &mut dyn Way,
        lead: Peer,
        code: &Code,
    ) -> io::Result<()> {
        let mut waits = || {
            // A console that is gone is noticed at the next question.
            asker
                .say(
                    "  The code is right. Now somebody at the lead lets this host in: there, \
                     `sudo muster join` shows how. Compare the key.",
                )
                .ok();
        };
        match way.join(&lead, code, &mut waits) {
            Ok(()) => {
                self.joined = true;
                Ok(())
            }
            Err(Missed::Refused(words)) => no(asker, &words),
            Err(Missed::Lost(words)) => {
                self.lead = None;
                self.before = Some(lead);
                no(asker, &words)
            }
        }
    }
}

fn no(asker: &mut dyn Asker, words: &str) -> io::Result<()> {
    let stop = if words.ends_with('?') { "" } else { "." };
    asker.say(&format!("  No: {words}{stop}"))
}

/// What was typed where the code is asked.
enum Words {
    Code(Code),
    Elsewhere(Peer),
}

fn words(asker: &mut dyn Asker) -> io::Result<Option<Words>> {
    let typed = asker.line(CODE, None)?;
    let Some(typed) = text(asker, typed)? else {
        return Ok(None);
    };
    if typed.trim() == "?" {
        asker.say(CODE_HELP)?;
        return Ok(None);
    }
    if let Ok(elsewhere) = network::peer(&typed) {
        return Ok(Some(Words::Elsewhere(elsewhere)));
    }
    match Code::parse(&typed) {
        Ok(code) => Ok(Some(Words::Code(code))),
        Err(error) => {
            no(asker, &error.to_string())?;
            Ok(None)
        }
    }
}

/// Where the lead is: the only one on the wire, the one of several that a person chooses, or
/// where they say.
fn whereabouts(
    asker: &mut dyn Asker,
    way: &mut dyn Way,
    before: Option<&Peer>,
) -> io::Result<Option<Peer>> {
    asker.say("  One moment: the lead is looked for on the wire.")?;
    let seen = match way.look() {
        Ok(seen) => seen,
        Err(error) => {
            asker.say(&format!("  It cannot be looked for: {error}."))?;
            return address(asker, before);
        }
    };
    for other in seen.iter().filter(|one| !one.fits) {
        asker.say(&format!(
            "  At {} is the lead {} of other images than this host's: it is left out.",
            other.lead, other.role
        ))?;
    }
    let fits = |one: &&Seen| one.fits && Some(&one.lead) != before;
    let fits: Vec<&Seen> = seen.iter().filter(fits).collect();
    match fits[..] {
        [] => {
            asker.say("  No lead answers on this wire.")?;
            address(asker, before)
        }
        [one] => {
            asker.say(&format!("  The lead {} is at {}.", one.role, one.lead))?;
            Ok(Some(one.lead.clone()))
        }
        _ => which(asker, &fits),
    }
}

fn which(asker: &mut dyn Asker, leads: &[&Seen]) -> io::Result<Option<Peer>> {
    let mut choices: Vec<(String, String)> = leads
        .iter()
        .map(|one| (one.lead.to_string(), format!("the lead {}", one.role)))
        .collect();
    choices.push((NONE.into(), "none of these; its address is typed".into()));
    loop {
        let typed = asker.choose(
            "Several leads answer. Compare with the address on the screen of yours:",
            &choices,
            None,
        )?;
        let Some(typed) = text(asker, typed)? else {
            continue;
        };
        let typed = typed.trim();
        if typed == NONE {
            return address(asker, None);
        }
        match leads.iter().find(|one| one.lead.to_string() == typed) {
            Some(one) => return Ok(Some(one.lead.clone())),
            None => asker.say("  Type the number of one of them.")?,
        }
    }
}

fn address(asker: &mut dyn Asker, before: Option<&Peer>) -> io::Result<Option<Peer>> {
    let before = before.map(ToString::to_string);
    loop {
        let typed = asker.line(ADDRESS, before.as_deref())?;
        let Some(typed) = text(asker, typed)? else {
            continue;
        };
        let typed = match (typed.trim(), &before) {
            ("?", _) => {
                asker.say(ADDRESS_HELP)?;
                continue;
            }
            ("", Some(before)) => before.clone(),
            // Perhaps it answers now.
            ("", None) => return Ok(None),
            (typed, _) => typed.to_owned(),
        };
        match network::peer(&typed) {
            Ok(lead) => return Ok(Some(lead)),
            Err(refusal) => no(asker, &refusal.to_string())?,
        }
    }
}
