//! The side of a host that joins.

use super::{JoinError, ToLead, ToMember};
use crate::mesh::PROTOCOL;
use crate::mesh::code::{Code, Token};
use crate::mesh::door::Knows;
use crate::mesh::frame::{self, FrameError, STRANGER};
use crate::mesh::identity::{Identity, Print};
use crate::mesh::members::Record;
use crate::mesh::pake::{Binding, Exchange, Side};
use crate::mesh::tls;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long the lead may be silent, a person's confirmation aside.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a person at the lead may take.
const PERSON: Duration = Duration::from_secs(15 * 60);

/// What a member knows that makes it one.
#[derive(Debug, Clone)]
pub enum Secret {
    /// What a person typed.
    Code(Code),
    /// What stands in its answers.
    Token(Token),
}

/// Who wants to join.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its key.
    pub identity: &'a Identity,
    /// Its role.
    pub role: &'a str,
    /// Digest of its plan.
    pub plan: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// What the lead keeps of this host.
    pub record: Record,
    /// The lead's clock, seconds since 1970.
    pub time: u64,
}

/// One attempt: one guess at the secret, for either side.
pub async fn join(
    lead: SocketAddr,
    candidate: &Candidate<'_>,
    secret: &Secret,
) -> Result<Joined, JoinError> {
    join_by_a_person(lead, candidate, secret, || {}).await
}

/// The same; `waits` is called when the secret was right and a person at the lead is asked.
pub async fn join_by_a_person(
    lead: SocketAddr,
    candidate: &Candidate<'_>,
    secret: &Secret,
    waits: impl FnMut(),
) -> Result<Joined, JoinError> {
    let address = lead.to_string();
    let attempt = Attempt {
        address: &address,
        candidate,
    };
    let mut stream = attempt.connect(lead).await?;
    attempt.knock(&mut stream).await?;
    attempt.prove(&mut stream, secret, waits).await
}

struct Attempt<'a> {
    address: &'a str,
    candidate: &'a Candidate<'a>,
}

type Stream = TlsStream<TcpStream>;

impl Attempt<'_> {
    fn lost(&self, reason: impl ToString) -> JoinError {
        JoinError::Connection {
            address: self.address.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn strange(&self, reason: impl ToString) -> JoinError {
        JoinError::NoLead {
            address: self.address.to_owned(),
            reason: reason.to_string(),
        }
    }

    async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, JoinError>>,
    ) -> Result<T, JoinError> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(self.lost(format!("no answer for {} s", limit.as_secs()))),
        }
    }

    async fn connect(&self, lead: SocketAddr) -> Result<Stream, JoinError> {
        let config = tls::client(self.candidate.identity).map_err(|error| self.lost(error))?;
        self.in_time(PATIENCE, async {
            let socket = TcpStream::connect(lead)
                .await
                .map_err(|error| self.lost(error))?;
            // What is sent is whole.
            let _ = socket.set_nodelay(true);
            let name = ServerName::IpAddress(lead.ip().into());
            let connected = TlsConnector::from(config).connect(name, socket).await;
            connected.map_err(|error| self.strange(error))
        })
        .await
    }

    async fn say(&self, stream: &mut Stream, message: &ToLead) -> Result<(), JoinError> {
        let said = frame::write(stream, message).await;
        said.map_err(|error| self.lost(error))
    }

    /// What the lead says next; a refusal is an error.
    async fn hear(&self, stream: &mut Stream, limit: Duration) -> Result<ToMember, JoinError> {
        let heard = self.in_time(limit, async {
            frame::read(stream, STRANGER)
                .await
                .map_err(|error| match error {
                    FrameError::Over | FrameError::Io(_) => self.lost(error),
                    FrameError::Long(_) | FrameError::Garbled(_) => self.strange(error),
                })
        });
        match heard.await? {
            ToMember::Refused { words, again } => Err(JoinError::Refused { words, again }),
            heard => Ok(heard),
        }
    }

    async fn knock(&self, stream: &mut Stream) -> Result<(), JoinError> {
        let knock = ToLead::Knock {
            protocol: PROTOCOL,
            role: self.candidate.role.to_owned(),
            plan: self.candidate.plan.to_owned(),
        };
        self.say(stream, &knock).await?;
        match self.hear(stream, PATIENCE).await? {
            ToMember::Welcome { protocol } if (PROTOCOL[0]..=PROTOCOL[1]).contains(&protocol) => {
                Ok(())
            }
            other => Err(self.strange(format!("{other:?} after the knock"))),
        }
    }

    async fn prove(
        &self,
        stream: &mut Stream,
        secret: &Secret,
        mut waits: impl FnMut(),
    ) -> Result<Joined, JoinError> {
        let (knows, secret) = match secret {
            Secret::Code(code) => (Knows::Code, code.secret()),
            Secret::Token(token) => (Knows::Token, token.secret()),
        };
        let (lead, binding) = self.binding(stream)?;
        let exchange = Exchange::begin(Side::Member, &secret, binding);
        let message = hex::encode(&exchange.message);
        self.say(stream, &ToLead::Exchange { knows, message })
            .await?;
        let ToMember::Exchange { message } = self.hear(stream, PATIENCE).await? else {
            return Err(self.strange("no part of the exchange"));
        };
        let theirs = hex::decode(message).map_err(|error| self.strange(error))?;
        let shared = exchange
            .finish(&theirs)
            .map_err(|error| self.strange(error))?;
        let proof = hex::encode(shared.proof(Side::Member));
        self.say(stream, &ToLead::Proof { proof }).await?;
        let mut heard = self.hear(stream, PATIENCE).await?;
        if heard == (ToMember::Waits {}) {
            waits();
            heard = self.hear(stream, PERSON).await?;
        }
        let ToMember::Joined {
            proof,
            record,
            time,
        } = heard
        else {
            return Err(self.strange("no end of the join"));
        };
        let proof = hex::decode(proof).unwrap_or_default();
        let right = shared.proves(Side::Lead, &proof)
            && record.lead_key == lead
            && record.role == self.candidate.role;
        match right {
            true => Ok(Joined {
                record: *record,
                time,
            }),
            false => Err(JoinError::NotTheLead {
                address: self.address.to_owned(),
            }),
        }
    }

    /// The other side's key, and what both ends must agree on.
    fn binding(&self, stream: &Stream) -> Result<(Print, Binding), JoinError> {
        let (_, connection) = stream.get_ref();
        let lead = tls::peer(connection).ok_or_else(|| self.strange("it shows no key"))?;
        let session = connection.export_keying_material([0; 32], tls::SESSION, None);
        let binding = Binding {
            role: self.candidate.role.to_owned(),
            lead: lead.0,
            member: self.candidate.identity.print().0,
            session: session.map_err(|error| self.lost(error))?,
        };
        Ok((lead, binding))
    }
}
