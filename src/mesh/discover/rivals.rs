//! Other leads on the wire that were built from the same plan: two hosts were started as the lead
//! of one stack, and a member of one would be a stranger to the other.

use super::{Card, Found};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// Another lead of the same plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rival {
    /// Its role.
    pub role: String,
    /// Where, with the card behind which it is.
    pub address: String,
}

/// Those among the leads that were found, seen from a lead of this plan that lets hosts join at
/// this port of these cards.
pub fn rivals(found: &[Found], plan: &str, cards: &[Card], port: u16) -> BTreeSet<Rival> {
    let own: Vec<Ipv6Addr> = cards.iter().map(|card| card.address).collect();
    let others = found.iter().filter(|one| {
        let itself = own.contains(one.address.ip()) && one.address.port() == port;
        one.announced.plan == plan && !itself
    });
    others
        .map(|one| Rival {
            role: one.announced.role.clone(),
            address: format!("{}%{}", one.address.ip(), one.card),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::discover::Announced;
    use std::net::SocketAddrV6;

    #[test]
    fn another_lead_of_the_plan_is_a_rival_and_neither_this_one_nor_a_strangers() {
        let address = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        let found = |role: &str, plan: &str, last, port| Found {
            address: SocketAddrV6::new(address(last), port, 0, 2),
            card: "ens3".into(),
            announced: Announced {
                protocol: [1, 1],
                plan: plan.into(),
                role: role.into(),
                port,
            },
        };
        let cards = [Card {
            index: 2,
            name: "ens3".into(),
            address: address(1),
        }];
        let all = [
            found("core", "ab", 1, 7433),
            found("edge", "ab", 2, 7433),
            found("edge", "ab", 2, 7433),
            found("office", "cd", 3, 7433),
        ];
        let seen = rivals(&all, "ab", &cards, 7433);
        let seen: Vec<(&str, &str)> = seen
            .iter()
            .map(|rival| (rival.role.as_str(), rival.address.as_str()))
            .collect();
        assert_eq!(seen, [("edge", "fe80::2%ens3")]);
    }
}
