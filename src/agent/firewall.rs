//! The packet filter as nftables text, from the rules of the plan: what is not in the graph
//! is closed.

use super::{Result, write_if_new};
use crate::bringup::process::Program;
use crate::mesh::discover::PORT;
use crate::plan::{MESH_PORT, Rule};
use crate::profile::Scope;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Where the rules stand, without the leading slash.
const FILE: &str = "etc/nftables.conf";

/// Ports from which programs ask (ip(7), `ip_local_port_range`): nobody offers anything there.
const PRIVATE: &str = "32768-60999";

/// What is open on the link-local addresses of IPv6, beside the plan: hosts join by a
/// code, and leads find each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// A lead lets them join, and hears those that have joined.
    pub join: bool,
    /// A lead is looked for by hosts that have not joined.
    pub answer: bool,
    /// A host looks for its lead.
    pub ask: bool,
}

impl Neighbours {
    fn rules(self) -> String {
        let mut text = String::new();
        for (open, what) in [
            (
                self.join,
                format!(
                    "tcp dport {MESH_PORT} accept comment \"muster: neighbours join and report\""
                ),
            ),
            (
                self.answer,
                format!("udp dport {PORT} accept comment \"muster: the lead is looked for\""),
            ),
            (
                self.ask,
                format!(
                    "udp sport {PORT} udp dport {PRIVATE} accept comment \"muster: leads answer\""
                ),
            ),
        ] {
            if open {
                text.push_str(&format!("\t\tip6 saddr fe80::/10 {what}\n"));
            }
        }
        text
    }
}

/// The rules of one host. `addresses` are those of the other roles' hosts; a rule for hosts
/// whose addresses are not known lets nobody in.
pub fn ruleset(
    rules: &[Rule],
    role: &str,
    addresses: &BTreeMap<String, Vec<IpAddr>>,
    neighbours: Neighbours,
) -> String {
    let mut text = String::from(
        "#!/usr/sbin/nft -f\n\
         # Computed from the plan at every start; changes here are lost.\n\
         table inet muster\n\
         delete table inet muster\n\
         table inet muster {\n\
         \tchain input {\n\
         \t\ttype filter hook input priority filter; policy drop;\n\
         \t\tct state established,related accept\n\
         \t\tct state invalid drop\n\
         \t\tiif lo accept\n\
         \t\tmeta l4proto { icmp, ipv6-icmp } accept\n\
         \t\tip6 saddr fe80::/10 udp dport 546 accept comment \"DHCPv6\"\n\
         \t\ttcp dport 22 accept comment \"ssh\"\n",
    );
    text.push_str(&neighbours.rules());
    for rule in rules.iter().filter(|rule| rule.role == role) {
        let to = format!(
            "{} dport {} accept comment \"{}\"",
            rule.protocol,
            rule.port,
            why(rule)
        );
        if rule.scope == Scope::Public {
            text.push_str(&format!("\t\t{to}\n"));
        }
        if rule.scope == Scope::Site {
            let from: Vec<&IpAddr> = rule
                .from
                .iter()
                .filter_map(|role| addresses.get(role))
                .flatten()
                .collect();
            for (family, addresses) in [
                (
                    "ip",
                    from.iter()
                        .filter(|address| address.is_ipv4())
                        .collect::<Vec<_>>(),
                ),
                (
                    "ip6",
                    from.iter()
                        .filter(|address| address.is_ipv6())
                        .collect::<Vec<_>>(),
                ),
            ] {
                let mut list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                list.sort();
                list.dedup();
                if !list.is_empty() {
                    text.push_str(&format!(
                        "\t\t{family} saddr {{ {} }} {to}\n",
                        list.join(", ")
                    ));
                }
            }
        }
    }
    text.push_str("\t}\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n");
    text
}

/// nft takes at most 128 bytes between the quotes, and no quote.
fn why(rule: &Rule) -> String {
    rule.why
        .chars()
        .filter(|letter| letter.is_ascii() && *letter != '"')
        .take(120)
        .collect()
}

/// Writes the rules and loads them. In one transaction: there is no moment without any.
pub fn apply(root: &Path, text: &str) -> Result<()> {
    let path = root.join(FILE);
    write_if_new(&path, text, 0o644)?;
    Program::new(["nft", "-f", &path.to_string_lossy()]).run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(role: &str, port: u16, scope: Scope, from: &[&str], why: &str) -> Rule {
        Rule {
            role: role.into(),
            protocol: "tcp".into(),
            port,
            scope,
            from: from.iter().map(|role| (*role).into()).collect(),
            why: why.into(),
        }
    }

    #[test]
    fn only_edges_of_the_graph_are_open() {
        let rules = [
            rule("web", 443, Scope::Public, &[], "nginx: \"https\""),
            rule(
                "db",
                5432,
                Scope::Site,
                &["web", "mail", "gone"],
                "postgresql: queries",
            ),
            rule("db", 9187, Scope::Site, &["gone"], "exporter: metrics"),
        ];
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let addresses = BTreeMap::from([
            ("web".to_string(), vec![ip("10.0.0.7"), ip("fd00::7")]),
            ("mail".to_string(), vec![ip("10.0.0.5")]),
        ]);
        let db = ruleset(&rules, "db", &addresses, Neighbours::default());
        assert!(db.contains("policy drop"));
        assert!(db.contains(
            "\t\tip saddr { 10.0.0.5, 10.0.0.7 } tcp dport 5432 accept comment \"postgresql: \
             queries\"\n\t\tip6 saddr { fd00::7 } tcp dport 5432 accept"
        ));
        assert!(!db.contains("443") && !db.contains("9187"), "{db}");
        let web = ruleset(&rules, "web", &addresses, Neighbours::default());
        assert!(!web.contains("7433") && !web.contains("5353"), "{web}");
        assert!(web.contains("\t\ttcp dport 443 accept comment \"nginx: https\"\n"));
        assert!(!web.contains("5432"));
    }

    #[test]
    fn nft_takes_the_rules_twice_and_ends_with_the_same_table() {
        use std::process::Command;
        let rules = [
            rule("db", 5432, Scope::Site, &["web"], "postgresql: queries"),
            rule("db", 443, Scope::Public, &[], "nginx: \"web\" & more"),
        ];
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let addresses = BTreeMap::from([("web".to_string(), vec![ip("10.0.0.7"), ip("fd00::7")])]);
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("rules");
        let all = Neighbours {
            join: true,
            answer: true,
            ask: true,
        };
        std::fs::write(&path, ruleset(&rules, "db", &addresses, all)).expect("written");
        let script = "nft -f $0 && nft list ruleset >$0.1 && nft -f $0 && nft list ruleset >$0.2 && \
                      cmp $0.1 $0.2 && cat $0.1";
        let output = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-c", script])
            .arg(&path)
            .output()
            .expect("unshare runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            table.contains("ip6 saddr fd00::7 tcp dport 5432 accept"),
            "{table}"
        );
        for open in [
            "tcp dport 7433",
            "udp dport 5353",
            "udp sport 5353 udp dport 32768-60999",
        ] {
            let rule = format!("ip6 saddr fe80::/10 {open} accept");
            assert!(table.contains(&rule), "{table}");
        }
        assert!(
            table.contains("type filter hook input priority filter; policy drop;"),
            "{table}"
        );
    }
}
