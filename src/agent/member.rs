//! A member's part of the mesh: it joins, keeps what the lead tells it, and keeps the line.

use super::mesh::{folder, is_task, runtime, thread, token};
use super::view::View;
use super::wake::Why;
use super::{AgentError, Result, at};
use crate::bringup::board::TaskStand;
use crate::bringup::places::Places;
use crate::bringup::run::Observer;
use crate::mesh::code::Token;
use crate::mesh::identity::Identity;
use crate::mesh::join::JoinError;
use crate::mesh::join::member::{Candidate, Joined, Secret, join};
use crate::mesh::line::link::{Call, Host, Link};
use crate::mesh::line::question::{Question, Reply};
use crate::mesh::line::{Orders, Rhythm};
use crate::mesh::members::Record;
use crate::plan::{MESH_PORT, Plan};
use crate::site::authority::{AuthorityError, Leaf, Signs};
use crate::site::durable;
use crate::site::secrets::Secrets;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::herald::Herald;

/// Between two attempts to join.
const PAUSE: Duration = Duration::from_secs(3);

/// What the lead said when this host joined.
pub fn record(places: &Places) -> Result<Option<Record>> {
    let path = folder(places).join("record.json");
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

/// Where the lead is.
fn lead(plan: &Plan) -> Result<SocketAddr> {
    let address = plan.hosts.first().and_then(|host| host.address.as_deref());
    let address = address.and_then(|address| address.split('/').next());
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| AgentError::mesh("the plan has no address of the lead"))?;
    Ok(SocketAddr::from((address, MESH_PORT)))
}

/// Joins, however long it takes; what the lead says is on the disk when this returns.
pub fn become_one(plan: &Plan, role: &str, places: &Places, herald: &Herald) -> Result<Record> {
    if let Some(record) = record(places)? {
        return Ok(record);
    }
    let identity = Identity::open_or_create(&folder(places)).map_err(AgentError::mesh)?;
    let token = token(places)?.ok_or_else(|| {
        AgentError::mesh("this host has no join token: its answers come from `muster up`")
    })?;
    let secret = Secret::Token(Token::parse(&token).map_err(AgentError::mesh)?);
    let candidate = Candidate {
        identity: &identity,
        role,
        plan: &plan.digest,
    };
    let lead = lead(plan)?;
    let runtime = runtime().map_err(AgentError::mesh)?;
    let mut told = String::new();
    let Joined { record, .. } = loop {
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
    let path = folder(places).join("record.json");
    let text = serde_json::to_vec_pretty(&record).map_err(AgentError::mesh)?;
    durable::write(&path, &text, 0o600, None).map_err(at(&path))?;
    herald.note(&format!("joined the site of {}", record.lead));
    Ok(record)
}

/// The agent of a member, as the line sees it.
pub struct Member {
    places: Places,
    herald: Arc<Herald>,
    /// Orders as they came last.
    orders: Mutex<Option<Orders>>,
    view: OnceLock<Arc<View>>,
}

impl Member {
    /// One that has not begun.
    pub fn new(places: &Places, herald: &Arc<Herald>) -> Arc<Member> {
        Arc::new(Member {
            places: places.clone(),
            herald: Arc::clone(herald),
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
            .filter(|id| is_task(facts, id))
            .cloned()
            .collect()
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
        match self.view.get() {
            Some(view) => view.answer_aside(question, reply),
            None => reply.give(Err("this host has not begun".into())),
        }
    }

    fn note(&self, words: &str) {
        self.herald.note(words);
    }
}

/// Keeps the line to the lead for as long as the host is up.
pub fn hold(plan: &Plan, record: &Record, link: &Arc<Link>, member: &Arc<Member>) -> Result<()> {
    let identity = Identity::open_or_create(&folder(&member.places)).map_err(AgentError::mesh)?;
    let call = Call {
        address: lead(plan)?,
        lead: record.lead_key,
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
