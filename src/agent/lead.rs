//! The lead's part of the mesh: it lets hosts join, tells each what it needs of the site, signs
//! their certificates, and knows which tasks of the site are done.

use super::herald::Herald;
use super::invite::{self, Waits};
use super::keeper::Keeper;
use super::leadership::Leadership;
use super::mesh::{folder, runtime};
use super::view::View;
use super::wake::Why;
use super::{AgentError, Result, keeper, reception, thread};
use crate::bringup::context::Facts;
use crate::bringup::job::taking_part;
use crate::bringup::render::Renderer;
use crate::bringup::run::Observer;
use crate::bringup::share::share;
use crate::mesh::code::Token;
use crate::mesh::discover::Rival;
use crate::mesh::identity::Identity;
use crate::mesh::join::lead::{self, Candidate, Lobby, Site};
use crate::mesh::join::waiting::{PATIENCE, Waiting, Word};
use crate::mesh::line::Orders;
use crate::mesh::line::hub::{Desk, Hub, Known};
use crate::mesh::line::question::{Question, Reply};
use crate::mesh::members::Members;
use crate::mesh::warrant::Warrant;
use crate::plan::MESH_PORT;
use crate::profile::Instance;
use crate::site::authority::{Authority, Own};
use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::net::TcpListener;

/// What the lead knows.
pub struct Office {
    facts: Arc<Facts>,
    own: Own,
    herald: Arc<Herald>,
    /// Of the site; none before the lead has begun.
    view: OnceLock<Arc<View>>,
    waiting: Waiting,
    leadership: Leadership,
    /// Keeps the copy of the deputy, if the site has one.
    keeper: Option<Arc<Keeper>>,
    /// Whether hosts are invited to join by a code.
    invites: AtomicBool,
    rivals: Mutex<Rivals>,
}

/// Other leads of the same plan on the wire.
#[derive(Debug, Default)]
struct Rivals {
    /// None before they were looked for.
    seen: Option<BTreeSet<Rival>>,
    /// Whether a person has said that this is the lead to join.
    chosen: bool,
}

impl Office {
    /// What is known of this host.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Who tells people.
    pub fn herald(&self) -> &Arc<Herald> {
        &self.herald
    }

    /// Hosts that wait for a person's word.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Whether hosts are invited to join by a code: where no token lets them in, or since a
    /// person said so.
    pub fn invites(&self) -> bool {
        self.invites.load(Ordering::Relaxed)
    }

    /// Invites them from now on, whoever else leads: a person has said so.
    pub fn invite(&self) {
        self.known_rivals().chosen = true;
        self.invites.store(true, Ordering::Relaxed);
    }

    fn known_rivals(&self) -> MutexGuard<'_, Rivals> {
        self.rivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other leads of the same plan on the wire; none before they were looked for.
    pub fn rivals(&self) -> Option<BTreeSet<Rival>> {
        self.known_rivals().seen.clone()
    }

    /// What was seen of them; whether this lead is not to be joined before a person says so: it
    /// has just come, and the other may have been there first.
    pub fn saw(&self, rivals: BTreeSet<Rival>, has_members: bool) -> bool {
        let mut known = self.known_rivals();
        let waits = !rivals.is_empty() && !has_members && !known.chosen;
        known.seen = Some(rivals);
        waits
    }

    /// Keeps the deputy's copy current; none in a site without a deputy.
    pub fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.keeper.as_ref()
    }

    /// The certificate of the site CA, PEM.
    pub fn ca(&self) -> std::result::Result<String, String> {
        Ok(self.authority()?.pem().to_owned())
    }

    fn authority(&self) -> std::result::Result<Authority, String> {
        self.own.open().map_err(|error| error.to_string())
    }
}

impl Desk for Office {
    fn orders(&self, role: &str) -> std::result::Result<Orders, String> {
        let share = share(&self.facts, role).map_err(|error| error.to_string())?;
        Ok(Orders {
            site: share.site,
            addresses: self.facts.addresses.clone(),
            secrets: share.secrets,
        })
    }

    fn sign(
        &self,
        role: &str,
        service: &str,
        name: &str,
        public_key: &[u8],
    ) -> std::result::Result<String, String> {
        let runs =
            self.facts.stack.roles.iter().any(|known| {
                known.name == role && known.services.iter().any(|known| known == service)
            });
        if !runs {
            return Err(format!("{role} does not run {service}"));
        }
        let instance = Instance {
            role: role.to_owned(),
            service: service.to_owned(),
        };
        let renderer = Renderer::new(Arc::clone(&self.facts));
        let mut names = renderer
            .certificate_names(&instance)
            .map_err(|error| error.to_string())?;
        let names = names
            .remove(name)
            .ok_or_else(|| format!("{instance} has no certificate {name}"))?;
        let signed = self.authority()?.certify(public_key, &names, None);
        signed.map_err(|error| error.to_string())
    }

    fn answer(&self, _: &str, question: Question, reply: Reply) {
        match self.view.get() {
            Some(view) => view.answer_aside(question, reply),
            None => reply.give(Err("the lead has not begun".into())),
        }
    }

    fn stirred(&self, _: &str) {
        if let Some(view) = self.view.get() {
            view.wake().ring(Why::Look);
        }
    }

    fn note(&self, words: &str) {
        Observer::note(&*self.herald, words);
    }

    fn warrant(&self) -> Option<Warrant> {
        self.leadership.warrant.clone()
    }
}

impl Site for Office {
    async fn confirm(&self, candidate: &Candidate) -> Word {
        let tell = || {
            let words = Waits::of(candidate).words();
            self.herald.call(&format!("\n{words}"));
        };
        let word = self.waiting.ask(candidate, PATIENCE, tell).await;
        if word == Word::None {
            let Candidate { role, .. } = candidate;
            self.note(&format!(
                "nobody has said whether {role} may join; it may ask again"
            ));
        }
        word
    }

    fn certify(
        &self,
        role: &str,
        public_key: &[u8],
    ) -> std::result::Result<(String, String), String> {
        let authority = self.authority()?;
        let names: Vec<String> = [self.facts.fqdn(role), role.to_owned()]
            .into_iter()
            // A host without an address in the plan goes by its names.
            .chain(self.facts.addresses.get(role).cloned())
            .collect();
        let identity = format!("muster:{}/{role}", self.facts.site.id);
        let certificate = authority
            .certify(public_key, &names, Some(&identity))
            .map_err(|error| error.to_string())?;
        Ok((certificate, authority.pem().to_owned()))
    }
}

/// The lead's end of all that its hosts say.
pub fn open(
    facts: &Arc<Facts>,
    own: Own,
    herald: &Arc<Herald>,
    leadership: &Leadership,
) -> Result<Arc<Lobby<Office>>> {
    let places = &facts.places;
    let keeper = leadership
        .deputy
        .as_deref()
        .map(|deputy| Keeper::new(&places.state, &facts.site.id, leadership, deputy));
    let identity = Identity::open_or_create(&folder(places)).map_err(AgentError::mesh)?;
    let members = Members::open(&folder(places)).map_err(AgentError::mesh)?;
    let token = super::mesh::token(places)?;
    let office = Office {
        facts: Arc::clone(facts),
        own,
        herald: Arc::clone(herald),
        view: OnceLock::new(),
        waiting: Waiting::default(),
        leadership: leadership.clone(),
        keeper: keeper.transpose()?.map(Arc::new),
        invites: AtomicBool::new(token.is_none()),
        rivals: Mutex::default(),
    };
    let tasks = facts
        .plan
        .tasks
        .iter()
        .filter(|task| taking_part(facts, task));
    let tasks = tasks.map(|task| Known {
        id: &task.id,
        role: &task.instance.role,
        after: &task.after,
    });
    let hub = Hub::new(tasks, office);
    let roles = facts.plan.hosts.iter().map(|host| host.role.clone());
    let known = lead::Facts {
        site: facts.site.id.clone(),
        lead: facts.role.clone(),
        roles: roles.filter(|role| *role != facts.role).collect(),
        plan: facts.plan.digest.clone(),
    };
    let token = token.map(|text| Token::parse(&text)).transpose();
    let token = token.map_err(AgentError::mesh)?;
    Ok(Lobby::new(known, &identity, members, token, hub)?)
}

/// Listens for as long as the host is up, and tells the lead's own tasks what they wait for.
pub fn attend(lobby: Arc<Lobby<Office>>, view: Arc<View>, herald: Arc<Herald>) -> Result<()> {
    let facts = Arc::clone(view.executor().facts());
    let _ = lobby.hub().desk().view.set(Arc::clone(&view));
    let identity = Identity::open_or_create(&folder(&facts.places)).map_err(AgentError::mesh)?;
    reception::open(&facts.places, Arc::clone(&lobby))?;
    keeper::attend(Arc::clone(&lobby), Arc::clone(&facts), Arc::clone(&herald))?;
    thread("lead", move || {
        let ended = runtime().and_then(|runtime| {
            runtime.block_on(async {
                let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, MESH_PORT));
                let listener = TcpListener::bind(everywhere).await?;
                let follow = lobby.hub().follow(&facts.role, |done, undone| {
                    view.executor().others(&done, &undone);
                    view.wake().ring(Why::Again);
                    true
                });
                let serve = lobby.serve(listener, &identity);
                let (keep, watch) = (invite::keep(&lobby), invite::watch(&lobby));
                tokio::join!(follow, serve, keep, watch).1
            })
        });
        if let Err(error) = ended {
            Observer::note(&*herald, &format!("no host can join or be heard: {error}"));
        }
    })
}
