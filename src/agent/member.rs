//! A member's part of the mesh: it joins, keeps what the lead tells it, and keeps the line.

use super::clock::Own;
use super::leadership::Leadership;
use super::mesh::{self, folder, runtime, token};
use super::view::View;
use super::wake::Why;
use super::{AgentError, Result, at, deputy, thread};
use crate::bringup::board::TaskStand;
use crate::bringup::places::Places;
use crate::bringup::run::Observer;
use crate::mesh::clock::{self, Clock};
use crate::mesh::code::Token;
use crate::mesh::discover::{self, Card};
use crate::mesh::identity::{Identity, Print};
use crate::mesh::join::JoinError;
use crate::mesh::join::member::{Candidate, Joined, Secret, join};
use crate::mesh::line::link::{Call, Host, Link};
use crate::mesh::line::question::{Question, Reply};
use crate::mesh::line::{Orders, Rhythm};
use crate::mesh::members::Record;
use crate::mesh::warrant::Warrant;
use crate::plan::{MESH_PORT, Plan};
use crate::site::authority::{AuthorityError, Leaf, Signs};
use crate::site::durable;
use crate::site::rules::network::{self, Peer};
use crate::site::secrets::Secrets;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::herald::Herald;

/// Between two attempts to join.
const PAUSE: Duration = Duration::from_secs(3);

/// What the lead said when this host joined.
pub fn record(places: &Places) -> Result<Option<Record>> {
    record_in(&places.state)
}

/// The same, in this folder of the agent.
pub(super) fn record_in(state: &Path) -> Result<Option<Record>> {
    let path = state.join(mesh::RECORD);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| AgentError::Content {
                path,
                reason: format!("what the lead said is damaged: {error}; restore the file"),
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Where the lead is by the plan.
fn planned(plan: &Plan, places: &Places) -> Result<Option<IpAddr>> {
    let leadership = Leadership::of(plan, &places.state)?;
    Ok(plan.address(&leadership.lead))
}

/// Where the lead is: as answers or a join have shown, else by the plan; nothing where it must
/// be looked for.
pub fn known(plan: &Plan, places: &Places) -> Result<Option<Peer>> {
    let path = places.state.join(mesh::LEAD);
    let leadership = Leadership::of(plan, &places.state)?;
    let planned = plan.address(&leadership.lead);
    let peer = |address| Peer {
        address,
        zone: None,
    };
    if leadership.warrant.is_some() {
        // A deputy is where the plan says; what was shown was the former lead's place.
        return Ok(planned.map(peer));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => network::peer(&text)
            .map(Some)
            .map_err(|refusal| AgentError::Content {
                path,
                reason: format!("where the lead is, is damaged: {refusal}; remove the file"),
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(planned.map(peer)),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Where a connection to this lead goes; several where it is behind one of several cards.
pub fn sockets(lead: &Peer) -> Result<Vec<SocketAddr>> {
    let IpAddr::V6(address) = lead.address else {
        return Ok(vec![SocketAddr::from((lead.address, MESH_PORT))]);
    };
    if !address.is_unicast_link_local() {
        return Ok(vec![SocketAddr::from((address, MESH_PORT))]);
    }
    let cards = discover::cards().map_err(AgentError::mesh)?;
    let named = |card: &&Card| lead.zone.as_ref().is_none_or(|zone| *zone == card.name);
    let behind: Vec<SocketAddr> = cards
        .iter()
        .filter(named)
        .map(|card| SocketAddrV6::new(address, MESH_PORT, 0, card.index).into())
        .collect();
    match (&lead.zone, behind.is_empty()) {
        (Some(zone), true) => {
            let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
            Err(AgentError::mesh(format!(
                "this host has no network card `{zone}` with a cable; it has: {}",
                names.join(", ")
            )))
        }
        _ => Ok(behind),
    }
}

fn lead(plan: &Plan, places: &Places) -> Result<SocketAddr> {
    let known = known(plan, places)?;
    let known = known.ok_or_else(|| {
        AgentError::mesh(
            "neither the plan nor the answers of this host say where its lead is; add [join] \
             address = \"...\" to its answers",
        )
    })?;
    let sockets = sockets(&known)?;
    let first = sockets.first().copied();
    first.ok_or_else(|| AgentError::mesh(format!("no network card leads to the lead at {known}")))
}

/// Keeps what the lead has said, the record last: it says that the host has joined. What was
/// done about the clock is worth a line in the log.
pub fn keep(
    plan: &Plan,
    places: &Places,
    joined: &Joined,
    at_lead: SocketAddr,
    clock: &dyn Clock,
) -> Result<Option<String>> {
    let note = clock::note(clock, joined.time);
    let path = places.state.join(mesh::LEAD);
    if planned(plan, places)? != Some(at_lead.ip()) {
        let zone = match at_lead {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                let cards = discover::cards().map_err(AgentError::mesh)?;
                let card = cards.into_iter().find(|card| card.index == v6.scope_id());
                card.map(|card| card.name)
            }
            _ => None,
        };
        let lead = Peer {
            address: at_lead.ip(),
            zone,
        };
        durable::write(&path, lead.to_string().as_bytes(), 0o600, None).map_err(at(&path))?;
    } else if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != ErrorKind::NotFound
    {
        // Answers may have named another place.
        return Err(at(&path)(error));
    }
    let path = places.state.join(mesh::RECORD);
    let text = serde_json::to_vec_pretty(&joined.record).map_err(AgentError::mesh)?;
    durable::write(&path, &text, 0o600, None).map_err(at(&path))?;
    Ok(note)
}

/// Joins with the token, however long it takes; what the lead says is on the disk when this
/// returns. A host without one has joined before, in its dialogue.
pub fn become_one(plan: &Plan, role: &str, places: &Places, herald: &Herald) -> Result<Record> {
    if let Some(record) = record(places)? {
        return Ok(record);
    }
    let identity = Identity::open_or_create(&folder(places)).map_err(AgentError::mesh)?;
    let token = token(places)?.ok_or_else(|| {
        AgentError::mesh(
            "this host has not joined its site: type the code of the lead on its console; if \
             nothing asks for it there: systemctl restart muster-join",
        )
    })?;
    let secret = Secret::Token(Token::parse(&token).map_err(AgentError::mesh)?);
    let candidate = Candidate {
        identity: &identity,
        role,
        plan: &plan.digest,
    };
    let lead = lead(plan, places)?;
    let runtime = runtime().map_err(AgentError::mesh)?;
    let mut told = String::new();
    let joined = loop {
        match runtime.block_on(join(lead, &candidate, &secret)) {
            Ok(joined) => break joined,
            Err(error) => {
                let words = error.to_string();
                // Until the lead listens there is nothing to say.
                let early = matches!(error, JoinError::Connection { .. });
                if words != told && !early {
                    herald.note(&words);
                    told = words;
                }
            }
        }
        std::thread::sleep(PAUSE);
    };
    if let Some(note) = keep(plan, places, &joined, lead, &Own)? {
        herald.note(&note);
    }
    herald.note(&format!("joined the site of {}", joined.record.lead));
    Ok(joined.record)
}

/// The agent of a member, as the line sees it.
pub struct Member {
    places: Places,
    herald: Arc<Herald>,
    record: Record,
    /// Whether it keeps a copy of the site for its lead.
    is_deputy: bool,
    /// Orders as they came last.
    orders: Mutex<Option<Orders>>,
    view: OnceLock<Arc<View>>,
}

impl Member {
    /// One that has not begun.
    pub fn new(
        places: &Places,
        herald: &Arc<Herald>,
        record: &Record,
        leadership: &Leadership,
    ) -> Arc<Member> {
        Arc::new(Member {
            places: places.clone(),
            herald: Arc::clone(herald),
            is_deputy: leadership.is_deputy(&record.role),
            record: record.clone(),
            orders: Mutex::new(None),
            view: OnceLock::new(),
        })
    }

    /// Waits for the first orders.
    pub fn wait(&self) {
        while self
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
        {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// From now on it speaks for this host.
    pub fn begin(&self, view: &Arc<View>) {
        let _ = self.view.set(Arc::clone(view));
    }

    /// Keeps a copy of the site, or says which one it has. It waits for the disk.
    fn keeps(&self, copy: Option<String>, reply: Reply) {
        if !self.is_deputy {
            let Record { role, .. } = &self.record;
            return reply.give(Err(format!("{role} is not the deputy of its site")));
        }
        let (places, site) = (self.places.clone(), self.record.site.clone());
        let work = move || {
            let held = match copy {
                Some(copy) => deputy::keep(&places, &site, &copy).map(Some),
                None => Ok(deputy::held(&places)),
            };
            let told =
                held.and_then(|held| serde_json::to_value(held).map_err(|error| error.to_string()));
            reply.give(told);
        };
        if let Err(error) = thread("copy", work) {
            self.herald.note(&error.to_string());
        }
    }

    /// Keeps what it was told, secrets before the site: the site's file says that all is there.
    fn keep(&self, orders: &Orders) -> Result<()> {
        let secrets = Secrets::open(self.places.secrets())?;
        for (name, secret) in &orders.secrets {
            secrets.keep(name, secret)?;
        }
        let path = self.places.site();
        let text = serde_json::to_vec_pretty(&orders.site).map_err(AgentError::mesh)?;
        durable::write(&path, &text, 0o600, None).map_err(at(&path))
    }
}

impl Host for Member {
    fn done(&self) -> BTreeSet<String> {
        let Some(view) = self.view.get() else {
            return BTreeSet::new();
        };
        let executor = view.executor();
        let reports = executor.board().reports();
        let done = reports
            .tasks
            .iter()
            .filter(|(_, task)| task.stand == TaskStand::Done);
        let facts = executor.facts();
        done.map(|(id, _)| id)
            .filter(|id| facts.is_task(id))
            .cloned()
            .collect()
    }

    fn time(&self, lead: u64) {
        if let Some(note) = clock::note(&Own, lead) {
            self.herald.note(&note);
        }
    }

    fn orders(&self, orders: Orders) {
        if let Err(error) = self.keep(&orders) {
            self.herald
                .note(&format!("what the lead says cannot be kept: {error}"));
            return;
        }
        let mut known = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let others = known.as_ref().is_some_and(|known| *known != orders);
        *known = Some(orders);
        if others {
            // systemd starts the agent again, which reads them.
            self.herald
                .note("the site has changed: this host begins again with it");
            std::process::exit(0);
        }
    }

    fn others(&self, done: BTreeSet<String>, undone: BTreeSet<String>) {
        // The lead says nothing at times, to be heard.
        if done.is_empty() && undone.is_empty() {
            return;
        }
        if let Some(view) = self.view.get() {
            view.executor().others(&done, &undone);
            view.wake().ring(Why::Again);
        }
    }

    fn status(&self) -> Option<Value> {
        self.view.get().and_then(|view| view.report())
    }

    fn answer(&self, question: Question, reply: Reply) {
        match (question, self.view.get()) {
            (Question::Keep { copy }, _) => self.keeps(Some(copy), reply),
            (Question::Holds {}, _) => self.keeps(None, reply),
            (question, Some(view)) => view.answer_aside(question, reply),
            (_, None) => reply.give(Err("this host has not begun".into())),
        }
    }

    fn follow(&self, warrant: &Warrant, key: Print) -> std::result::Result<(), String> {
        let folder = folder(&self.places);
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let known = Warrant::kept(&folder).map_err(|error| words(&error))?;
        let Record { site, ca, .. } = &self.record;
        warrant
            .check_of(key, site, ca, known.as_ref())
            .map_err(|error| words(&error))?;
        warrant.keep(&folder).map_err(|error| words(&error))?;
        let claim = &warrant.claim;
        self.herald.note(&format!(
            "{} leads this site in the place of {}, since {}",
            claim.role, claim.former.role, claim.since
        ));
        Ok(())
    }

    fn note(&self, words: &str) {
        self.herald.note(words);
    }
}

/// Keeps the line to the lead for as long as the host is up, whoever comes to lead.
pub fn hold(plan: &Plan, link: &Arc<Link>, member: &Arc<Member>) -> Result<()> {
    let identity = Identity::open_or_create(&folder(&member.places)).map_err(AgentError::mesh)?;
    let leadership = Leadership::of(plan, &member.places.state)?;
    let other = leadership.other(plan, &member.record.role);
    let call = Call {
        address: lead(plan, &member.places)?,
        lead: leadership.key().unwrap_or(member.record.lead_key),
        other: other.map(|address| SocketAddr::from((address, MESH_PORT))),
        plan: plan.digest.clone(),
        rhythm: Rhythm::default(),
    };
    let (link, member) = (Arc::clone(link), Arc::clone(member));
    thread("member", move || {
        let held = runtime().map(|runtime| {
            runtime.block_on(link.hold(&call, &identity, &*member));
        });
        if let Err(error) = held {
            member.note(&format!("the lead cannot be heard: {error}"));
        }
    })
}

/// The lead signs.
pub struct Remote {
    /// The line to it.
    pub link: Arc<Link>,
    /// The certificate of the site CA, PEM.
    pub ca: String,
}

impl Signs for Remote {
    fn ca(&self) -> std::result::Result<String, AuthorityError> {
        Ok(self.ca.clone())
    }

    fn sign(
        &self,
        leaf: &Leaf<'_>,
        public_key: &[u8],
    ) -> std::result::Result<String, AuthorityError> {
        self.link
            .sign(leaf.service, leaf.name, public_key)
            .map_err(|reason| AuthorityError::Unsigned {
                subject: leaf.names.first().cloned().unwrap_or_default(),
                reason,
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::console::events::Events;
    use crate::profile::{Source, Stack};

    fn plan(address: Option<&str>) -> Plan {
        let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
        let mut plan = Plan::new(&Stack::load(&Source::new(None), stack, None).unwrap());
        plan.hosts[0].address = address.map(str::to_owned);
        plan
    }

    #[test]
    fn the_lead_is_where_answers_or_a_join_have_shown_else_where_the_plan_says() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        std::fs::create_dir_all(places.state.join("mesh")).unwrap();
        let shown = |plan: &Plan| {
            let known = known(plan, &places).unwrap();
            known.map(|known| known.to_string())
        };
        assert_eq!(shown(&plan(None)), None);
        assert_eq!(
            lead(&plan(None), &places).unwrap_err().to_string(),
            "neither the plan nor the answers of this host say where its lead is; add [join] \
             address = \"...\" to its answers"
        );
        let planned = plan(Some("10.77.0.10/24"));
        assert_eq!(shown(&planned).as_deref(), Some("10.77.0.10"));
        let at = lead(&planned, &places).unwrap();
        assert_eq!(at.to_string(), "10.77.0.10:7433");
        let path = places.state.join(mesh::LEAD);
        std::fs::write(&path, "fe80::1%nosuch0").unwrap();
        assert_eq!(shown(&planned).as_deref(), Some("fe80::1%nosuch0"));
        let words = lead(&planned, &places).unwrap_err().to_string();
        assert!(
            words.starts_with("this host has no network card `nosuch0` with a cable; it has: "),
            "{words}"
        );
        std::fs::write(&path, "nowhere").unwrap();
        assert_eq!(
            known(&planned, &places).unwrap_err().to_string(),
            format!(
                "{}: where the lead is, is damaged: `nowhere` is not an IP address; remove the file",
                path.display()
            )
        );
    }

    /// A clock that is right, and that no test sets.
    struct Right;

    impl Clock for Right {
        fn now(&self) -> std::time::SystemTime {
            std::time::SystemTime::now()
        }
        fn set(&self, _: std::time::SystemTime) -> std::io::Result<()> {
            unreachable!("it is right")
        }
    }

    #[test]
    fn what_the_lead_has_said_is_kept_with_the_place_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        std::fs::create_dir_all(places.state.join("mesh")).unwrap();
        let joined = Joined {
            record: Record {
                site: "5".into(),
                role: "edge".into(),
                lead: "box".into(),
                lead_key: crate::mesh::identity::Print([1; 32]),
                ca: "ca".into(),
                certificate: "certificate".into(),
            },
            time: clock::seconds(),
        };
        let planned = plan(Some("10.77.0.10/24"));
        let shown = || known(&planned, &places).unwrap().unwrap().to_string();
        for at in ["192.0.2.9:7433", "10.77.0.10:7433"] {
            let at: SocketAddr = at.parse().unwrap();
            assert_eq!(keep(&planned, &places, &joined, at, &Right).unwrap(), None);
            assert_eq!(shown(), at.ip().to_string());
            assert_eq!(record(&places).unwrap().as_ref(), Some(&joined.record));
        }
        assert!(!places.state.join(mesh::LEAD).exists());
    }

    #[test]
    fn a_host_that_has_not_joined_says_where_the_code_is_typed() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        let herald = Herald::new(Events::none());
        let error = become_one(&plan(None), "edge", &places, &herald).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this host has not joined its site: type the code of the lead on its console; if \
             nothing asks for it there: systemctl restart muster-join"
        );
    }
}
