//! `muster agent join`: the dialogue of a host that has no join token. Behind the network, before
//! any login prompt: nobody has an account here before the site has said who.

use super::clock::Own;
use super::facts::Facts;
use super::leadership::Leadership;
use super::mesh::{folder, runtime, token};
use super::{AgentError, Result, member, setup};
use crate::bringup::places::Places;
use crate::console::events::Events;
use crate::console::joining::{Joining, Missed, Seen, Way};
use crate::console::lobby::Lobby;
use crate::console::quiet;
use crate::mesh::code::Code;
use crate::mesh::common;
use crate::mesh::discover;
use crate::mesh::identity::Identity;
use crate::mesh::join::JoinError;
use crate::mesh::join::member::{Candidate, Joined, Secret, join_by_a_person};
use crate::plan::Plan;
use crate::site::rules::network::Peer;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long leads may take to answer on the wire.
const LOOK: Duration = Duration::from_secs(3);

/// Asks until this host has joined, if it is one that joins by a code.
pub fn run() -> Result<()> {
    let places = Places::host();
    let image = Facts::read(&places.root)?;
    let plan = Plan::new(&image.stack);
    let leadership = Leadership::of(&plan, &places.state)?;
    if leadership.is_lead(&image.role) {
        return Ok(());
    }
    let lead = leadership.lead;
    if member::record(&places)?.is_some() || token(&places)?.is_some() {
        return Ok(());
    }
    let identity = Identity::open_or_create(&folder(&places)).map_err(AgentError::mesh)?;
    let welcome = format!(
        "muster: {}, host {}\n{}\nIt joins the site of {lead}, whose screen shows three words for \
         it; ? explains.\nThe key of this host: {}\n",
        plan.stack,
        image.role,
        image.stack.summary,
        identity.print().short()
    );
    let events = Events::open();
    let mut lobby = Lobby::open(&setup::consoles()?, &welcome, &events).ok_or_else(|| {
        AgentError::mesh(
            "this host has no console to type a code on; add one, or give it an answers file with \
             the token of its site: [join] token = \"...\"",
        )
    })?;
    let _quiet = quiet::Quiet::begin();
    let mut joining = Joining::new(member::known(&plan, &places)?);
    let mut wire = Wire {
        plan: &plan,
        role: &image.role,
        places: &places,
        identity,
        runtime: runtime().map_err(AgentError::mesh)?,
        notes: Vec::new(),
    };
    lobby.hold(&mut |asker| joining.run(asker, &mut wire))?;
    for note in &wire.notes {
        println!("{note}");
    }
    lobby.say(&format!(
        "\nThis host has joined the site of {lead} and starts now.\nThis takes some minutes; the \
         console shows how far it is.\n"
    ));
    Ok(())
}

/// The way to the lead over this host's cards.
struct Wire<'a> {
    plan: &'a Plan,
    role: &'a str,
    places: &'a Places,
    identity: Identity,
    runtime: tokio::runtime::Runtime,
    /// For the log.
    notes: Vec<String>,
}

impl Way for Wire<'_> {
    fn look(&mut self) -> io::Result<Vec<Seen>> {
        let found = self.runtime.block_on(discover::leads(LOOK))?;
        let seen = found.into_iter().map(|one| Seen {
            lead: Peer {
                address: IpAddr::V6(*one.address.ip()),
                zone: Some(one.card),
            },
            fits: one.announced.plan == self.plan.digest
                && common(one.announced.protocol).is_some(),
            role: one.announced.role,
        });
        Ok(seen.collect())
    }

    fn join(
        &mut self,
        lead: &Peer,
        code: &Code,
        waits: &mut dyn FnMut(),
    ) -> std::result::Result<(), Missed> {
        let lost = |error: &dyn std::fmt::Display| Missed::Lost(error.to_string());
        let candidate = Candidate {
            identity: &self.identity,
            role: self.role,
            plan: &self.plan.digest,
        };
        let secret = Secret::Code(code.clone());
        let mut last = Missed::Lost(format!("no network card of this host leads to {lead}"));
        for at in member::sockets(lead).map_err(|error| lost(&error))? {
            let attempt = join_by_a_person(at, &candidate, &secret, &mut *waits);
            match self.runtime.block_on(attempt) {
                Ok(joined) => return self.keep(&joined, at),
                Err(JoinError::Refused { words, .. }) => return Err(Missed::Refused(words)),
                // Behind another card there may be somebody else.
                Err(error) => last = lost(&error),
            }
        }
        Err(last)
    }
}

impl Wire<'_> {
    fn keep(&mut self, joined: &Joined, at: SocketAddr) -> std::result::Result<(), Missed> {
        let kept = member::keep(self.plan, self.places, joined, at, &Own);
        let note = kept.map_err(|error| {
            Missed::Refused(format!(
                "the lead has let this host in, and that cannot be kept: {error}; make room or \
                 mend the disk, then type the code again"
            ))
        })?;
        self.notes.extend(note);
        Ok(())
    }
}
