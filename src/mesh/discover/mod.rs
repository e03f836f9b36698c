//! How a host finds its lead where neither plan nor answers name its address: multicast DNS
//! (RFC 6762) and service discovery (RFC 6763) over the link-local addresses of IPv6, which
//! every card has before anybody gave it another. Nothing that is found is believed: a join
//! proves which of them is the lead.

mod ask;
mod cards;
mod message;
mod respond;
mod rivals;

pub use ask::{Found, leads};
pub use cards::{Card, cards};
pub use message::{Question, answer, asked, question, told};
pub use respond::respond;
pub use rivals::{Rival, rivals};

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

/// The service, label by label.
pub const SERVICE: &[&str] = &["_muster", "_tcp", "local"];
/// Where multicast DNS is spoken.
pub const PORT: u16 = 5353;
/// The group of all that speak it.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// What a lead says of itself to everybody on the wire: nothing of its site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Oldest and newest version of the protocol that it speaks.
    pub protocol: [u32; 2],
    /// Digest of its plan.
    pub plan: String,
    /// Its role.
    pub role: String,
    /// Where it lets hosts join, TCP.
    pub port: u16,
}

impl Announced {
    /// Whether it can be shown to a person and put into one message.
    fn sane(&self) -> bool {
        let Announced { plan, role, .. } = self;
        let letters =
            |text: &str| (text.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&role.len())
            && letters(role)
            && (1..=128).contains(&plan.len())
            && plan.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A socket at this port, beside others that listen there; it sends on to the neighbours only.
fn socket(port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket.into())
}
