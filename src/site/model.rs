//! The answers of one installation. Never part of an image.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One installation. Stored on the lead as `/var/lib/muster/site.json`, mode 0600.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Site {
    /// 128 random bits, hex: tells two sites of the same name apart.
    pub id: String,
    /// One or more; the first is the default one.
    pub organisations: Vec<Organisation>,
    /// IANA time zone.
    pub timezone: String,
    /// XKB layout as in keyboard(5), for example `us`.
    pub keyboard: String,
    /// Network of each role's host.
    pub network: BTreeMap<String, Network>,
    /// The break-glass account, also a directory entry.
    pub admin: Person,
    /// Further directory entries.
    pub people: Vec<Person>,
    /// Optional services that were switched off, `role/service`.
    pub disabled: Vec<String>,
    /// Names under which routes also answer, for example `webmail.localhost` for a port
    /// forwarded from a workstation: route host → further names.
    pub aliases: BTreeMap<String, Vec<String>>,
}

impl Site {
    /// What a host goes by that has not joined its site yet.
    pub fn nobodys(role: &str) -> Site {
        Site {
            id: String::new(),
            organisations: Vec::new(),
            timezone: "Etc/UTC".into(),
            keyboard: "us".into(),
            network: BTreeMap::from([(role.to_owned(), Network::Dhcp {})]),
            admin: Person {
                name: String::new(),
                full_name: String::new(),
                password_hash: String::new(),
                ssh_keys: Vec::new(),
            },
            people: Vec::new(),
            disabled: Vec::new(),
            aliases: BTreeMap::new(),
        }
    }
}

/// A company or a part of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Organisation {
    /// Short id, `[a-z][a-z0-9-]*`.
    pub id: String,
    /// As people write it.
    pub name: String,
    /// DNS domain, lower case.
    pub domain: String,
    /// LDAP base, `dc=example,dc=org`.
    pub base_dn: String,
    /// Mail domains; the first is the default one.
    pub mail_domains: Vec<String>,
}

/// A person of the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Person {
    /// Login name, `[a-z][a-z0-9-]*`.
    pub name: String,
    /// As people write it.
    pub full_name: String,
    /// crypt(5) hash, `$6$…` or `$y$…`.
    pub password_hash: String,
    /// Public keys in authorized_keys(5) form.
    pub ssh_keys: Vec<String>,
}

/// How a host reaches the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "mode")]
pub enum Network {
    /// Address by DHCP and router advertisements.
    Dhcp {},
    /// Address given.
    Static {
        /// `10.0.0.5/24` or `fd00::5/64`.
        address: String,
        /// Default gateway.
        gateway: Option<String>,
        /// Name servers.
        dns: Vec<String>,
    },
}
