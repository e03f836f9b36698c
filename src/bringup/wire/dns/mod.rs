//! DNS (RFC 1035): one question to one name server.

pub mod message;

use self::message::{Asked, MOST, answers, question};
use super::Refusal;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Where name servers listen.
const PORT: u16 = 53;
/// A packet may be lost.
const ATTEMPTS: u32 = 3;

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
    let address = SocketAddr::from((server, PORT));
    let unreachable = |error: std::io::Error| Refusal::Unreachable {
        address: address.to_string(),
        reason: error.to_string(),
    };
    let code = message::code(kind)
        .ok_or_else(|| Refusal::Other(format!("there are no records of type {kind}")))?;
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).map_err(unreachable)?;
    // From now on only that server is heard.
    socket.connect(address).map_err(unreachable)?;
    let pause = (limit / ATTEMPTS).max(Duration::from_millis(1));
    socket.set_read_timeout(Some(pause)).map_err(unreachable)?;
    let mut bytes = [0; MOST];
    for _ in 0..ATTEMPTS {
        let id = id()?;
        socket
            .send(&question(id, name, code))
            .map_err(|error| refused(error, address))?;
        let length = match socket.recv(&mut bytes) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(refused(error, address)),
        };
        let asked = Asked { id, name, code };
        match answers(&bytes[..length], &asked) {
            // What answers something else came late.
            None => continue,
            Some(Ok(found)) => return Ok(found),
            Some(Err(words)) => return Err(Refusal::said(format!("{address}: {name}"), words)),
        }
    }
    Err(Refusal::Silent {
        address: address.to_string(),
        seconds: limit.as_secs(),
    })
}

fn refused(error: std::io::Error, address: SocketAddr) -> Refusal {
    match error.kind() {
        ErrorKind::ConnectionRefused => Refusal::Refused(address.to_string()),
        _ => Refusal::Unreachable {
            address: address.to_string(),
            reason: error.to_string(),
        },
    }
}

/// One that nobody can guess who is not asked.
fn id() -> Result<u16, Refusal> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::Other(error.to_string()))?;
    Ok(u16::from_be_bytes(bytes))
}
