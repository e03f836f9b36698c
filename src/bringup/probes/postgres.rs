//! `postgres`: a login to a database works and it answers a query.

use super::{Arguments, Kind};
use crate::bringup::process::Program;
use crate::bringup::wire::{Network, Refusal, stream::Stream};
use std::collections::BTreeMap;

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Postgres;

impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (host, port) = (with.get("host")?, with.port("port")?);
        let (user, database) = (with.get("user")?, with.get("database")?);
        // Its address, and whether anything listens, in our words rather than psql's.
        drop(Stream::plain(network, host, port)?);
        let address = network.resolve(host)?;
        let mut environment = BTreeMap::from([
            ("PGPASSWORD".to_string(), with.get("password")?.to_string()),
            ("PGHOSTADDR".to_string(), address.to_string()),
            (
                "PGCONNECT_TIMEOUT".to_string(),
                network.limit.as_secs().to_string(),
            ),
        ]);
        if !address.is_loopback() && host.parse::<std::net::IpAddr>().is_err() {
            environment.insert("PGSSLMODE".into(), "verify-full".into());
            environment.insert("PGSSLROOTCERT".into(), network.ca.display().to_string());
        }
        let port = port.to_string();
        let program = Program {
            environment,
            limit: network.limit * 2,
            ..Program::new([
                "psql",
                "--no-psqlrc",
                "--no-password",
                "--no-align",
                "--tuples-only",
                "--host",
                host,
                "--port",
                &port,
                "--username",
                user,
                "--dbname",
                database,
                "--command",
                "SELECT 1",
            ])
        };
        match program.run() {
            Ok(said) if said.stdout.trim() == "1" => {
                Ok(format!("{user} logs in to {database} and it answers"))
            }
            Ok(said) => Err(Refusal::said("the database answers oddly", said.stdout)),
            Err(error) => Err(Refusal::said(
                format!("login to {database} as {user}"),
                plain(&error.last_words()),
            )),
        }
    }
}

/// psql's last words without the address in front.
fn plain(words: &str) -> &str {
    words
        .split_once("FATAL:")
        .map_or(words, |(_, reason)| reason.trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reason_is_the_servers_own() {
        let said = "psql: error: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  \
                    password authentication failed for user \"x\"";
        assert_eq!(
            super::plain(said),
            "password authentication failed for user \"x\""
        );
        assert_eq!(super::plain("psql: error: x"), "psql: error: x");
    }
}
