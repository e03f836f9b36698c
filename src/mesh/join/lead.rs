//! The side of the host that holds the site.

use super::waiting::{PATIENCE as PERSON, Word};
use super::{ToLead, ToMember};
use crate::mesh::clock;
use crate::mesh::code::{Code, Token};
use crate::mesh::door::{Door, GUESSES, Knows, Shut};
use crate::mesh::frame::{self, FrameError, STRANGER};
use crate::mesh::identity::{Identity, Print};
use crate::mesh::line::FromLead;
use crate::mesh::line::hub::{Desk, Hub};
use crate::mesh::members::{Member, Members, MembersError, Record, Refused};
use crate::mesh::pake::{Binding, Exchange, Side};
use crate::mesh::warrant::Claim;
use crate::mesh::{PROTOCOL, common, tls};
use crate::site::secrets::SecretError;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a stranger may be silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many strangers may be at the door at once: each costs memory before it has shown anything.
const STRANGERS: usize = 64;

/// A host that knows the code and waits for a person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its role.
    pub role: String,
    /// From where it came.
    pub address: IpAddr,
    /// Its key.
    pub key: Print,
}

/// What the lead of a site knows and decides, beside what it does at its [`Desk`].
pub trait Site: Desk {
    /// Whether a person lets this host in. Asked for hosts that know the code; a token needs
    /// nobody. Dropped when the host goes away.
    fn confirm(&self, candidate: &Candidate) -> impl Future<Output = Word> + Send;
    /// The certificate of a host, PEM: for its role and addresses and its public key
    /// (SubjectPublicKeyInfo, DER), and the one of the site CA.
    fn certify(&self, role: &str, public_key: &[u8]) -> Result<(String, String), String>;
}

/// What a person needs to know who lets hosts join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The code to type; none while the door is closed.
    pub code: Option<Code>,
    /// How long it still lives.
    pub lives: Duration,
    /// Wrong guesses that are left.
    pub left: u32,
    /// Whether the door waits for a person, since another lead is on the wire.
    pub held: bool,
    /// Roles that nobody has taken yet.
    pub missing: Vec<String>,
}

/// What is fixed for as long as the lead runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Id of the site.
    pub site: String,
    /// Role of the lead.
    pub lead: String,
    /// Roles of the stack that are to join.
    pub roles: BTreeSet<String>,
    /// Digest of the plan.
    pub plan: String,
}

/// The lead's side of all joins.
pub struct Lobby<S> {
    facts: Facts,
    own: Print,
    hub: Hub<S>,
    door: Mutex<Door>,
    members: Mutex<Members>,
}

/// Why a stranger goes away without having joined.
enum Away {
    /// Told so.
    Refused { words: String, again: bool },
    /// Its connection failed.
    Lost(FrameError),
}

impl From<FrameError> for Away {
    fn from(error: FrameError) -> Away {
        Away::Lost(error)
    }
}

fn refused(words: impl Into<String>) -> Away {
    Away::Refused {
        words: words.into(),
        again: false,
    }
}

/// What went wrong here and is nobody's business there.
fn broken(site: &impl Desk, error: impl std::fmt::Display) -> Away {
    site.note(&format!("a join failed: {error}"));
    refused("the lead could not do its part; its log says why: journalctl -u muster")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Site + 'static> Lobby<S> {
    /// A lobby with an open door.
    pub fn new(
        facts: Facts,
        identity: &Identity,
        members: Members,
        token: Option<Token>,
        hub: Hub<S>,
    ) -> Result<Arc<Lobby<S>>, SecretError> {
        Ok(Arc::new(Lobby {
            facts,
            own: identity.print(),
            hub,
            door: Mutex::new(Door::open(token, Instant::now())?),
            members: Mutex::new(members),
        }))
    }

    /// The lead's end of the lines to its members.
    pub fn hub(&self) -> &Hub<S> {
        &self.hub
    }

    fn site(&self) -> &S {
        self.hub.desk()
    }

    /// The code to show and the guesses that are left; no code while the door is closed.
    pub fn code(&self) -> Result<(Option<Code>, u32), SecretError> {
        let mut door = lock(&self.door);
        let code = door.code(Instant::now())?.cloned();
        Ok((code, door.left()))
    }

    /// What a person needs to know now.
    pub fn shown(&self) -> Result<Shown, SecretError> {
        let missing = self.missing();
        let mut door = lock(&self.door);
        let now = Instant::now();
        let code = door.code(now)?.cloned();
        Ok(Shown {
            code,
            lives: door.lives(now),
            left: door.left(),
            held: door.is_held(),
            missing,
        })
    }

    /// What is fixed.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Lets nobody in by a code until the door is opened again.
    pub fn hold(&self) {
        lock(&self.door).hold();
    }

    /// Opens the door again.
    pub fn reopen(&self) -> Result<(), SecretError> {
        lock(&self.door).reopen(Instant::now())
    }

    /// Roles that nobody has taken yet.
    pub fn missing(&self) -> Vec<String> {
        let members = lock(&self.members);
        let roles = self.facts.roles.iter();
        roles
            .filter(|role| members.of_role(role).is_none())
            .cloned()
            .collect()
    }

    /// The host of a role.
    pub fn member(&self, role: &str) -> Option<Member> {
        lock(&self.members).of_role(role).cloned()
    }

    /// Takes a role from its host.
    pub fn revoke(&self, role: &str) -> Result<Option<Member>, MembersError> {
        let gone = lock(&self.members).revoke(role)?;
        self.hub.dismiss(role);
        Ok(gone)
    }

    /// Lets strangers in, for ever.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        identity: &Identity,
    ) -> std::io::Result<()> {
        let config = tls::server(identity).map_err(std::io::Error::other)?;
        let acceptor = TlsAcceptor::from(config);
        let room = Arc::new(Semaphore::new(STRANGERS));
        loop {
            // Closed semaphores give none; this one is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return Ok(());
            };
            let (socket, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                // One that is gone again, or too many open files: the next may work.
                Err(error) => {
                    self.site().note(&format!("a connection was lost: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (lobby, acceptor) = (Arc::clone(self), acceptor.clone());
            tokio::spawn(async move {
                lobby.receive(acceptor, socket, from, place).await;
            });
        }
    }

    /// `place` is held for as long as it is a stranger.
    async fn receive(
        &self,
        acceptor: TlsAcceptor,
        socket: TcpStream,
        from: SocketAddr,
        place: OwnedSemaphorePermit,
    ) {
        let _ = socket.set_nodelay(true);
        let shaken = tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await;
        let mut stream = match shaken {
            Ok(Ok(stream)) => stream,
            // Whoever looks at every port is not worth a line.
            Ok(Err(_)) | Err(_) => return,
        };
        // Of IPv4 as of IPv6.
        let from = from.ip().to_canonical();
        let away = match self.hear(&mut stream).await {
            Ok(ToLead::Hello { protocol, plan }) => {
                let role = match self.known(&stream, protocol, &plan) {
                    Ok(role) => role,
                    Err(words) => {
                        self.site().note(&format!("{from}: not let in: {words}"));
                        // Nobody else needs to know.
                        let (_, connection) = stream.get_ref();
                        let former = tls::peer(connection)
                            .is_some_and(|key| lock(&self.members).is_revoked(key));
                        let warrant = self.site().warrant().filter(|_| former);
                        let warrant = warrant.map(Box::new);
                        let said = FromLead::Refused { words, warrant };
                        let _ = frame::write(&mut stream, &said).await;
                        return;
                    }
                };
                drop(place);
                let ended = self.hub.attend(&role, stream).await;
                let why = ended.err().unwrap_or(FrameError::Over);
                self.site()
                    .note(&format!("the line to {role} is down: {why}"));
                return;
            }
            Ok(said) => self.join(&mut stream, said, from).await.err(),
            Err(away) => Some(away),
        };
        match away {
            None => {}
            Some(Away::Refused { words, again }) => {
                self.site().note(&format!("{from}: not let in: {words}"));
                let said = ToMember::Refused { words, again };
                let _ = frame::write(&mut stream, &said).await;
            }
            Some(Away::Lost(error)) => {
                self.site()
                    .note(&format!("{from}: left while joining: {error}"));
            }
        }
    }

    /// The role of a member that says hello, by the key that it has shown.
    fn known(
        &self,
        stream: &TlsStream<TcpStream>,
        protocol: [u32; 2],
        plan: &str,
    ) -> Result<String, String> {
        let (_, connection) = stream.get_ref();
        let key = tls::peer(connection).ok_or("no key was shown")?;
        let role = lock(&self.members).role_of(key).map(str::to_owned);
        let role = role.ok_or_else(|| {
            let stranger = || "this host is not a member of this site (any more)".to_owned();
            self.former(key).unwrap_or_else(stranger)
        })?;
        self.agrees(protocol, &role, plan)?;
        Ok(role)
    }

    async fn hear(&self, stream: &mut TlsStream<TcpStream>) -> Result<ToLead, Away> {
        match tokio::time::timeout(PATIENCE, frame::read(stream, STRANGER)).await {
            Ok(heard) => Ok(heard?),
            Err(_) => Err(refused(format!(
                "nothing was heard for {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    async fn join(
        &self,
        stream: &mut TlsStream<TcpStream>,
        said: ToLead,
        from: IpAddr,
    ) -> Result<(), Away> {
        let (_, connection) = stream.get_ref();
        let public_key = tls::shown(connection).ok_or_else(|| refused("no key was shown"))?;
        let session = connection
            .export_keying_material([0; 32], tls::SESSION, None)
            .map_err(|error| broken(self.site(), error))?;
        let key = Print::of(&public_key);

        let ToLead::Knock {
            protocol,
            role,
            plan,
        } = said
        else {
            return Err(refused("a join begins with a knock"));
        };
        let protocol = self.welcome(protocol, &role, &plan, key)?;
        frame::write(stream, &ToMember::Welcome { protocol }).await?;

        let ToLead::Exchange { knows, message } = self.hear(stream).await? else {
            return Err(refused("after the knock comes the exchange"));
        };
        let begun = lock(&self.door).begin(knows, Instant::now());
        let begun = begun.map_err(|error| broken(self.site(), error))?;
        let (guess, secret) = begun.map_err(shut)?;
        let binding = Binding {
            role: role.clone(),
            lead: self.own.0,
            member: key.0,
            session,
        };
        let exchange = Exchange::begin(Side::Lead, &secret, binding);
        let own = hex::encode(&exchange.message);
        let theirs = hex::decode(message).unwrap_or_default();
        let shared = exchange
            .finish(&theirs)
            .map_err(|error| refused(error.to_string()))?;
        frame::write(stream, &ToMember::Exchange { message: own }).await?;

        let ToLead::Proof { proof } = self.hear(stream).await? else {
            return Err(refused("after the exchange comes the proof"));
        };
        let proof = hex::decode(proof).unwrap_or_default();
        // In one step: a second guess at the same code finds it burnt.
        {
            let mut door = lock(&self.door);
            let now = Instant::now();
            door.counts(guess, now).map_err(shut)?;
            if !shared.proves(Side::Member, &proof) {
                door.wrong(guess, now)
                    .map_err(|error| broken(self.site(), error))?;
                return Err(wrong(knows, door.left()));
            }
        }
        let candidate = Candidate {
            role: role.clone(),
            address: from,
            key,
        };
        let record = match self.known_already(&candidate) {
            Some(record) => record,
            None => {
                if knows == Knows::Code {
                    self.ask(stream, &candidate).await?;
                }
                self.admit(&candidate, &public_key)?
            }
        };
        let joined = ToMember::Joined {
            proof: hex::encode(shared.proof(Side::Lead)),
            record: Box::new(record),
            time: clock::seconds(),
        };
        frame::write(stream, &joined).await?;
        Ok(())
    }

    /// Whether a host of this role, plan and protocol may try. Nothing that it could not know
    /// is told to it.
    fn welcome(&self, protocol: [u32; 2], role: &str, plan: &str, key: Print) -> Result<u32, Away> {
        let facts = &self.facts;
        if role == facts.lead {
            return Err(refused(format!(
                "{role} is the lead itself; two hosts were started from its image"
            )));
        }
        if !facts.roles.contains(role) {
            return Err(refused(format!("this site has no role {role}")));
        }
        let agreed = self.agrees(protocol, role, plan).map_err(refused)?;
        self.may(role, key)?;
        Ok(agreed)
    }

    /// Whether a host understands this one and was built with it; the version of the protocol.
    fn agrees(&self, protocol: [u32; 2], role: &str, plan: &str) -> Result<u32, String> {
        let facts = &self.facts;
        let agreed = common(protocol).ok_or_else(|| {
            let [oldest, newest] = protocol;
            let older = newest < PROTOCOL[0];
            let which = if older { role } else { &facts.lead };
            format!(
                "{role} speaks versions {oldest} to {newest} of the protocol between hosts and {} \
                 {} to {}: build {which} anew with the newer muster",
                facts.lead, PROTOCOL[0], PROTOCOL[1]
            )
        })?;
        match plan == facts.plan {
            true => Ok(agreed),
            false => Err(format!(
                "{role} and {} were built from different plans ({} and {}): build all images of \
                 the stack together: muster build",
                facts.lead,
                short(plan),
                short(&facts.plan)
            )),
        }
    }

    fn may(&self, role: &str, key: Print) -> Result<(), Away> {
        lock(&self.members).may(role, key).map_err(|why| match why {
            Refused::Taken { since } => refused(format!(
                "{role} has joined already, on {since}; if that host is gone for good, \
                     on the lead: sudo muster join --replace {role}"
            )),
            Refused::Revoked => refused(self.former(key).unwrap_or_else(|| {
                format!(
                    "this host was replaced as {role} and may not come back; start it from a \
                     fresh image"
                )
            })),
        })
    }

    /// What a host is told that led this site before, by the key that it has shown.
    fn former(&self, key: Print) -> Option<String> {
        let Claim {
            role,
            former,
            since,
            ..
        } = self.site().warrant()?.claim;
        (former.key == key).then(|| {
            format!(
                "{0} led this site until {role} was promoted on {since}, and its key is good for \
                 nothing any more; start {0} from a fresh image, told that {role} leads",
                former.role
            )
        })
    }

    /// What a host was told that has joined before, with the same key.
    fn known_already(&self, candidate: &Candidate) -> Option<Record> {
        let Candidate { role, address, key } = candidate;
        let members = lock(&self.members);
        let member = members.of_role(role).filter(|member| member.key == *key)?;
        self.site()
            .note(&format!("{role} has joined again from {address}"));
        // Whoever led when it joined, this host leads now.
        Some(Record {
            lead: self.facts.lead.clone(),
            lead_key: self.own,
            ..member.record.clone()
        })
    }

    /// Asks a person whether they want this host, for as long as it stays on the line.
    async fn ask(
        &self,
        stream: &mut TlsStream<TcpStream>,
        candidate: &Candidate,
    ) -> Result<(), Away> {
        let role = &candidate.role;
        frame::write(stream, &ToMember::Waits {}).await?;
        let word = tokio::select! {
            word = self.site().confirm(candidate) => word,
            // Whatever it says now, nothing was asked.
            _ = stream.read_u8() => return Err(Away::Lost(FrameError::Over)),
        };
        let again = |words: String| Away::Refused { words, again: true };
        match word {
            Word::Yes => Ok(()),
            Word::No => Err(refused(format!("the person at the lead said no to {role}"))),
            Word::None => Err(again(format!(
                "nobody at the lead has said within {} minutes whether {role} may join; type the \
                 code again, and while this host waits, on the lead: sudo muster join --confirm \
                 {role}",
                PERSON.as_secs() / 60
            ))),
            Word::Another => Err(again(format!(
                "another host waits to be let in as {role}; see on the lead which one is wanted: \
                 sudo muster join"
            ))),
        }
    }

    /// Enters a host that knows the secret and is wanted.
    fn admit(&self, candidate: &Candidate, public_key: &[u8]) -> Result<Record, Away> {
        let Candidate { role, address, key } = candidate;
        let certified = self.site().certify(role, public_key);
        let (certificate, ca) = certified.map_err(|error| broken(self.site(), error))?;
        let record = Record {
            site: self.facts.site.clone(),
            role: role.clone(),
            lead: self.facts.lead.clone(),
            lead_key: self.own,
            ca,
            certificate,
        };
        let member = Member {
            key: *key,
            joined: now(),
            address: address.to_string(),
            record,
        };
        // Another may have come first while a person thought.
        self.may(role, *key)?;
        let entered = lock(&self.members).enter(role, member).cloned();
        let entered = entered.map_err(|error| broken(self.site(), error))?;
        if entered.key != *key {
            return Err(refused(format!(
                "{role} has just been taken by another host"
            )));
        }
        self.site()
            .note(&format!("{role} has joined from {address}"));
        Ok(entered.record)
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

fn shut(why: Shut) -> Away {
    match why {
        Shut::Closed => refused(format!(
            "{GUESSES} wrong codes have closed the lead to joining; open it there again: sudo \
             muster join --open"
        )),
        Shut::Stale => Away::Refused {
            words: "the code has changed in the meantime: type the one on the lead's screen".into(),
            again: true,
        },
        Shut::Held => refused(
            "another lead of the same stack is on the wire, and nobody has said which of the two \
             is to be joined: on that one, sudo muster join --open",
        ),
        Shut::NoToken => refused(
            "this host has a join token and the lead has none: their answers were made apart",
        ),
    }
}

fn wrong(knows: Knows, left: u32) -> Away {
    let words = match (knows, left) {
        (Knows::Token, _) => "the join tokens of this host and of the lead differ: their answers \
                              were made apart"
            .to_owned(),
        (Knows::Code, 0) => format!(
            "that is not the code, for the {GUESSES}th time: the lead is closed to joining; open \
             it there again: sudo muster join --open"
        ),
        (Knows::Code, left) => format!(
            "that is not the code; the lead shows a new one now ({left} more tries before it \
             closes)"
        ),
    };
    Away::Refused {
        words,
        again: knows == Knows::Code && left > 0,
    }
}
