//! How a lead invites hosts while some of its site have not joined: the code on its consoles,
//! answers on the wire, and the packet filter open for both.

use super::firewall::Neighbours;
use super::lead::Office;
use super::setup;
use crate::bringup::context::Facts;
use crate::bringup::run::Observer;
use crate::mesh::PROTOCOL;
use crate::mesh::discover::{self, Announced};
use crate::mesh::join::lead::{Candidate, Lobby};
use crate::plan::MESH_PORT;
use crate::site::secrets::SecretError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at whether there is something new to show.
const LOOK: Duration = Duration::from_secs(1);

/// How joining stands, as a person is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Standing {
    /// Role of the lead.
    pub lead: String,
    /// The code to type; none while the lead is closed.
    pub code: Option<String>,
    /// Seconds that it still lives.
    pub lives: u64,
    /// Roles that nobody has taken.
    pub missing: Vec<String>,
    /// Hosts that wait for a person's word.
    pub waiting: Vec<Waits>,
    /// Addresses of the lead.
    pub addresses: Vec<String>,
}

/// A host that waits for a person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Waits {
    /// Its role.
    pub role: String,
    /// From where it came.
    pub address: String,
    /// A few digits of its key.
    pub key: String,
}

impl Waits {
    /// What is shown of a candidate.
    pub fn of(candidate: &Candidate) -> Waits {
        Waits {
            role: candidate.role.clone(),
            address: candidate.address.to_string(),
            key: candidate.key.short(),
        }
    }

    /// What a person is asked.
    pub fn words(&self) -> String {
        let Waits { role, address, key } = self;
        format!(
            "{role} asks to join, from {address}; its key is {key}, as its own console shows.\n  \
             let it in:  sudo muster join --confirm {role}\n  \
             or not:     sudo muster join --refuse {role}\n"
        )
    }
}

impl Standing {
    /// How it stands now.
    pub fn of(lobby: &Lobby<Office>) -> Result<Standing, SecretError> {
        let shown = lobby.shown()?;
        let office = lobby.hub().desk();
        Ok(Standing {
            lead: lobby.facts().lead.clone(),
            code: shown.code.map(|code| code.to_string()),
            lives: shown.lives.as_secs(),
            missing: shown.missing,
            waiting: office.waiting().list().iter().map(Waits::of).collect(),
            addresses: addresses(office.facts()),
        })
    }

    /// What a person reads: whom it is about, the code, where the lead is.
    pub fn words(&self) -> String {
        let Standing { lead, missing, .. } = self;
        if missing.is_empty() {
            return format!("All hosts of the site of {lead} have joined.\n");
        }
        let are = if missing.len() == 1 { "has" } else { "have" };
        let mut text = format!("{} {are} not joined the site of {lead}.\n", listed(missing));
        match &self.code {
            Some(code) => {
                text.push_str(&format!("  the code:   {code}\n"));
                let minutes = self.lives.div_ceil(60);
                let unit = if minutes == 1 { "minute" } else { "minutes" };
                text.push_str(&format!(
                    "  type it on the console of each host; it is good for {minutes} {unit}\n"
                ));
            }
            None => text.push_str(
                "  joining is closed after five wrong codes; open it: sudo muster join --open\n",
            ),
        }
        if !self.addresses.is_empty() {
            let addresses = self.addresses.join(", ");
            text.push_str(&format!("  this lead:  {addresses}\n"));
        }
        text
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// Where members may look for this lead.
fn addresses(facts: &Facts) -> Vec<String> {
    let own = facts.address(&facts.role).to_owned();
    let cards = discover::cards().unwrap_or_default();
    let local = cards.iter().map(|card| card.address.to_string());
    std::iter::once(own)
        .filter(|own| !own.is_empty())
        .chain(local)
        .collect()
}

/// Invites whenever somebody is missing, for as long as the host is up.
pub async fn keep(lobby: &Arc<Lobby<Office>>) {
    let office = lobby.hub().desk();
    let mut told: Option<Standing> = None;
    let mut answering: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let standing = match Standing::of(lobby) {
            Ok(standing) => standing,
            Err(error) => {
                Observer::note(&**office.herald(), &format!("there is no code: {error}"));
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        let invites = office.invites() && !standing.missing.is_empty();
        if invites != answering.is_some() {
            filter(office, invites).await;
            match answering.take() {
                Some(before) => before.abort(),
                None => answering = Some(tokio::spawn(answer(Arc::clone(lobby)))),
            }
        }
        let new = told
            .as_ref()
            .is_none_or(|told| told.code != standing.code || told.missing != standing.missing);
        if new && (invites || told.as_ref().is_some_and(|told| !told.missing.is_empty())) {
            office.herald().call(&format!("\n{}", standing.words()));
            told = Some(standing);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Answers hosts that look for their lead.
async fn answer(lobby: Arc<Lobby<Office>>) {
    let facts = lobby.facts();
    let announced = Announced {
        protocol: PROTOCOL,
        plan: facts.plan.clone(),
        role: facts.lead.clone(),
        port: MESH_PORT,
    };
    let mut told = String::new();
    loop {
        if let Err(error) = discover::respond(&announced).await {
            let words = format!("this lead cannot be found on the wire: {error}");
            if words != told {
                Observer::note(&**lobby.hub().desk().herald(), &words);
                told = words;
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// Opens the packet filter for those who look for this lead, or closes it.
async fn filter(office: &Office, invites: bool) {
    let facts = Arc::clone(office.facts());
    let neighbours = Neighbours {
        join: office.invites(),
        answer: invites,
        ask: false,
    };
    // It waits for a program.
    let applied = tokio::task::spawn_blocking(move || {
        setup::filter(&facts.places.root, &facts.plan, &facts.role, neighbours)
    });
    if let Ok(Err(error)) = applied.await {
        let words = format!("the packet filter stays as it was: {error}");
        Observer::note(&**office.herald(), &words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            lead: "core".into(),
            code: Some("zebra ocean ladder".into()),
            lives: 899,
            missing: vec!["edge".into(), "files".into(), "mail".into()],
            waiting: Vec::new(),
            addresses: vec!["10.77.0.10".into(), "fe80::1".into()],
        }
    }

    #[test]
    fn a_person_reads_who_is_missing_the_code_and_where_the_lead_is() {
        assert_eq!(
            standing().words(),
            "edge, files and mail have not joined the site of core.\n  \
             the code:   zebra ocean ladder\n  \
             type it on the console of each host; it is good for 15 minutes\n  \
             this lead:  10.77.0.10, fe80::1\n"
        );
        let last = Standing {
            missing: vec!["edge".into()],
            lives: 59,
            addresses: Vec::new(),
            ..standing()
        };
        assert_eq!(
            last.words(),
            "edge has not joined the site of core.\n  the code:   zebra ocean ladder\n  \
             type it on the console of each host; it is good for 1 minute\n"
        );
    }

    #[test]
    fn a_closed_lead_says_how_it_is_opened_and_a_full_site_that_it_is() {
        let closed = Standing {
            code: None,
            ..standing()
        };
        assert_eq!(
            closed.words(),
            "edge, files and mail have not joined the site of core.\n  \
             joining is closed after five wrong codes; open it: sudo muster join --open\n  \
             this lead:  10.77.0.10, fe80::1\n"
        );
        let full = Standing {
            missing: Vec::new(),
            ..standing()
        };
        assert_eq!(full.words(), "All hosts of the site of core have joined.\n");
    }

    #[test]
    fn a_person_is_asked_with_role_address_and_key_and_told_both_answers() {
        let waits = Waits {
            role: "edge".into(),
            address: "10.77.0.11".into(),
            key: "abab abab abab".into(),
        };
        assert_eq!(
            waits.words(),
            "edge asks to join, from 10.77.0.11; its key is abab abab abab, as its own console \
             shows.\n  \
             let it in:  sudo muster join --confirm edge\n  \
             or not:     sudo muster join --refuse edge\n"
        );
    }
}
