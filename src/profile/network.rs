//! The network between the hosts of a stack: its addresses, and how the cards of its hosts are
//! attached to it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the hosts of a stack reach each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Where their addresses are, unless the answers of a site say another network.
    pub hosts: Subnet,
    /// The VLAN whose tag their frames have; without one they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

/// A range of addresses, `10.77.0.0/24` or `fd00:77::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    /// Bits that all its addresses share.
    length: u8,
}

/// Why a text is no range of addresses for hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// It cannot be read.
    #[error("`{0}` is not a network: one is like 10.77.0.0/24 or fd00:77::/64")]
    Form(String),
    /// It names a host.
    #[error("`{text}` is an address in a network; the network itself is {network}")]
    Host {
        /// What was read.
        text: String,
        /// The network.
        network: Subnet,
    },
    /// Too few or too many addresses.
    #[error(
        "`{0}` has no room for hosts, or for far too many: between /8 and /29, for IPv6 between /48 and /120"
    )]
    Size(String),
    /// Addresses that hosts do not have.
    #[error("`{0}` has no addresses that a host can have in a network of its own")]
    Kind(String),
}

impl Subnet {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Subnet, SubnetError> {
        let form = || SubnetError::Form(text.to_owned());
        let (address, length) = text.trim().split_once('/').ok_or_else(form)?;
        let first: IpAddr = address.parse().map_err(|_| form())?;
        let length: u8 = length.parse().map_err(|_| form())?;
        let (sizes, bits) = match first {
            IpAddr::V4(_) => (8..=29, 32),
            IpAddr::V6(_) => (48..=120, 128),
        };
        if length > bits {
            return Err(form());
        }
        if !sizes.contains(&length) {
            return Err(SubnetError::Size(text.to_owned()));
        }
        let link_local = match first {
            IpAddr::V4(address) => address.is_link_local(),
            // Every card has such addresses already.
            IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
        };
        let odd = first.is_loopback() || first.is_multicast() || first.is_unspecified();
        if odd || link_local {
            return Err(SubnetError::Kind(text.to_owned()));
        }
        let network = Subnet { first, length }.masked();
        match network.first == first {
            true => Ok(network),
            false => Err(SubnetError::Host {
                text: text.to_owned(),
                network,
            }),
        }
    }

    fn masked(self) -> Subnet {
        let host_bits = |bits: u8| u32::from(bits - self.length);
        let first = match self.first {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(host_bits(32)).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(host_bits(128)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & mask).into()
            }
        };
        Subnet { first, ..self }
    }

    /// The address with this number, unless it is that of the network, of all its hosts, or of
    /// another network.
    pub fn host(&self, number: u32) -> Option<IpAddr> {
        if number == 0 {
            return None;
        }
        match self.first {
            IpAddr::V4(first) => {
                let count = 1_u32.checked_shl(u32::from(32 - self.length))?;
                let inside = number < count - 1;
                inside.then(|| Ipv4Addr::from(u32::from(first) + number).into())
            }
            IpAddr::V6(first) => {
                let count = 1_u128.checked_shl(u32::from(128 - self.length))?;
                let inside = u128::from(number) < count;
                inside.then(|| Ipv6Addr::from(u128::from(first) + u128::from(number)).into())
            }
        }
    }

    /// The zone of names by address in which all its addresses are: at the next boundary of a
    /// label (RFC 1035 §3.5, RFC 3596 §2.5), without a final dot.
    pub fn reverse(&self) -> String {
        let labels = match self.first {
            IpAddr::V4(_) => self.length / 8,
            IpAddr::V6(_) => self.length / 4,
        };
        let name = pointer(self.first);
        let all = name.split('.').count();
        let suffix = 2;
        let skipped = all - suffix - usize::from(labels);
        let rest: Vec<&str> = name.split('.').skip(skipped).collect();
        rest.join(".")
    }

    /// The same with the length of the network behind it, `10.77.0.10/24`.
    pub fn interface(&self, number: u32) -> Option<String> {
        let host = self.host(number)?;
        Some(format!("{host}/{}", self.length))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Subnet, SubnetError> {
        Subnet::parse(&text)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

/// The name by which an address is looked up, without a final dot.
pub fn pointer(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets();
            let digits = digits.iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let labels: String = digits.map(|digit| format!("{digit:x}.")).collect();
            format!("{labels}ip6.arpa")
        }
    }
}

/// What a VLAN of IEEE 802.1Q may be called by: 0 tags no VLAN, and 4095 is reserved.
pub const VLANS: std::ops::RangeInclusive<u32> = 1..=4094;

/// Several cards of a host that are used as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// How their work is shared.
    pub mode: BondMode,
    /// How many they are, at least two.
    pub cards: u8,
}

/// A mode of Linux' bonding driver (Documentation/networking/bonding.rst), also of `Mode=` in
/// systemd.netdev(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BondMode {
    /// One card works, the others wait until it loses its cable.
    ActiveBackup,
    /// LACP: the switch knows of the bond and takes part.
    #[serde(rename = "802.3ad")]
    Lacp,
    /// Frames by turns.
    BalanceRr,
    /// Each pair of hosts by one of the cards.
    BalanceXor,
    /// Every frame by every card.
    Broadcast,
    /// What is sent goes by the card with the least to do.
    BalanceTlb,
    /// So does what is received, by ARP.
    BalanceAlb,
}

impl BondMode {
    /// Every mode by the name that the driver gives it.
    pub const ALL: [(&'static str, BondMode); 7] = [
        ("active-backup", BondMode::ActiveBackup),
        ("802.3ad", BondMode::Lacp),
        ("balance-rr", BondMode::BalanceRr),
        ("balance-xor", BondMode::BalanceXor),
        ("broadcast", BondMode::Broadcast),
        ("balance-tlb", BondMode::BalanceTlb),
        ("balance-alb", BondMode::BalanceAlb),
    ];
}

impl fmt::Display for BondMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, mode)| mode == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// A card of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// Towards the other hosts of the stack; those of a bond are counted from 0.
    Hosts(u8),
    /// Towards everybody else.
    Outside,
}

/// The hardware address of a card of a machine that is made for a role: locally administered, in
/// QEMU's range, and the same wherever it is computed, so that a host knows which of its cards
/// is which.
pub fn mac(stack: &str, role: &str, card: Card) -> String {
    let number = match card {
        Card::Outside => 0,
        Card::Hosts(index) => 1 + u32::from(index),
    };
    let digest = Sha256::digest(format!("{stack}/{role}/{number}"));
    format!(
        "52:54:00:{:02x}:{:02x}:{:02x}",
        digest[0], digest[1], digest[2]
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_numbered_from_the_start_of_their_network() {
        let four = Subnet::parse("10.77.0.0/24").unwrap();
        assert_eq!(four.to_string(), "10.77.0.0/24");
        assert_eq!(four.interface(10).as_deref(), Some("10.77.0.10/24"));
        assert_eq!(four.host(254).unwrap().to_string(), "10.77.0.254");
        assert_eq!([four.host(0), four.host(255), four.host(256)], [None; 3]);
        let wide = Subnet::parse("10.0.0.0/8").unwrap();
        assert_eq!(wide.host(70_000).unwrap().to_string(), "10.1.17.112");
        let six = Subnet::parse("fd00:77::/64").unwrap();
        assert_eq!(six.interface(10).as_deref(), Some("fd00:77::a/64"));
        assert_eq!(six.host(0), None);
        let small = Subnet::parse("fd00::/120").unwrap();
        assert_eq!(small.host(255).unwrap().to_string(), "fd00::ff");
        assert_eq!(small.host(256), None);
    }

    #[test]
    fn addresses_are_looked_up_in_the_zone_of_their_network() {
        let zone = |text: &str| Subnet::parse(text).unwrap().reverse();
        assert_eq!(zone("10.77.0.0/24"), "0.77.10.in-addr.arpa");
        assert_eq!(zone("10.77.16.0/20"), "77.10.in-addr.arpa");
        assert_eq!(zone("10.0.0.0/8"), "10.in-addr.arpa");
        assert_eq!(zone("fd00:77::/48"), "0.0.0.0.7.7.0.0.0.0.d.f.ip6.arpa");
        assert_eq!(
            pointer("10.77.0.10".parse().unwrap()),
            "10.0.77.10.in-addr.arpa"
        );
        assert_eq!(
            pointer("fd00::a".parse().unwrap()),
            format!("a.{}0.0.d.f.ip6.arpa", "0.".repeat(27))
        );
    }

    #[test]
    fn what_is_no_network_of_hosts_is_refused_in_words() {
        let told = |text: &str| Subnet::parse(text).unwrap_err().to_string();
        for text in [
            "10.77.0.0",
            "10.77.0/24",
            "10.77.0.0/33",
            "x/24",
            "10.77.0.0/-1",
        ] {
            assert_eq!(
                told(text),
                format!("`{text}` is not a network: one is like 10.77.0.0/24 or fd00:77::/64")
            );
        }
        assert_eq!(
            told("10.77.0.5/24"),
            "`10.77.0.5/24` is an address in a network; the network itself is 10.77.0.0/24"
        );
        assert!(told("10.77.0.0/30").contains("has no room for hosts"));
        assert!(told("fd00::/8").contains("has no room for hosts"));
        for text in [
            "127.0.0.0/8",
            "224.0.0.0/24",
            "169.254.0.0/16",
            "fe80::/64",
            "0.0.0.0/8",
        ] {
            assert!(
                told(text).contains("has no addresses that a host can have"),
                "{text}"
            );
        }
    }

    #[test]
    fn each_card_of_each_host_has_an_address_of_its_own() {
        let one = mac("starter", "core", Card::Hosts(0));
        assert!(one.starts_with("52:54:00:") && one.len() == 17, "{one}");
        assert_eq!(one, mac("starter", "core", Card::Hosts(0)));
        let others = [
            mac("starter", "core", Card::Outside),
            mac("starter", "core", Card::Hosts(1)),
            mac("starter", "edge", Card::Hosts(0)),
            mac("office", "core", Card::Hosts(0)),
        ];
        assert!(!others.contains(&one));
    }

    #[test]
    fn a_mode_has_one_name_in_profiles_in_plans_and_on_the_host() {
        for (name, mode) in BondMode::ALL {
            assert_eq!(mode.to_string(), name);
            let json = serde_json::to_string(&mode).unwrap();
            assert_eq!(json, format!("\"{name}\""));
        }
    }
}
