//! The network cards of this host that reach neighbours: those with an IPv6 link-local address.

use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

/// A card and its link-local address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Card {
    /// Index in the kernel: the scope of an address.
    pub index: u32,
    /// Its name, the zone that people write.
    pub name: String,
    /// The address.
    pub address: Ipv6Addr,
}

/// `IFA_F_TENTATIVE` and `IFA_F_DADFAILED` (linux/if_addr.h): nothing can be sent from it.
const UNUSABLE: u32 = 0x40 | 0x08;

/// Those of this host now; none where the kernel has no IPv6.
pub fn cards() -> io::Result<Vec<Card>> {
    match std::fs::read_to_string(Path::new("/proc/net/if_inet6")) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads `/proc/net/if_inet6`: address, index, prefix length, scope, flags (all hex) and name.
fn parse(text: &str) -> Vec<Card> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let index = u32::from_str_radix(words.next()?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
        let name = words.next()?.to_owned();
        let address = Ipv6Addr::from(address);
        let usable = address.is_unicast_link_local() && flags & UNUSABLE == 0;
        usable.then_some(Card {
            index,
            name,
            address,
        })
    };
    let mut cards: Vec<Card> = text.lines().filter_map(line).collect();
    cards.sort();
    cards.dedup_by_key(|card| card.index);
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_those_with_a_link_local_address() {
        let text = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            fd000077000000000000000000000005 02 40 00 80     ens3\n\
            fe8000000000000050540012fffe3456 02 40 20 80     ens3\n\
            fe8000000000000050540012fffe9999 02 40 20 80     ens3\n\
            fe80000000000000000000000000000a 0b 40 20 80 wlan0\n\
            fe8000000000000000000000000000bb 0c 40 20 c0     new0\n\
            nonsense\n";
        let card = |index, name: &str, address: &str| Card {
            index,
            name: name.into(),
            address: address.parse().expect("an address"),
        };
        assert_eq!(
            parse(text),
            [
                card(2, "ens3", "fe80::5054:12:fffe:3456"),
                card(11, "wlan0", "fe80::a")
            ]
        );
    }
}
