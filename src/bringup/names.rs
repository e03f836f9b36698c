//! The DNS zones of a site, derived from its plan: hosts, routes, and what services want said of
//! the site's domains.

use super::context::{Facts, View};
use super::render::Renderer;
use crate::profile::network::pointer;
use crate::profile::{Instance, Record, Scope, Zones};
use minijinja::Error;
use minijinja::value::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without a final dot.
    pub name: String,
    /// What is in it, beside its own SOA and NS.
    pub records: Vec<Entry>,
}

/// One record of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the zone; `@` for the zone itself.
    pub name: String,
    /// `A`, `MX`, …
    pub kind: String,
    /// As in zone files (RFC 1035, section 5.1).
    pub content: String,
    /// The host whose address this is, if that is what the record says.
    pub host: Option<String>,
}

/// Longest string in a TXT record, bytes (RFC 1035, section 3.3).
const STRING: usize = 255;

/// All zones before services have said what they want in them: the domain in which hosts have their
/// names, further domains that get mail, and that of the addresses. Addresses that nobody knows yet
/// are left out.
pub fn known(facts: &Facts) -> Vec<Zone> {
    let own = hosts(facts);
    let mut mail = mail(facts);
    mail.remove(&own.name);
    let mail = mail.into_iter().map(|name| Zone {
        name,
        records: Vec::new(),
    });
    let all = [own].into_iter().chain(mail);
    all.chain(reverse(facts)).collect()
}

/// All zones, with what services want said.
///
/// # Errors
/// A template of a `[[record]]` is wrong.
pub fn zones(renderer: &Arc<Renderer>, depth: u8) -> Result<Vec<Zone>, Error> {
    let facts = &renderer.facts;
    let mut zones = known(facts);
    for instance in instances(facts) {
        let Some(service) = facts.stack.services.get(&instance.service) else {
            continue;
        };
        for record in &service.records {
            add(renderer, &mut zones, &instance, record, depth)?;
        }
    }
    Ok(zones)
}

/// Every service that is not switched off, on every host.
fn instances(facts: &Facts) -> impl Iterator<Item = Instance> {
    let all = facts.plan.hosts.iter().flat_map(|host| {
        host.services.iter().map(|service| Instance {
            role: host.role.clone(),
            service: service.clone(),
        })
    });
    all.filter(|instance| !facts.disabled(instance))
}

fn mail(facts: &Facts) -> BTreeSet<String> {
    let organisations = facts.site.organisations.iter();
    organisations
        .flat_map(|organisation| organisation.mail_domains.clone())
        .collect()
}

fn address(facts: &Facts, role: &str) -> Option<IpAddr> {
    facts.address(role).parse().ok()
}

fn hosts(facts: &Facts) -> Zone {
    let mut records = Vec::new();
    for host in &facts.plan.hosts {
        let Some(address) = address(facts, &host.role) else {
            continue;
        };
        let kind = match address {
            IpAddr::V4(_) => "A",
            IpAddr::V6(_) => "AAAA",
        };
        let routes = host.routes.iter();
        let routes = routes.filter(|route| !facts.disabled(&route.service));
        let names = [host.role.clone()]
            .into_iter()
            .chain(routes.map(|route| route.host.clone()));
        records.extend(names.map(|name| Entry {
            name,
            kind: kind.to_owned(),
            content: address.to_string(),
            host: Some(host.role.clone()),
        }));
    }
    Zone {
        name: facts.domain().to_owned(),
        records,
    }
}

fn add(
    renderer: &Arc<Renderer>,
    zones: &mut [Zone],
    instance: &Instance,
    record: &Record,
    depth: u8,
) -> Result<(), Error> {
    let wanted = match record.of {
        Zones::Hosts => BTreeSet::from([renderer.facts.domain().to_owned()]),
        Zones::Mail => mail(&renderer.facts),
    };
    for zone in zones.iter_mut().filter(|zone| wanted.contains(&zone.name)) {
        let view = View {
            item: Some(Value::from(&zone.name)),
            depth: depth + 1,
            ..View::of(instance)
        };
        let of = format!("record of {instance}");
        let content = renderer.text(&of, &record.content, &view)?;
        let entry = Entry {
            name: renderer.text(&of, &record.name, &view)?,
            kind: record.kind.clone(),
            content: match record.kind.as_str() {
                "TXT" => quoted(&content),
                _ => content,
            },
            host: None,
        };
        // What two services say alike is said once.
        if !zone.records.contains(&entry) {
            zone.records.push(entry);
        }
    }
    Ok(())
}

/// A text as strings of a TXT record.
fn quoted(text: &str) -> String {
    let mut strings = vec![String::new()];
    let mut length = 0;
    for byte in text.bytes() {
        if length == STRING {
            strings.push(String::new());
            length = 0;
        }
        length += 1;
        if let Some(string) = strings.last_mut() {
            match byte {
                b'"' | b'\\' => string.extend(['\\', char::from(byte)]),
                b' '..=b'~' => string.push(char::from(byte)),
                _ => {
                    let _ = write!(string, "\\{byte:03}");
                }
            }
        }
    }
    let strings: Vec<String> = strings
        .iter()
        .map(|string| format!("\"{string}\""))
        .collect();
    strings.join(" ")
}

fn reverse(facts: &Facts) -> Option<Zone> {
    let name = facts.stack.network.as_ref()?.hosts.reverse();
    let hosts = facts.plan.hosts.iter();
    let records = hosts.filter_map(|host| {
        Some(Entry {
            name: format!("{}.", pointer(address(facts, &host.role)?)),
            kind: "PTR".to_owned(),
            content: format!("{}.", facts.fqdn(&host.role)),
            host: None,
        })
    });
    Some(Zone {
        name,
        records: records.collect(),
    })
}

/// What the rest of the world must be told, for the registrar of the domains: the names of the
/// hosts that anybody may reach, at the address at which they are reached from outside, and what
/// services want said. Lines of a zone file; those that lack an address are comments.
pub fn public(facts: &Facts, zones: &[Zone], outside: Option<IpAddr>) -> String {
    // Every host can be logged in to; that is no service to the world.
    let offers = |instance: &Instance| {
        let service = facts.stack.services.get(&instance.service);
        let mut ports = service.iter().flat_map(|service| &service.ports);
        ports.any(|port| port.scope == Scope::Public)
    };
    let open = |role: &str| {
        let mut roles = facts.stack.roles.iter();
        facts.stack.network.is_none() || roles.any(|one| one.name == role && one.outside)
    };
    let reached: BTreeSet<String> = instances(facts)
        .filter(|instance| open(&instance.role) && offers(instance))
        .map(|instance| instance.role)
        .collect();
    let mut text = String::new();
    let own = facts.stack.network.as_ref();
    let own = own.map(|network| network.hosts.reverse());
    for zone in zones.iter().filter(|zone| Some(&zone.name) != own.as_ref()) {
        let _ = writeln!(text, "; {}", zone.name);
        for record in &zone.records {
            let name = match record.name.as_str() {
                "@" => format!("{}.", zone.name),
                name if name.ends_with('.') => name.to_owned(),
                name => format!("{name}.{}.", zone.name),
            };
            let _ = match (&record.host, outside) {
                (Some(host), _) if !reached.contains(host.as_str()) => Ok(()),
                (Some(_), Some(address)) => {
                    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                    writeln!(text, "{name} 3600 IN {kind} {address}")
                }
                (Some(host), None) => writeln!(
                    text,
                    "; {name} 3600 IN A or AAAA: where {host} is reached from outside"
                ),
                (None, _) => writeln!(text, "{name} 3600 IN {} {}", record.kind, record.content),
            };
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Scope, public, quoted, zones};
    use crate::bringup::render::Renderer;
    use crate::bringup::share::tests::signing;
    use crate::profile::Port;
    use crate::profile::network::{NetworkPlan, Subnet};
    use std::sync::Arc;

    #[test]
    fn a_long_text_is_several_strings_and_none_ends_early() {
        assert_eq!(quoted("v=spf1 mx -all"), "\"v=spf1 mx -all\"");
        assert_eq!(quoted("say \"\\\" ü;"), "\"say \\\"\\\\\\\" \\195\\188;\"");
        let long = quoted(&"a".repeat(300));
        assert_eq!(
            long,
            format!("\"{}\" \"{}\"", "a".repeat(255), "a".repeat(45))
        );
    }

    #[test]
    fn zones_hold_hosts_their_addresses_and_what_services_want_said() {
        let home = tempfile::tempdir().unwrap();
        let mut facts = signing(home.path());
        facts.stack.network = Some(NetworkPlan {
            hosts: Subnet::parse("10.77.0.0/24").unwrap(),
            vlan: None,
        });
        let organisation = &mut facts.site.organisations[0];
        organisation.mail_domains = vec!["example.org".into(), "example.net".into()];
        facts.site.disabled = vec!["files/app".into()];
        for role in facts
            .stack
            .roles
            .iter_mut()
            .filter(|role| role.name == "edge")
        {
            role.outside = true;
        }
        let app = facts.stack.services.get_mut("app").unwrap();
        app.ports.push(Port {
            number: 443,
            protocol: "tcp".into(),
            scope: Scope::Public,
            purpose: "HTTPS".into(),
            provides: Vec::new(),
        });
        let facts = Arc::new(facts);
        let zones = zones(&Renderer::new(Arc::clone(&facts)), 0).unwrap();
        let key = facts.secrets.public("edge/app/signing").unwrap();
        let lines = |index: usize| {
            let records = zones[index].records.iter();
            let lines = records.map(|one| format!("{} {} {}", one.name, one.kind, one.content));
            (zones[index].name.as_str(), lines.collect::<Vec<_>>())
        };
        let said = format!("edge._domainkey TXT {}", quoted(&format!("p={key}")));
        assert_eq!(
            lines(0),
            (
                "example.org",
                vec![
                    "core A 10.77.0.10".to_owned(),
                    "edge A 10.77.0.11".to_owned(),
                    "files A 10.77.0.12".to_owned(),
                    said.clone(),
                ]
            )
        );
        assert_eq!(lines(1), ("example.net", vec![said]));
        let (name, pointers) = lines(2);
        assert_eq!(name, "0.77.10.in-addr.arpa");
        assert_eq!(
            pointers[1],
            "11.0.77.10.in-addr.arpa. PTR edge.example.org."
        );
        let printed = public(&facts, &zones, "192.0.2.7".parse().ok());
        let mut printed = printed.lines();
        assert_eq!(printed.next(), Some("; example.org"));
        assert_eq!(
            printed.next(),
            Some("edge.example.org. 3600 IN A 192.0.2.7")
        );
        let begin = "edge._domainkey.example.org. 3600 IN TXT \"p=MII";
        assert!(printed.next().is_some_and(|line| line.starts_with(begin)));
        assert_eq!(printed.next(), Some("; example.net"));
        assert_eq!(printed.count(), 1);
        let unknown = public(&facts, &zones, None);
        let comment = "; edge.example.org. 3600 IN A or AAAA: where edge is reached from outside";
        assert_eq!(unknown.lines().nth(1), Some(comment));
    }
}
