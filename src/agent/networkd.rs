//! What systemd-networkd is told of this host's cards: systemd.netdev(5), systemd.network(5).

use super::host::HostFile;
use crate::plan;
use crate::profile::network::{BondMode, Card, mac};
use crate::site::Network;

/// The device that bonded cards are.
const BOND: &str = "bond0";

/// Where a host meets the others of its stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Hardware addresses of its cards there.
    pub macs: Vec<String>,
    /// How they are bonded, if they are.
    pub bond: Option<BondMode>,
    /// The VLAN of the others, if it is one.
    pub vlan: Option<u16>,
    /// Address with the length of the network.
    pub address: String,
}

impl Segment {
    /// That of a host of the plan of this stack; none where it is alone.
    pub fn of(stack: &str, host: &plan::Host) -> Option<Segment> {
        let cards = host.bond.map_or(1, |bond| bond.cards);
        let macs = (0..cards).map(|index| mac(stack, &host.role, Card::Hosts(index)));
        Some(Segment {
            macs: macs.collect(),
            bond: host.bond.map(|bond| bond.mode),
            vlan: host.vlan,
            address: host.address.clone()?,
        })
    }

    /// Its files: devices from the cards upwards, then the one that has the address. They come
    /// before [`outside`], which takes every card.
    pub fn files(&self) -> Vec<HostFile> {
        let mut files = Vec::new();
        let vlan = self.vlan.map(|id| (id, format!("vlan{id}")));
        let on = vlan.as_ref().map(|(_, name)| format!("VLAN={name}\n"));
        let macs = self.macs.join(" ");
        // A bond gives its address to its cards, and a VLAN has that of what it is on: only what
        // the card came with tells them apart.
        let below = match (self.bond, &on) {
            (None, None) => format!("MACAddress={macs}"),
            _ => format!("PermanentMACAddress={macs}"),
        };
        if let Some(mode) = self.bond {
            let first = self.macs.first().map_or("", String::as_str);
            files.push(file(
                "etc/systemd/network/05-muster-bond.netdev",
                format!(
                    "[NetDev]\nName={BOND}\nKind=bond\nMACAddress={first}\n\n\
                     [Bond]\nMode={mode}\nMIIMonitorSec=100ms\n"
                ),
            ));
            let bond = format!("Bond={BOND}\n");
            files.push(carrier(
                "etc/systemd/network/05-muster-cards.network",
                &below,
                &bond,
            ));
        }
        let top = match self.bond {
            Some(_) => format!("Name={BOND}"),
            None => below,
        };
        let Some(((id, name), on)) = vlan.zip(on) else {
            files.push(self.addressed(&top));
            return files;
        };
        files.push(carrier(
            "etc/systemd/network/05-muster-trunk.network",
            &top,
            &on,
        ));
        files.push(file(
            "etc/systemd/network/05-muster-vlan.netdev",
            format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={id}\n"),
        ));
        files.push(self.addressed(&format!("Name={name}")));
        files
    }

    fn addressed(&self, matched: &str) -> HostFile {
        file(
            "etc/systemd/network/05-muster-hosts.network",
            format!(
                "[Match]\n{matched}\n\n[Network]\nAddress={}\nIPv6AcceptRA=no\nLLMNR=no\n\
                 MulticastDNS=no\n",
                self.address
            ),
        )
    }
}

fn file(path: &'static str, content: String) -> HostFile {
    HostFile {
        path,
        content,
        mode: 0o644,
    }
}

/// What only carries another device: without an address nobody is met on it, and the host is
/// online by what it carries.
fn carrier(path: &'static str, matched: &str, carries: &str) -> HostFile {
    file(
        path,
        format!(
            "[Match]\n{matched}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n{carries}\
             LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
        ),
    )
}

/// Every other card. Without a MAC in the answers every wired port that Linux names by its place
/// is ours.
pub fn outside(network: &Network, domain: &str) -> HostFile {
    let mut text = String::from("[Match]\nType=ether\nName=en* eth*\n\n[Network]\n");
    match network {
        Network::Dhcp {} => text.push_str("DHCP=yes\n"),
        Network::Static {
            address,
            gateway,
            dns,
        } => {
            text.push_str(&format!("Address={address}\n"));
            if let Some(gateway) = gateway {
                text.push_str(&format!("Gateway={gateway}\n"));
            }
            for server in dns {
                text.push_str(&format!("DNS={server}\n"));
            }
            text.push_str(&format!("Domains={domain}\n"));
        }
    }
    text.push_str("LLMNR=no\nMulticastDNS=no\n");
    if matches!(network, Network::Dhcp {}) {
        // The host name is the site's; the lease follows the card, not the installation.
        text.push_str("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n");
    }
    file("etc/systemd/network/10-muster.network", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bond: Option<BondMode>, vlan: Option<u16>) -> Segment {
        let macs = ["52:54:00:0a:0b:0c", "52:54:00:0d:0e:0f"];
        let count = if bond.is_some() { 2 } else { 1 };
        Segment {
            macs: macs[..count].iter().map(|mac| (*mac).into()).collect(),
            bond,
            vlan,
            address: "10.77.0.11/24".into(),
        }
    }

    fn shown(segment: &Segment) -> String {
        let files = segment.files();
        let shown = files.iter().map(|file| {
            let name = file.path.strip_prefix("etc/systemd/network/");
            format!(
                "# {}\n{}\n",
                name.expect("a file of networkd"),
                file.content
            )
        });
        shown.collect()
    }

    #[test]
    fn a_card_alone_has_the_address() {
        assert_eq!(
            shown(&segment(None, None)),
            "# 05-muster-hosts.network\n[Match]\nMACAddress=52:54:00:0a:0b:0c\n\n\
             [Network]\nAddress=10.77.0.11/24\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n\n"
        );
    }

    #[test]
    fn a_vlan_has_the_address_and_its_card_none() {
        assert_eq!(
            shown(&segment(None, Some(20))),
            "# 05-muster-trunk.network\n[Match]\nPermanentMACAddress=52:54:00:0a:0b:0c\n\n\
             [Link]\nRequiredForOnline=no\n\n[Network]\nVLAN=vlan20\nLinkLocalAddressing=no\n\
             IPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n\n\
             # 05-muster-vlan.netdev\n[NetDev]\nName=vlan20\nKind=vlan\n\n[VLAN]\nId=20\n\n\
             # 05-muster-hosts.network\n[Match]\nName=vlan20\n\n\
             [Network]\nAddress=10.77.0.11/24\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n\n"
        );
    }

    #[test]
    fn a_bond_has_the_address_and_its_cards_none() {
        assert_eq!(
            shown(&segment(Some(BondMode::Lacp), None)),
            "# 05-muster-bond.netdev\n[NetDev]\nName=bond0\nKind=bond\n\
             MACAddress=52:54:00:0a:0b:0c\n\n[Bond]\nMode=802.3ad\nMIIMonitorSec=100ms\n\n\
             # 05-muster-cards.network\n[Match]\n\
             PermanentMACAddress=52:54:00:0a:0b:0c 52:54:00:0d:0e:0f\n\n\
             [Link]\nRequiredForOnline=no\n\n[Network]\nBond=bond0\nLinkLocalAddressing=no\n\
             IPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n\n\
             # 05-muster-hosts.network\n[Match]\nName=bond0\n\n\
             [Network]\nAddress=10.77.0.11/24\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n\n"
        );
    }

    #[test]
    fn a_vlan_is_on_the_bond_where_there_is_one() {
        let text = shown(&segment(Some(BondMode::ActiveBackup), Some(4094)));
        let names: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(
            names,
            [
                "# 05-muster-bond.netdev",
                "# 05-muster-cards.network",
                "# 05-muster-trunk.network",
                "# 05-muster-vlan.netdev",
                "# 05-muster-hosts.network",
            ]
        );
        for part in [
            "[Bond]\nMode=active-backup\n",
            "[Match]\nName=bond0\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nVLAN=vlan4094\n",
            "[VLAN]\nId=4094\n",
            "[Match]\nName=vlan4094\n\n[Network]\nAddress=10.77.0.11/24\n",
        ] {
            assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        }
    }
}
