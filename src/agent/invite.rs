//! How a lead invites hosts while some of its site have not joined: the code on its consoles, and
//! the packet filter open for them. Answers on the wire, for them and for a second lead, which is
//! told about this one.

use super::firewall::Neighbours;
use super::lead::Office;
use super::setup;
use crate::bringup::context::Facts;
use crate::bringup::run::Observer;
use crate::mesh::PROTOCOL;
use crate::mesh::discover::{self, Announced, Rival};
use crate::mesh::join::lead::{Candidate, Lobby};
use crate::plan::MESH_PORT;
use crate::site::secrets::SecretError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at whether there is something new to show.
const LOOK: Duration = Duration::from_secs(1);
/// How long cards may take to have addresses.
const CARDS: Duration = Duration::from_secs(5);
/// How long other leads may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks for them while hosts are missing, …
const OFTEN: Duration = Duration::from_secs(20);
/// … and when all have joined.
const RARELY: Duration = Duration::from_secs(300);

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
    /// Whether nobody is let in by a code before a person says so, since others lead, too.
    pub held: bool,
    /// Other leads of the same plan on the wire.
    pub rivals: BTreeSet<Rival>,
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
            held: shown.held,
            rivals: office.rivals().unwrap_or_default(),
            missing: shown.missing,
            waiting: office.waiting().list().iter().map(Waits::of).collect(),
            addresses: addresses(office.facts()),
        })
    }

    /// Whether another standing is worth a word.
    fn is_news(&self, other: &Standing) -> bool {
        (&self.code, &self.missing, &self.rivals) != (&other.code, &other.missing, &other.rivals)
    }

    /// What a person reads: whom it is about, the code, where the lead is.
    pub fn words(&self) -> String {
        let Standing { lead, missing, .. } = self;
        let mut text: String = self.rivals.iter().map(|one| warning(one, lead)).collect();
        if missing.is_empty() {
            text.push_str(&format!("All hosts of the site of {lead} have joined.\n"));
            return text;
        }
        let are = if missing.len() == 1 { "has" } else { "have" };
        let listed = listed(missing);
        text.push_str(&format!("{listed} {are} not joined the site of {lead}.\n"));
        match &self.code {
            Some(code) => {
                text.push_str(&format!("  the code:   {code}\n"));
                let minutes = self.lives.div_ceil(60);
                let unit = if minutes == 1 { "minute" } else { "minutes" };
                text.push_str(&format!(
                    "  type it on the console of each host; it is good for {minutes} {unit}\n"
                ));
            }
            None if self.held => text.push_str(
                "  joining is closed until somebody says that this is the lead to join:\n  \
                 sudo muster join --open\n",
            ),
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

/// One line on another lead.
pub fn another(rival: &Rival) -> String {
    let Rival { role, address } = rival;
    format!("another lead of this stack, {role}, answers at {address}")
}

/// The same with what a person can do.
fn warning(rival: &Rival, lead: &str) -> String {
    let (words, role) = (another(rival), &rival.role);
    let leave = match role == lead {
        true => "shut this host down".to_owned(),
        false => format!("start this host from a fresh image: muster up STACK --lead {role}"),
    };
    format!(
        "Attention: {words}.\nHosts that join the one are strangers to the other.\n  \
         to keep this one:   shut the other down\n  \
         to keep the other:  {leave}\n"
    )
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

/// Looks for other leads of this plan, for as long as the host is up: first of all, and more often
/// while hosts are missing.
pub async fn watch(lobby: &Arc<Lobby<Office>>) {
    let office = lobby.hub().desk();
    let facts = lobby.facts();
    let mut told = String::new();
    let start = Instant::now();
    // An address is tried out for a second or two before it is used.
    while start.elapsed() < CARDS && discover::cards().is_ok_and(|cards| cards.is_empty()) {
        tokio::time::sleep(LOOK).await;
    }
    loop {
        let found = match discover::leads(PATIENCE).await {
            Ok(found) => found,
            Err(error) => {
                let words = format!("other leads cannot be looked for: {error}");
                if words != told {
                    Observer::note(&**office.herald(), &words);
                    told = words;
                }
                Vec::new()
            }
        };
        let cards = discover::cards().unwrap_or_default();
        let rivals = discover::rivals(&found, &facts.plan, &cards, MESH_PORT);
        let missing = lobby.missing();
        if office.saw(rivals, missing.len() < facts.roles.len()) {
            lobby.hold();
        }
        tokio::time::sleep(if missing.is_empty() { RARELY } else { OFTEN }).await;
    }
}

/// Invites whenever somebody is missing, for as long as the host is up.
pub async fn keep(lobby: &Arc<Lobby<Office>>) {
    let office = lobby.hub().desk();
    let mut told: Option<Standing> = None;
    let mut open = None;
    let _answering = tokio::spawn(answer(Arc::clone(lobby)));
    loop {
        let standing = match Standing::of(lobby) {
            Ok(standing) => standing,
            Err(error) => {
                Observer::note(&**office.herald(), &format!("there is no code: {error}"));
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        if open != Some(office.invites()) {
            filter(office).await;
            open = Some(office.invites());
        }
        // Nobody is invited before others were looked for.
        let looked = office.rivals().is_some();
        let invites = looked && office.invites() && !standing.missing.is_empty();
        let new = told.as_ref().is_none_or(|told| told.is_news(&standing));
        let concerns = |told: &Standing| !told.missing.is_empty() || !told.rivals.is_empty();
        let before = told.as_ref().is_some_and(concerns);
        if new && (invites || before || !standing.rivals.is_empty()) {
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

/// Opens the packet filter for those who look for this lead, and for other leads.
async fn filter(office: &Office) {
    let facts = Arc::clone(office.facts());
    let neighbours = Neighbours {
        join: office.invites(),
        answer: true,
        ask: true,
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
            held: false,
            rivals: BTreeSet::new(),
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
    fn a_lead_that_is_not_the_only_one_says_so_and_invites_nobody() {
        let rival = |role: &str| {
            BTreeSet::from([Rival {
                role: role.into(),
                address: "fe80::2%ens3".into(),
            }])
        };
        let second = Standing {
            code: None,
            held: true,
            rivals: rival("core"),
            ..standing()
        };
        assert!(standing().is_news(&second));
        assert_eq!(
            second.words(),
            "Attention: another lead of this stack, core, answers at fe80::2%ens3.\n\
             Hosts that join the one are strangers to the other.\n  \
             to keep this one:   shut the other down\n  \
             to keep the other:  shut this host down\n\
             edge, files and mail have not joined the site of core.\n  \
             joining is closed until somebody says that this is the lead to join:\n  \
             sudo muster join --open\n  \
             this lead:  10.77.0.10, fe80::1\n"
        );
        // A deputy that was promoted while this one was away.
        let promoted = Standing {
            missing: Vec::new(),
            rivals: rival("edge"),
            ..second
        };
        assert_eq!(
            promoted.words(),
            "Attention: another lead of this stack, edge, answers at fe80::2%ens3.\n\
             Hosts that join the one are strangers to the other.\n  \
             to keep this one:   shut the other down\n  \
             to keep the other:  start this host from a fresh image: muster up STACK --lead edge\n\
             All hosts of the site of core have joined.\n"
        );
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
