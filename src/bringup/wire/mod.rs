//! Small clients of the protocols that probes speak. They connect by address (a static
//! binary asks no name service) and trust the site CA alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod datagram;
pub mod dns;
pub mod form;
pub mod http;
pub mod imap;
pub mod ntp;
pub mod smtp;
pub mod stream;

/// Why an attempt did not succeed, in words a person understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows where the name is.
    #[error("no address is known for {0}: neither the plan nor /etc/hosts names it")]
    NoAddress(String),
    /// Nothing listens there.
    #[error("connection refused by {0}")]
    Refused(String),
    /// No way there, or something on the way says no.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Address and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// It takes too long.
    #[error("no answer from {address} within {seconds} s")]
    Silent {
        /// Address and port.
        address: String,
        /// The patience there was.
        seconds: u64,
    },
    /// It hung up.
    #[error("{0} closed the connection")]
    Closed(String),
    /// The certificate is not acceptable.
    #[error("{0}")]
    Certificate(String),
    /// The server's own words.
    #[error("{what}: {words}")]
    Said {
        /// What was asked for.
        what: String,
        /// The answer.
        words: String,
    },
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// The server's own words about something.
    pub fn said(what: impl Into<String>, words: impl AsRef<str>) -> Refusal {
        Refusal::Said {
            what: what.into(),
            words: words.as_ref().trim().to_string(),
        }
    }
}

/// Names, trust and patience.
#[derive(Debug, Clone)]
pub struct Network {
    /// Names of the plan → address.
    pub names: BTreeMap<String, IpAddr>,
    /// hosts(5); wins over the plan.
    pub hosts: PathBuf,
    /// PEM of the only CA that is trusted.
    pub ca: PathBuf,
    /// For each connect, read and write.
    pub limit: Duration,
}

/// A computer answers who knocks within a moment, however busy it is: its kernel does.
const KNOCK: Duration = Duration::from_secs(10);

impl Network {
    /// How long a connection or an answer of the network itself may take.
    pub fn knock(&self) -> Duration {
        self.limit.min(KNOCK)
    }

    /// Where a name is. Names below `localhost` are this machine (RFC 6761 §6.3).
    pub fn resolve(&self, name: &str) -> Result<IpAddr, Refusal> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(address);
        }
        let name = name.trim_end_matches('.').to_lowercase();
        let hosts = read_hosts(&self.hosts);
        if let Some(address) = lookup(&hosts, &name).or_else(|| self.names.get(&name).copied()) {
            return Ok(address);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(IpAddr::from([127, 0, 0, 1]));
        }
        Err(Refusal::NoAddress(name))
    }
}

/// An absent file names nobody.
fn read_hosts(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The first line of hosts(5) with this name.
fn lookup(hosts: &str, name: &str) -> Option<IpAddr> {
    hosts.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_hosts_then_from_the_plan_and_never_from_a_server() {
        let directory = tempfile::tempdir().expect("a directory");
        let hosts = directory.path().join("hosts");
        std::fs::write(
            &hosts,
            "127.0.0.1 localhost # x y\n10.0.0.5 office.x office\n",
        )
        .expect("written");
        let network = Network {
            names: BTreeMap::from([
                ("office.x".to_string(), IpAddr::from([10, 9, 9, 9])),
                ("webmail.x".to_string(), IpAddr::from([10, 0, 0, 7])),
            ]),
            hosts,
            ca: "ca.pem".into(),
            limit: Duration::from_secs(1),
        };
        for (name, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("[fd00::5]", "fd00::5"),
            ("Office.x", "10.0.0.5"),
            ("webmail.x.", "10.0.0.7"),
            ("webmail.localhost", "127.0.0.1"),
        ] {
            let found = network.resolve(name).expect("known");
            assert_eq!(found.to_string(), address, "{name}");
        }
        assert_eq!(
            network.resolve("y").expect_err("unknown").to_string(),
            "no address is known for y: neither the plan nor /etc/hosts names it"
        );
    }
}
