//! A member's end of its line to the lead.

use super::question::{Answered, Pending, Question, Reply, parted};
use super::{FromLead, FromMember, Orders, Rhythm};
use crate::mesh::frame::{self, FrameError, KNOWN};
use crate::mesh::identity::{Identity, Print};
use crate::mesh::join::ToLead;
use crate::mesh::warrant::Warrant;
use crate::mesh::{PROTOCOL, tls};
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pauses between two attempts: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];
/// How long a certificate may take: the lead makes its authority first.
const SIGNING: Duration = Duration::from_secs(120);

/// The host behind the link.
pub trait Host: Send + Sync {
    /// All of its tasks that are done.
    fn done(&self) -> BTreeSet<String>;
    /// The lead's clock, seconds since 1970; told before anything that bears a date.
    fn time(&self, _lead: u64) {}
    /// What the lead tells it of the site.
    fn orders(&self, orders: Orders);
    /// Tasks of other hosts that are done, and that are not any more.
    fn others(&self, done: BTreeSet<String>, undone: BTreeSet<String>);
    /// How it stands, as it says again on each new line; none before it has begun.
    fn status(&self) -> Option<Value>;
    /// The lead asks it. Answered aside if that takes time: the line stands still meanwhile.
    fn answer(&self, question: Question, reply: Reply);
    /// Something worth a line in the log.
    fn note(&self, words: &str);
    /// The host with this key leads by this warrant; why that is not believed. What is believed is
    /// on the disk when this returns.
    fn follow(&self, _warrant: &Warrant, _key: Print) -> Result<(), String> {
        Err("this host knows of no other lead".into())
    }
}

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where the lead is.
    pub address: SocketAddr,
    /// Its key, as the join or a warrant has proven it.
    pub lead: Print,
    /// Where another host may come to lead in its place.
    pub other: Option<SocketAddr>,
    /// Digest of this host's plan.
    pub plan: String,
    /// How both sides notice that the other is gone.
    pub rhythm: Rhythm,
}

/// What is said, on its way to the line.
type Saying = mpsc::UnboundedSender<FromMember>;

/// A member's end: whoever has something to say says it here.
pub struct Link {
    /// None while the line is down: what is said then is said again when it is up.
    line: Mutex<Option<Saying>>,
    pending: Pending,
    again: Notify,
}

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Lost(String),
    #[error("what answers there is not the lead of this site")]
    NotTheLead,
    #[error("what answers there says that it leads this site, which is not believed: {0}")]
    Disbelieved(String),
    #[error("{0}")]
    Refused(String),
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        Ended::Lost(error.to_string())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Link {
    fn default() -> Self {
        Link::new()
    }
}

impl Link {
    /// A link that is down.
    pub fn new() -> Link {
        Link {
            line: Mutex::new(None),
            pending: Pending::default(),
            again: Notify::new(),
        }
    }

    /// Hangs up and dials again: both sides say again what holds.
    pub fn redial(&self) {
        self.again.notify_one();
    }

    /// Whether the lead can be heard.
    pub fn is_up(&self) -> bool {
        lock(&self.line).is_some()
    }

    /// Says something, if the line is up; whether it is.
    fn say(&self, message: FromMember) -> bool {
        let line = lock(&self.line);
        line.as_ref().is_some_and(|line| line.send(message).is_ok())
    }

    /// Tells the lead of tasks that are done, or not any more.
    pub fn tell(&self, tasks: BTreeSet<String>, done: bool) {
        let _ = self.say(match done {
            true => FromMember::Done { tasks },
            false => FromMember::Undone { tasks },
        });
    }

    /// Tells the lead how this host stands.
    pub fn report(&self, status: Value) {
        let _ = self.say(FromMember::Report { status });
    }

    /// Asks the lead for the certificate of a key; waits for the answer. Not from within the
    /// runtime of the link.
    pub fn sign(&self, service: &str, name: &str, public_key: &[u8]) -> Result<String, String> {
        let question = Question::Sign {
            service: service.to_owned(),
            name: name.to_owned(),
            public_key: hex::encode(public_key),
        };
        let answered = self.question(question, SIGNING);
        let answered = answered
            .unwrap_or_else(|| Err("the lead, which signs certificates, cannot be reached".into()));
        match answered? {
            Value::String(certificate) => Ok(certificate),
            _ => Err("what the lead answered is no certificate".into()),
        }
    }

    /// Asks the lead; waits for the answer, at most so long. Not from within the runtime of the
    /// link.
    pub fn ask(&self, question: Question, limit: Duration) -> Answered {
        let answered = self.question(question, limit);
        answered.unwrap_or_else(|| Err("the lead cannot be reached".into()))
    }

    fn question(&self, question: Question, limit: Duration) -> Option<Answered> {
        let asked = self
            .pending
            .ask(|number| self.say(FromMember::Ask { number, question }))?;
        Some(self.pending.wait(&asked, "the lead", limit))
    }

    /// Keeps the line up, for ever: to the lead, or to who has come to lead in its place.
    pub async fn hold(&self, call: &Call, identity: &Identity, host: &dyn Host) {
        let mut pause = PAUSES[0];
        let mut whom = Whom {
            lead: call.lead,
            ways: std::iter::once(call.address).chain(call.other).collect(),
            home: 0,
            at: 0,
        };
        let mut told = vec![String::new(); whom.ways.len()];
        loop {
            let ended = self
                .attempt(call, &mut whom, identity, host, &mut pause)
                .await;
            *lock(&self.line) = None;
            self.pending.forget();
            let words = format!("the lead at {}: {ended}", whom.ways[whom.at]);
            // A deputy that was not promoted does not listen. Else once for each reason, not each
            // time.
            let silent = whom.at != whom.home && matches!(ended, Ended::Lost(_));
            if !silent && words != told[whom.at] {
                host.note(&words);
                told[whom.at] = words;
            }
            whom.at = (whom.at + 1) % whom.ways.len();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        whom: &mut Whom,
        identity: &Identity,
        host: &dyn Host,
        pause: &mut Duration,
    ) -> Ended {
        match dial(whom.ways[whom.at], identity, PATIENCE).await {
            // A stranger is told nothing, but where somebody may have been promoted.
            Ok((_, key)) if key != whom.lead && whom.ways.len() == 1 => Ended::NotTheLead,
            Ok((stream, key)) => {
                let ended = self.talk(call, whom, (stream, key), host, pause).await;
                ended.err().unwrap_or(Ended::Lost("it has hung up".into()))
            }
            Err(ended) => ended,
        }
    }

    async fn talk(
        &self,
        call: &Call,
        whom: &mut Whom,
        (stream, key): (TlsStream<TcpStream>, Print),
        host: &dyn Host,
        pause: &mut Duration,
    ) -> Result<(), Ended> {
        let (mut from, mut to) = tokio::io::split(stream);
        let (orders, time, warrant) = match hello(&mut from, &mut to, &call.plan).await? {
            FromLead::Orders {
                orders,
                time,
                warrant,
            } => (orders, time, warrant),
            _ if key != whom.lead => return Err(Ended::NotTheLead),
            FromLead::Refused { words, .. } => return Err(Ended::Refused(words)),
            _ => return Err(Ended::Lost("no orders after the hello".into())),
        };
        match &warrant {
            None if key != whom.lead => return Err(Ended::NotTheLead),
            None => {}
            Some(warrant) if key != whom.lead => {
                host.follow(warrant, key).map_err(Ended::Disbelieved)?;
                (whom.lead, whom.home) = (key, whom.at);
            }
            // Known to most, and news to one that has joined since.
            Some(warrant) => drop(host.follow(warrant, key)),
        }
        host.time(time);
        host.orders(*orders);
        let (line, mut said) = mpsc::unbounded_channel();
        // What is done from here on is said twice at most, and never not at all.
        *lock(&self.line) = Some(line.clone());
        let tasks = host.done();
        frame::write(&mut to, &FromMember::Done { tasks }).await?;
        if let Some(status) = host.status() {
            frame::write(&mut to, &FromMember::Report { status }).await?;
        }
        *pause = PAUSES[0];
        let hear = async {
            let Rhythm { silence, .. } = call.rhythm;
            loop {
                let heard = frame::read(&mut from, KNOWN);
                let heard = tokio::time::timeout(silence, heard).await;
                let silent = || Ended::Lost(format!("silent for {} s", silence.as_secs()));
                self.heard(heard.map_err(|_| silent())??, host, &line)?;
            }
        };
        let say = async {
            loop {
                let next = tokio::time::timeout(call.rhythm.pulse, said.recv()).await;
                let message = match next {
                    Ok(Some(message)) => message,
                    Ok(None) => return Ok(()),
                    Err(_) => FromMember::Done {
                        tasks: BTreeSet::new(),
                    },
                };
                frame::write(&mut to, &message).await?;
            }
        };
        tokio::select! {
            ended = hear => ended,
            ended = say => ended,
            () = self.again.notified() => Err(Ended::Lost("asked to dial again".into())),
        }
    }

    fn heard(&self, heard: FromLead, host: &dyn Host, line: &Saying) -> Result<(), Ended> {
        match heard {
            FromLead::Orders { orders, time, .. } => {
                host.time(time);
                host.orders(*orders);
            }
            FromLead::Done { tasks } => host.others(tasks, BTreeSet::new()),
            FromLead::Undone { tasks } => host.others(BTreeSet::new(), tasks),
            FromLead::Ask { number, question } => {
                // On this line or on none: the lead has forgotten what it asked on another.
                let line = line.clone();
                let reply = Reply::new(move |answered| {
                    let (answer, reason) = parted(answered);
                    let _ = line.send(FromMember::Answer {
                        number,
                        answer,
                        reason,
                    });
                });
                host.answer(question, reply);
            }
            FromLead::Answer {
                number,
                answer,
                reason,
            } => self.pending.answered(number, answer, reason),
            FromLead::Refused { words, .. } => return Err(Ended::Refused(words)),
        }
        Ok(())
    }
}

/// Who is called, and where it may be.
struct Whom {
    lead: Print,
    ways: Vec<SocketAddr>,
    /// Which of them leads to the lead, as far as known.
    home: usize,
    /// Which is tried.
    at: usize,
}

/// Connects, and says who is there.
async fn dial(
    address: SocketAddr,
    identity: &Identity,
    patience: Duration,
) -> Result<(TlsStream<TcpStream>, Print), Ended> {
    let lost = |error: &dyn std::fmt::Display| Ended::Lost(error.to_string());
    let config = tls::client(identity).map_err(|error| lost(&error))?;
    let dialled = tokio::time::timeout(patience, async {
        let socket = TcpStream::connect(address).await?;
        // What is sent is whole.
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        TlsConnector::from(config).connect(name, socket).await
    });
    let stream = match dialled.await {
        Ok(stream) => stream.map_err(|error| lost(&error))?,
        Err(_) => return Err(Ended::Lost(format!("silent for {} s", patience.as_secs()))),
    };
    let (_, connection) = stream.get_ref();
    match tls::peer(connection) {
        Some(key) => Ok((stream, key)),
        None => Err(Ended::NotTheLead),
    }
}

/// Says hello, and hears what the other side says first.
async fn hello(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    plan: &str,
) -> Result<FromLead, Ended> {
    let hello = ToLead::Hello {
        protocol: PROTOCOL,
        plan: plan.to_owned(),
    };
    frame::write(to, &hello).await?;
    let first = tokio::time::timeout(PATIENCE, frame::read(from, KNOWN)).await;
    Ok(first.map_err(|_| Ended::Lost("silent after the hello".into()))??)
}

/// The key of whoever answers there; none if nobody does within this time.
pub async fn answers(
    address: SocketAddr,
    identity: &Identity,
    patience: Duration,
) -> Option<Print> {
    let (_, key) = dial(address, identity, patience).await.ok()?;
    Some(key)
}

/// By which warrant whoever answers there leads: for a lead that may have been followed by another
/// while it was away. The warrant is to be checked.
pub async fn in_whose_place(
    address: SocketAddr,
    identity: &Identity,
    plan: &str,
    patience: Duration,
) -> Option<Warrant> {
    let (stream, key) = dial(address, identity, patience).await.ok()?;
    let (mut from, mut to) = tokio::io::split(stream);
    let said = hello(&mut from, &mut to, plan).await.ok()?;
    let warrant = match said {
        FromLead::Orders { warrant, .. } | FromLead::Refused { warrant, .. } => warrant?,
        _ => return None,
    };
    (warrant.claim.key == key).then_some(*warrant)
}
