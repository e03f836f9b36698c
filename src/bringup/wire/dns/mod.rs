//! DNS (RFC 1035): one question to one name server.

pub mod message;

use self::message::{Asked, answers, question};
use super::Refusal;
use super::datagram::ask;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where name servers listen.
const PORT: u16 = 53;

/// The records of a name, as text: an address, a name without its final dot, `10 mail.example.org`
/// for an MX. None where there is no such name, or none of this type.
///
/// # Errors
/// The server does not answer within the limit, or refuses.
pub fn lookup(
    server: IpAddr,
    name: &str,
    kind: &str,
    limit: Duration,
) -> Result<Vec<String>, Refusal> {
    let code = message::code(kind)
        .ok_or_else(|| Refusal::Other(format!("there are no records of type {kind}")))?;
    ask(
        SocketAddr::from((server, PORT)),
        limit,
        || {
            let id = id()?;
            Ok((question(id, name, code), id))
        },
        |bytes, id| {
            let answer = answers(
                bytes,
                &Asked {
                    id: *id,
                    name,
                    code,
                },
            );
            Some(answer?.map_err(|words| format!("{name}: {words}")))
        },
    )
}

/// One that nobody can guess who is not asked.
fn id() -> Result<u16, Refusal> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::Other(error.to_string()))?;
    Ok(u16::from_be_bytes(bytes))
}
