//! The side of a lead that wants to be found.

use super::ask::neighbour;
use super::message::{self, MOST};
use super::{Announced, GROUP, PORT, cards, socket};
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::net::UdpSocket;

/// How soon a card that has come is listened on.
const LOOK: Duration = Duration::from_secs(3);

/// Answers whoever looks for a lead, until it is dropped.
pub async fn respond(announced: &Announced) -> io::Result<()> {
    let std = socket(PORT)?;
    let joining = std.try_clone()?;
    let socket = UdpSocket::from_std(std)?;
    let mut heard_on = BTreeSet::new();
    let mut bytes = [0; MOST];
    loop {
        let now: BTreeSet<u32> = cards()?.iter().map(|card| card.index).collect();
        heard_on.retain(|index| now.contains(index));
        for index in now {
            // One that is going down right now is looked at again.
            if !heard_on.contains(&index) && joining.join_multicast_v6(&GROUP, index).is_ok() {
                heard_on.insert(index);
            }
        }
        let heard = tokio::time::timeout(LOOK, socket.recv_from(&mut bytes));
        let Ok(heard) = heard.await else { continue };
        let (length, SocketAddr::V6(from)) = heard? else {
            continue;
        };
        let Some(question) = message::asked(&bytes[..length]).filter(|_| neighbour(from.ip()))
        else {
            continue;
        };
        let (to, asker) = match from.port() {
            PORT => (SocketAddrV6::new(GROUP, PORT, 0, from.scope_id()), None),
            _ => (from, Some(&question)),
        };
        // Lost on the wire or here: it is asked for again.
        let _ = socket.send_to(&message::answer(announced, asker), to).await;
    }
}
