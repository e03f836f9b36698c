//! The lead's end of all lines: who is there, and which tasks of the site are done.

use super::question::{Answered, Pending, Question, Reply, parted};
use super::{FromLead, FromMember, Orders, Rhythm};
use crate::mesh::clock;
use crate::mesh::frame::{self, FrameError, KNOWN};
use crate::mesh::warrant::Warrant;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// So many questions of one member are answered at a time; the next ones wait.
const QUESTIONS: usize = 16;

/// What the lead of a site knows.
pub trait Desk: Send + Sync {
    /// What the host of a role is told.
    fn orders(&self, role: &str) -> Result<Orders, String>;
    /// The certificate of a role's service, PEM, for this public key (SubjectPublicKeyInfo, DER).
    /// The names in it come from the plan, never from who asks.
    fn sign(
        &self,
        role: &str,
        service: &str,
        name: &str,
        public_key: &[u8],
    ) -> Result<String, String>;
    /// The host of a role asks something else. Answered aside if that takes time: all lines stand
    /// still meanwhile.
    fn answer(&self, role: &str, question: Question, reply: Reply);
    /// The host of a role has reported, or its line is up or down.
    fn stirred(&self, role: &str);
    /// Something worth a line in the log.
    fn note(&self, words: &str);
    /// That this host leads in the place of another; none of the one that made the site.
    fn warrant(&self) -> Option<Warrant> {
        None
    }
}

/// A change: a task of a role is done, or not any more.
#[derive(Debug, Clone)]
struct Change {
    task: Arc<str>,
    done: bool,
}

/// A host as the lead sees it.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// Lines that are up; two for a moment when a member dials again before the old line is
    /// noticed to be dead.
    pub lines: usize,
    /// When it was last heard.
    pub heard: Option<Instant>,
    /// Its last report.
    pub status: Option<Arc<Value>>,
}

/// What is said on a line; with an answer, the place that its question has taken.
type Said = (FromLead, Option<OwnedSemaphorePermit>);

/// A line that is up, for whoever asks on it.
struct Wire {
    id: u64,
    say: mpsc::UnboundedSender<Said>,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct State {
    /// Task → whether it is done, as its host said last; nothing of one that has not spoken since
    /// this lead was started.
    words: BTreeMap<Arc<str>, bool>,
    /// Role → every change since this lead was started of what its tasks wait for.
    changes: BTreeMap<String, Vec<Change>>,
    hosts: BTreeMap<String, Presence>,
    /// Role → its lines that are up, the newest last.
    wires: BTreeMap<String, Vec<Wire>>,
    /// Counts lines.
    lines: u64,
    /// Grows with each report, and when a line is up or down.
    revision: u64,
    /// Role → how often its lines were hung up.
    dismissed: BTreeMap<String, u64>,
}

impl State {
    fn changes(&self, role: &str) -> &[Change] {
        self.changes.get(role).map_or(&[], Vec::as_slice)
    }

    fn dismissals(&self, role: &str) -> u64 {
        self.dismissed.get(role).copied().unwrap_or_default()
    }
}

/// The lead's end.
pub struct Hub<D> {
    desk: D,
    rhythm: Rhythm,
    /// Role → its tasks.
    own: BTreeMap<String, BTreeSet<String>>,
    /// Task → roles whose tasks wait for it.
    waiters: BTreeMap<String, BTreeSet<String>>,
    state: Mutex<State>,
    /// Role → rings when there is something for it.
    bells: BTreeMap<String, watch::Sender<()>>,
}

/// A task of the plan: id, role, and the tasks that it waits for.
pub struct Known<'a> {
    /// Unique.
    pub id: &'a str,
    /// Whose it is.
    pub role: &'a str,
    /// Ids.
    pub after: &'a [String],
}

impl<D: Desk> Hub<D> {
    /// A hub for these tasks of the plan.
    pub fn new<'a>(tasks: impl Iterator<Item = Known<'a>>, desk: D) -> Hub<D> {
        let tasks: Vec<Known<'a>> = tasks.collect();
        let mut own: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for task in &tasks {
            let own = own.entry(task.role.to_owned()).or_default();
            own.insert(task.id.to_owned());
        }
        let mut waiters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for task in &tasks {
            let others = task.after.iter().filter(|id| !own[task.role].contains(*id));
            for id in others {
                let waiters = waiters.entry(id.clone()).or_default();
                waiters.insert(task.role.to_owned());
            }
        }
        let bells = own
            .keys()
            .map(|role| (role.clone(), watch::Sender::new(())));
        Hub {
            desk,
            rhythm: Rhythm::default(),
            bells: bells.collect(),
            own,
            waiters,
            state: Mutex::default(),
        }
    }

    /// The same in another rhythm, which is the members' too.
    pub fn with_rhythm(self, rhythm: Rhythm) -> Hub<D> {
        Hub { rhythm, ..self }
    }

    fn ring(&self, role: &str) {
        if let Some(bell) = self.bells.get(role) {
            bell.send_replace(());
        }
    }

    /// The bell of a role; one without tasks has none that ever rings.
    fn bell(&self, role: &str) -> watch::Receiver<()> {
        let bell = self.bells.get(role).map(watch::Sender::subscribe);
        bell.unwrap_or_else(|| watch::Sender::new(()).subscribe())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The knowledge behind it.
    pub fn desk(&self) -> &D {
        &self.desk
    }

    /// Enters tasks of a role as done, or as not done any more. What is not of the role does not
    /// count: a member speaks for itself alone.
    pub fn tell(&self, role: &str, tasks: &BTreeSet<String>, done: bool) {
        let mut state = self.state();
        let mut strange = 0;
        let mut concerned = BTreeSet::new();
        for task in tasks {
            if self.own.get(role).is_none_or(|own| !own.contains(task)) {
                strange += 1;
                continue;
            }
            let task: Arc<str> = Arc::from(task.as_str());
            let changed = state.words.insert(Arc::clone(&task), done) != Some(done);
            for role in self
                .waiters
                .get(&*task)
                .into_iter()
                .flatten()
                .filter(|_| changed)
            {
                let task = Arc::clone(&task);
                let changes = state.changes.entry(role.clone()).or_default();
                changes.push(Change { task, done });
                concerned.insert(role);
            }
        }
        drop(state);
        if strange > 0 {
            self.desk.note(&format!(
                "{role} speaks of {strange} tasks that are not its own; they do not count"
            ));
        }
        for role in concerned {
            self.ring(role);
        }
    }

    /// What a member says is all that it has done: what it does not say is not done, whoever
    /// was told otherwise, and by which lead.
    fn tell_all(&self, role: &str, tasks: &BTreeSet<String>) {
        let own = self.own.get(role).into_iter().flatten();
        let gone = own.filter(|task| !tasks.contains(*task)).cloned();
        self.tell(role, &gone.collect(), false);
        self.tell(role, tasks, true);
    }

    /// What has changed for a role since so many changes, the last word on each task, and how
    /// many there are now.
    fn news(&self, role: &str, since: usize) -> (BTreeSet<String>, BTreeSet<String>, usize) {
        let (mut done, mut undone) = (BTreeSet::new(), BTreeSet::new());
        let state = self.state();
        let changes = state.changes(role);
        for change in &changes[since..] {
            let task = &*change.task;
            let (to, from) = match change.done {
                true => (&mut done, &mut undone),
                false => (&mut undone, &mut done),
            };
            from.remove(task);
            to.insert(task.to_owned());
        }
        (done, undone, changes.len())
    }

    /// Says what has changed since.
    async fn say_news<W>(&self, role: &str, seen: &mut usize, to: &mut W) -> Result<(), FrameError>
    where
        W: AsyncWrite + Unpin,
    {
        let (done, undone, now) = self.news(role, *seen);
        *seen = now;
        if !undone.is_empty() {
            frame::write(to, &FromLead::Undone { tasks: undone }).await?;
        }
        if !done.is_empty() {
            frame::write(to, &FromLead::Done { tasks: done }).await?;
        }
        Ok(())
    }

    /// Hangs up on the host of a role, which may not speak for it any more.
    pub fn dismiss(&self, role: &str) {
        let mut state = self.state();
        *state.dismissed.entry(role.to_owned()).or_default() += 1;
        state.hosts.remove(role);
        for wire in state.wires.remove(role).into_iter().flatten() {
            wire.pending.forget();
        }
        state.revision += 1;
        drop(state);
        self.ring(role);
        self.desk.stirred(role);
    }

    /// How the hosts stand, by role.
    pub fn hosts(&self) -> BTreeMap<String, Presence> {
        self.state().hosts.clone()
    }

    /// Grows whenever what [`Hub::hosts`] gives has changed, but for the time of a last word.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Asks the host of a role; waits for the answer, at most so long. Not from within the runtime
    /// of the hub.
    pub fn ask(&self, role: &str, question: Question, limit: Duration) -> Answered {
        // Under one lock with the end of a line: it forgets all that was asked on it.
        let asked = {
            let state = self.state();
            let wire = state.wires.get(role).and_then(|wires| wires.last());
            wire.and_then(|wire| {
                let ask = |number| wire.say.send((FromLead::Ask { number, question }, None));
                let asked = wire.pending.ask(|number| ask(number).is_ok())?;
                Some((asked, Arc::clone(&wire.pending)))
            })
        };
        let (asked, pending) = asked.ok_or_else(|| format!("{role} cannot be reached"))?;
        pending.wait(&asked, role, limit)
    }

    /// Enters how the host of a role stands, as it said itself.
    pub fn report(&self, role: &str, status: Value) {
        self.heard(role, Some(status));
        self.desk.stirred(role);
    }

    /// Tells the lead's own tasks what they wait for; returns when `on_news` says so.
    pub async fn follow(
        &self,
        role: &str,
        mut on_news: impl FnMut(BTreeSet<String>, BTreeSet<String>) -> bool,
    ) {
        let mut bell = self.bell(role);
        let (mut done, mut undone, mut seen) = self.news(role, 0);
        loop {
            let silent = done.is_empty() && undone.is_empty();
            if !silent && !on_news(done, undone) {
                return;
            }
            if bell.changed().await.is_err() {
                return;
            }
            (done, undone, seen) = self.news(role, seen);
        }
    }

    /// Talks to the member of a role until one of them hangs up. It has said hello.
    pub async fn attend<S>(&self, role: &str, stream: S) -> Result<(), FrameError>
    where
        S: AsyncRead + AsyncWrite,
    {
        let (from, to) = tokio::io::split(stream);
        let mut from = std::pin::pin!(from);
        let mut to = std::pin::pin!(to);
        let orders = match self.desk.orders(role) {
            Ok(orders) => Box::new(orders),
            Err(reason) => {
                self.desk.note(&format!("{role} gets no orders: {reason}"));
                let words = "the lead could not put the orders together; its log says why: \
                             journalctl -u muster";
                let words = words.to_owned();
                let warrant = None;
                return frame::write(&mut to, &FromLead::Refused { words, warrant }).await;
            }
        };
        let mut bell = self.bell(role);
        let time = clock::seconds();
        let warrant = self.desk.warrant().map(Box::new);
        let said = FromLead::Orders {
            orders,
            time,
            warrant,
        };
        frame::write(&mut to, &said).await?;
        let mut seen = 0;
        self.say_news(role, &mut seen, &mut to).await?;
        let (saying, mut said) = mpsc::unbounded_channel();
        let line = Line::up(self, role, saying.clone());
        let room = Arc::new(Semaphore::new(QUESTIONS));
        let hear = async {
            let mut first = true;
            loop {
                let heard = frame::read::<FromMember>(&mut from, KNOWN);
                let Ok(heard) = tokio::time::timeout(self.rhythm.silence, heard).await else {
                    return Err(FrameError::Over);
                };
                let heard = heard?;
                if !line.counts() {
                    return Ok(());
                }
                self.heard(role, None);
                match heard {
                    FromMember::Ask { number, question } => {
                        // Closed semaphores give none; this one is never closed.
                        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                            return Ok(());
                        };
                        let saying = saying.clone();
                        let reply = Reply::new(move |answered| {
                            let (answer, reason) = parted(answered);
                            let answer = FromLead::Answer {
                                number,
                                answer,
                                reason,
                            };
                            let _ = saying.send((answer, Some(place)));
                        });
                        self.asked(role, question, reply);
                    }
                    FromMember::Answer {
                        number,
                        answer,
                        reason,
                    } => line.pending.answered(number, answer, reason),
                    said => self.take(role, said, &mut first),
                }
            }
        };
        let say = async {
            let mut rings = true;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(self.rhythm.pulse) => {
                        let tasks = BTreeSet::new();
                        frame::write(&mut to, &FromLead::Done { tasks }).await?;
                    }
                    Some((message, _place)) = said.recv() => {
                        frame::write(&mut to, &message).await?;
                    }
                    news = bell.changed(), if rings => {
                        rings = news.is_ok();
                        if !line.counts() {
                            return Ok(());
                        }
                        self.say_news(role, &mut seen, &mut to).await?;
                    }
                }
            }
        };
        tokio::select! {
            ended = hear => ended,
            ended = say => ended,
        }
    }

    /// Takes what a member said.
    fn take(&self, role: &str, said: FromMember, first: &mut bool) {
        match said {
            FromMember::Done { tasks } if std::mem::take(first) => self.tell_all(role, &tasks),
            FromMember::Done { tasks } => self.tell(role, &tasks, true),
            FromMember::Undone { tasks } => self.tell(role, &tasks, false),
            FromMember::Report { status } => self.report(role, status),
            FromMember::Ask { .. } | FromMember::Answer { .. } => {}
        }
    }

    fn asked(&self, role: &str, question: Question, reply: Reply) {
        let Question::Sign {
            service,
            name,
            public_key,
        } = question
        else {
            return self.desk.answer(role, question, reply);
        };
        let key = hex::decode(public_key).unwrap_or_default();
        let signed = self.desk.sign(role, &service, &name, &key);
        if let Err(reason) = &signed {
            self.desk.note(&format!(
                "{role}: no certificate {service}/{name}: {reason}"
            ));
        }
        reply.give(signed.map(Value::String));
    }

    fn heard(&self, role: &str, status: Option<Value>) {
        let mut state = self.state();
        // One that was hung up on has no place any more.
        let Some(host) = state.hosts.get_mut(role) else {
            return;
        };
        host.heard = Some(Instant::now());
        if let Some(status) = status {
            host.status = Some(Arc::new(status));
            state.revision += 1;
        }
    }
}

/// A line that is up until it is dropped.
struct Line<'a, D: Desk> {
    hub: &'a Hub<D>,
    role: &'a str,
    dismissals: u64,
    id: u64,
    pending: Arc<Pending>,
}

impl<'a, D: Desk> Line<'a, D> {
    fn up(hub: &'a Hub<D>, role: &'a str, say: mpsc::UnboundedSender<Said>) -> Line<'a, D> {
        let pending = Arc::new(Pending::default());
        let mut state = hub.state();
        state.lines += 1;
        state.revision += 1;
        let id = state.lines;
        let wires = state.wires.entry(role.to_owned()).or_default();
        wires.push(Wire {
            id,
            say,
            pending: Arc::clone(&pending),
        });
        let host = state.hosts.entry(role.to_owned()).or_default();
        host.lines += 1;
        host.heard = Some(Instant::now());
        let dismissals = state.dismissals(role);
        drop(state);
        hub.desk.stirred(role);
        Line {
            hub,
            role,
            dismissals,
            id,
            pending,
        }
    }

    /// Whether whoever is at its other end still speaks for the role.
    fn counts(&self) -> bool {
        self.hub.state().dismissals(self.role) == self.dismissals
    }
}

impl<D: Desk> Drop for Line<'_, D> {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state.dismissals(self.role) == self.dismissals
            && let Some(host) = state.hosts.get_mut(self.role)
        {
            host.lines -= 1;
        }
        if let Some(wires) = state.wires.get_mut(self.role) {
            wires.retain(|wire| wire.id != self.id);
        }
        self.pending.forget();
        state.revision += 1;
        drop(state);
        self.hub.desk.stirred(self.role);
    }
}
