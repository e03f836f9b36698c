//! Answers to a [`Site`].

use super::answers::{Answers, Problem};
use super::question::{PASSWORD, Questions, Values};
use super::rules::domain;
use super::{Network, Organisation, Person, Site};
use std::collections::BTreeMap;

/// Makes the site out of complete answers for the host of `role`. `id` is the site's own,
/// drawn once by the caller.
pub fn assemble(
    answers: &Answers,
    questions: &Questions,
    role: &str,
    id: &str,
) -> Result<Site, Vec<Problem>> {
    let values = answers.complete(questions)?;
    let value = |id: &str| values.get(id).cloned().unwrap_or_default();
    let domain = value("organisation.domain");
    let people = answers.people.iter().map(|entry| Person {
        name: entry.name.clone(),
        full_name: entry.full_name.clone(),
        password_hash: entry.password_hash.clone(),
        ssh_keys: Vec::new(),
    });
    let off = values.iter().filter(|(_, value)| *value == "no");
    Ok(Site {
        id: id.into(),
        organisations: vec![Organisation {
            id: short_id(&domain),
            name: value("organisation.name"),
            base_dn: domain::base_dn(&domain),
            mail_domains: vec![domain.clone()],
            domain,
        }],
        timezone: value("time.zone"),
        keyboard: value("keyboard.layout"),
        network: BTreeMap::from([(role.to_string(), network(&values))]),
        admin: Person {
            name: value("admin.name"),
            full_name: value("admin.full-name"),
            password_hash: value(PASSWORD),
            ssh_keys: value("admin.ssh-key").lines().map(Into::into).collect(),
        },
        people: people.collect(),
        disabled: off
            .filter_map(|(id, _)| id.strip_prefix("services."))
            .map(|service| format!("{role}/{service}"))
            .collect(),
        aliases: answers.aliases.clone(),
    })
}

/// The first label of the domain, which is an id already unless it starts with a digit.
fn short_id(domain: &str) -> String {
    let label = domain.split('.').next().unwrap_or_default();
    match label.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        true => label.into(),
        false => format!("o{label}"),
    }
}

fn network(values: &Values) -> Network {
    let value = |id: &str| values.get(id).map(String::as_str).unwrap_or_default();
    if value("network.mode") != "static" {
        return Network::Dhcp {};
    }
    let gateway = value("network.gateway");
    Network::Static {
        address: value("network.address").into(),
        gateway: (!gateway.is_empty()).then(|| gateway.into()),
        dns: value("network.dns")
            .split_whitespace()
            .map(Into::into)
            .collect(),
    }
}
