//! Addresses, gateways and name servers.

use crate::site::refusal::Refusal;
use std::net::IpAddr;

/// An address with its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The host's address.
    pub address: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Interface {
    fn width(&self) -> u8 {
        width(self.address)
    }

    /// Whether an address is in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        width(other) == self.width() && self.network(other) == self.network(self.address)
    }

    /// Leading bits of an address, the rest zero.
    fn network(&self, address: IpAddr) -> u128 {
        bits(address) & self.mask()
    }

    /// The prefix as a mask, at the low end of the number.
    fn mask(&self) -> u128 {
        let host = u32::from(self.width() - self.prefix);
        let all = u128::MAX >> (128 - u32::from(self.width()));
        all & u128::MAX.checked_shl(host).unwrap_or(0)
    }

    fn lan(&self) -> String {
        let first = self.network(self.address);
        match self.address {
            IpAddr::V4(_) => format!("{}/{}", std::net::Ipv4Addr::from(first as u32), self.prefix),
            IpAddr::V6(_) => format!("{}/{}", std::net::Ipv6Addr::from(first), self.prefix),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn parse(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().map_err(|_| Refusal::NotAnAddress(text.into()))
}

fn unicast(address: IpAddr) -> Result<IpAddr, Refusal> {
    let unusable = |kind| Err(Refusal::UnusableAddress(address, kind));
    if address.is_unspecified() {
        return unusable("wildcard");
    }
    if address.is_loopback() {
        return unusable("loopback");
    }
    if address.is_multicast() {
        return unusable("multicast");
    }
    if let IpAddr::V4(address) = address
        && address.is_broadcast()
    {
        return unusable("broadcast");
    }
    Ok(address)
}

/// The host's own address, `192.0.2.10/24` or `2001:db8::10/64`.
pub fn address(text: &str) -> Result<Interface, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let Some((address, prefix)) = text.split_once('/') else {
        parse(text)?;
        return Err(Refusal::NoPrefix);
    };
    let address = unicast(parse(address)?)?;
    let most = width(address);
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = match prefix.parse::<u8>() {
        Ok(prefix) if digits && (1..=most).contains(&prefix) => prefix,
        _ => return Err(Refusal::PrefixLength(most)),
    };
    let interface = Interface { address, prefix };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if link_local {
        return Err(Refusal::UnusableAddress(address, "link-local"));
    }
    // RFC 3021: both addresses of a /31 are hosts.
    if address.is_ipv4() && prefix <= 30 {
        let rest = bits(address) & !interface.mask() & u128::from(u32::MAX);
        if rest == 0 {
            return Err(Refusal::UnusableAddress(address, "network"));
        }
        if rest == !interface.mask() & u128::from(u32::MAX) {
            return Err(Refusal::UnusableAddress(address, "broadcast"));
        }
    }
    Ok(interface)
}

/// Where another host is: `10.77.0.10`, `fd00::10`, or on the same wire `fe80::1%eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// This host's card behind which it is; only link-local addresses have one, and may do without
    /// where it answers behind one card alone.
    pub zone: Option<String>,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// The address of another host.
pub fn peer(text: &str) -> Result<Peer, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    if address.contains('/') {
        return Err(Refusal::Prefix);
    }
    let address = unicast(parse(address)?)?;
    let local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let sound = |zone: &str| {
        // IFNAMSIZ, with its zero.
        (1..16).contains(&zone.len())
            && !zone.contains(|letter: char| letter.is_whitespace() || letter.is_control())
            && !zone.contains(['/', '%'])
    };
    match zone {
        Some(zone) if !local || !sound(zone) => Err(Refusal::Zone(zone.to_owned())),
        zone => Ok(Peer {
            address,
            zone: zone.map(str::to_owned),
        }),
    }
}

/// The gateway of a host with this address; empty when there is none.
pub fn gateway(text: &str, interface: Option<Interface>) -> Result<Option<IpAddr>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let gateway = unicast(parse(text)?)?;
    let Some(interface) = interface else {
        return Err(Refusal::GatewayWithoutAddress);
    };
    if gateway == interface.address {
        return Err(Refusal::GatewayIsSelf(gateway));
    }
    let router = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
    if !(interface.contains(gateway) || router && interface.address.is_ipv6()) {
        return Err(Refusal::GatewayOutside {
            gateway,
            network: interface.lan(),
        });
    }
    Ok(Some(gateway))
}

/// Name servers, separated by spaces or commas.
pub fn name_servers(text: &str) -> Result<Vec<IpAddr>, Refusal> {
    text.split([' ', ',', '\n'])
        .filter(|part| !part.is_empty())
        .map(|part| unicast(parse(part)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_of_hosts_are_taken() {
        for text in [
            "10.0.0.5/24",
            "192.0.2.0/31",
            "192.0.2.1/32",
            "2001:db8::5/64",
            "10.1.0.0/8",
            "fd00::/64",
        ] {
            assert_eq!(address(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn addresses_no_host_can_have_are_refused_with_the_reason() {
        let unusable = |text: &str, kind| Refusal::UnusableAddress(ip(text), kind);
        for (text, refusal) in [
            ("", Refusal::Empty),
            ("10.0.0.5", Refusal::NoPrefix),
            ("10.0.0/24", Refusal::NotAnAddress("10.0.0".into())),
            ("10.0.0.256/24", Refusal::NotAnAddress("10.0.0.256".into())),
            ("10.0.0.5/33", Refusal::PrefixLength(32)),
            ("10.0.0.5/0", Refusal::PrefixLength(32)),
            ("10.0.0.5/+24", Refusal::PrefixLength(32)),
            ("10.0.0.5/255.255.255.0", Refusal::PrefixLength(32)),
            ("2001:db8::5/129", Refusal::PrefixLength(128)),
            ("10.0.0.0/24", unusable("10.0.0.0", "network")),
            ("10.0.0.255/24", unusable("10.0.0.255", "broadcast")),
            ("127.0.0.1/8", unusable("127.0.0.1", "loopback")),
            ("224.0.0.1/8", unusable("224.0.0.1", "multicast")),
            ("0.0.0.0/8", unusable("0.0.0.0", "wildcard")),
            ("fe80::1/64", unusable("fe80::1", "link-local")),
            ("169.254.3.4/16", unusable("169.254.3.4", "link-local")),
        ] {
            assert_eq!(address(text), Err(refusal), "{text}");
        }
    }

    #[test]
    fn a_gateway_must_be_reachable_from_the_address() {
        let v4 = address("10.0.3.5/22").ok();
        let v6 = address("2001:db8::5/64").ok();
        assert_eq!(gateway("10.0.0.1", v4), Ok(Some(ip("10.0.0.1"))));
        assert_eq!(gateway("", v4), Ok(None));
        assert_eq!(gateway("fe80::1", v6), Ok(Some(ip("fe80::1"))));
        assert_eq!(
            gateway("10.0.4.1", v4).expect_err("refused").to_string(),
            "10.0.4.1 is not in 10.0.0.0/22, so this host cannot reach it"
        );
        assert_eq!(
            gateway("10.0.3.5", v4),
            Err(Refusal::GatewayIsSelf(ip("10.0.3.5")))
        );
        assert_eq!(
            gateway("10.0.0.1", None),
            Err(Refusal::GatewayWithoutAddress)
        );
        assert!(matches!(
            gateway("fe80::1", v4),
            Err(Refusal::GatewayOutside { .. })
        ));
        assert!(matches!(
            gateway("10.0.0.1", v6),
            Err(Refusal::GatewayOutside { .. })
        ));
    }

    #[test]
    fn name_servers_are_separated_by_spaces_or_commas() {
        assert_eq!(
            name_servers("9.9.9.9, 2620:fe::fe"),
            Ok(vec![ip("9.9.9.9"), ip("2620:fe::fe")])
        );
        assert_eq!(name_servers(""), Ok(vec![]));
        assert_eq!(
            name_servers("dns.quad9.net"),
            Err(Refusal::NotAnAddress("dns.quad9.net".into()))
        );
    }

    #[test]
    fn another_host_is_an_address_and_on_the_same_wire_perhaps_a_card() {
        for text in ["10.77.0.10", "fd00::10", "fe80::1", "fe80::1%eth0"] {
            assert_eq!(peer(&format!(" {text}\n")).expect(text).to_string(), text);
        }
        for (text, words) in [
            ("", "this cannot be empty"),
            ("core", "`core` is not an IP address"),
            (
                "10.0.0.1/24",
                "leave the prefix length out: only the address itself, for example 192.0.2.10",
            ),
            (
                "fd00::1%eth0",
                "`eth0` cannot stand behind this address: only a link-local one has the name of a \
                 network card there, for example fe80::1%eth0",
            ),
            ("::", ":: is a wildcard address; a host cannot have it"),
        ] {
            assert_eq!(peer(text).expect_err(text).to_string(), words);
        }
        for zone in ["", "a/b", "a b", "a%b", "sixteen-letters-"] {
            assert!(peer(&format!("fe80::1%{zone}")).is_err(), "{zone}");
        }
    }
}
