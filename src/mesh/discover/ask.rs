//! The side of a host that looks for its lead.

use super::message::{self, MOST};
use super::{Announced, GROUP, PORT, cards, socket};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// When the question is put again (RFC 6762, section 5.2): one packet is soon lost.
const ROUNDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A lead on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it lets hosts join.
    pub address: SocketAddrV6,
    /// The card behind which it is.
    pub card: String,
    /// What it says of itself.
    pub announced: Announced,
}

/// Asks on every card; who answers in this time, each once, in the order of addresses.
pub async fn leads(patience: Duration) -> io::Result<Vec<Found>> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let id = u16::from_be_bytes(id);
    let socket = UdpSocket::from_std(socket(0)?)?;
    let start = Instant::now();
    let mut found: Vec<Found> = Vec::new();
    for (round, at) in ROUNDS.iter().enumerate() {
        let next = ROUNDS.get(round + 1).copied().unwrap_or(patience);
        let until = start + next.min(patience);
        if *at > patience {
            break;
        }
        put(&socket, &message::question(id)).await?;
        while let Ok(heard) = tokio::time::timeout_at(until, hear(&socket, id)).await {
            let one = heard?;
            if !found.iter().any(|known| known.address == one.address) {
                found.push(one);
            }
        }
    }
    found.sort_by_key(|one| (*one.address.ip(), one.address.scope_id()));
    Ok(found)
}

async fn put(socket: &UdpSocket, question: &[u8]) -> io::Result<()> {
    for card in cards()? {
        let to = SocketAddrV6::new(GROUP, PORT, 0, card.index);
        // A card without a cable; the others may have one.
        let _ = socket.send_to(question, to).await;
    }
    Ok(())
}

/// The next answer of a lead among whatever else is sent to us.
async fn hear(socket: &UdpSocket, id: u16) -> io::Result<Found> {
    let mut bytes = [0; MOST];
    loop {
        let (length, from) = socket.recv_from(&mut bytes).await?;
        let SocketAddr::V6(from) = from else { continue };
        let Some(announced) = message::told(&bytes[..length], id) else {
            continue;
        };
        if !neighbour(from.ip()) {
            continue;
        }
        let cards = cards()?;
        let Some(card) = cards.iter().find(|card| card.index == from.scope_id()) else {
            continue;
        };
        return Ok(Found {
            address: SocketAddrV6::new(*from.ip(), announced.port, 0, from.scope_id()),
            card: card.name.clone(),
            announced,
        });
    }
}

/// Whether somebody is on the same wire.
pub(super) fn neighbour(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}
