//! What templates see of all hosts: for names and addresses, which are derived and never written
//! by hand.

use super::Facts;
use crate::profile::Scope;
use crate::profile::network::pointer;
use minijinja::value::Value;

/// Every host that has an address, in plan order.
pub(super) fn hosts(facts: &Facts) -> Value {
    let hosts = facts.plan.hosts.iter().filter_map(|host| {
        let address = facts.address(&host.role);
        let pointer = pointer(address.parse().ok()?);
        Some(minijinja::context! {
            role => &host.role,
            fqdn => facts.fqdn(&host.role),
            address => address,
            pointer => pointer,
            routes => routes(facts, &host.role),
            takes_mail => takes_mail(facts, &host.role),
        })
    });
    hosts.collect()
}

/// The port to which others bring mail.
const SMTP: u16 = 25;

/// Whether anybody may bring mail to a host.
fn takes_mail(facts: &Facts, role: &str) -> bool {
    let mut rules = facts.plan.firewall.iter();
    rules.any(|rule| rule.role == role && rule.port == SMTP && rule.scope == Scope::Public)
}

/// The network between the hosts; nothing in a stack without one.
pub(super) fn network(facts: &Facts) -> Value {
    match &facts.stack.network {
        None => Value::from(()),
        Some(network) => minijinja::context! {
            hosts => network.hosts.to_string(),
            reverse => network.hosts.reverse(),
        },
    }
}

/// Leftmost labels of the routes that a host answers.
pub(super) fn routes(facts: &Facts, role: &str) -> Vec<String> {
    let hosts = facts.plan.hosts.iter().filter(|host| host.role == role);
    hosts
        .flat_map(|host| &host.routes)
        .filter(|route| !facts.disabled(&route.service))
        .map(|route| route.host.clone())
        .collect()
}
