//! `ldap-bind`: a bind works and a search below `base` finds something.

use super::{Arguments, Kind};
use crate::bringup::process::{ProcessError, Program};
use crate::bringup::wire::stream::Stream;
use crate::bringup::wire::{Network, Refusal};
use std::collections::BTreeMap;

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct LdapBind;

impl Kind for LdapBind {
    fn name(&self) -> &'static str {
        "ldap-bind"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (url, dn, base) = (with.get("url")?, with.get("bind-dn")?, with.get("base")?);
        let socket = url.starts_with("ldapi:");
        let starttls = url.starts_with("ldap:");
        if !socket {
            reach(url, network)?;
        }
        let seconds = network.limit.as_secs().to_string();
        let timeout = format!("nettimeout={seconds}");
        let mut command = vec![
            "ldapsearch",
            "-x",
            "-LLL",
            "-H",
            url,
            "-D",
            dn,
            // Arguments are public, and a file is more than a root that is only read allows.
            "-y",
            "/dev/stdin",
            "-b",
            base,
            "-z",
            "1",
            "-l",
            &seconds,
            "-o",
            &timeout,
        ];
        if starttls {
            command.push("-ZZ");
        }
        command.extend([with.maybe("filter").unwrap_or("(objectClass=*)"), "1.1"]);
        let program = Program {
            stdin: Some(with.get("password")?.to_string()),
            environment: BTreeMap::from([
                (
                    "LDAPTLS_CACERT".to_string(),
                    network.ca.display().to_string(),
                ),
                ("LDAPTLS_REQCERT".to_string(), "demand".to_string()),
            ]),
            limit: network.limit * 2,
            ..Program::new(command)
        };
        let found = match program.run() {
            Ok(said) => said.stdout,
            Err(error) => match sized(&error) {
                Some(found) => found,
                None => return Err(refusal(&error, dn, base)),
            },
        };
        if found.lines().any(|line| line.starts_with("dn:")) {
            Ok(format!("{dn} binds and finds entries below {base}"))
        } else {
            Err(Refusal::Other(format!(
                "{dn} binds, but finds nothing below {base}"
            )))
        }
    }
}

/// Whether the server is there and shows a certificate of ours, in our words rather than
/// "Can't contact LDAP server".
fn reach(url: &str, network: &Network) -> Result<(), Refusal> {
    let (secure, rest) = match url.split_once("://") {
        Some(("ldaps", rest)) => (true, rest),
        Some(("ldap", rest)) => (false, rest),
        _ => return Err(Refusal::Other(format!("`{url}` is not an LDAP URL"))),
    };
    let authority = rest.split('/').next().unwrap_or("");
    let usual = if secure { 636 } else { 389 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(usual)),
        None => (authority, usual),
    };
    if secure {
        Stream::tls(network, host, port, host).map(drop)
    } else {
        Stream::plain(network, host, port).map(drop)
    }
}

/// "Size limit exceeded" (4) means that something was found: one entry is all we ask for.
fn sized(error: &ProcessError) -> Option<String> {
    match error {
        ProcessError::Failed { code: Some(4), .. } => Some("dn:".into()),
        _ => None,
    }
}

fn refusal(error: &ProcessError, dn: &str, base: &str) -> Refusal {
    match error {
        ProcessError::Failed { code: Some(49), .. } => Refusal::Other(format!(
            "the directory refuses the name or password of {dn} (49, invalid credentials)"
        )),
        ProcessError::Failed { code: Some(32), .. } => Refusal::Other(format!(
            "{dn} binds, but cannot see {base} (32, no such object)"
        )),
        ProcessError::Failed { code: Some(50), .. } => Refusal::Other(format!(
            "{dn} binds, but may not read below {base} (50, insufficient access)"
        )),
        error => Refusal::said(format!("bind as {dn}"), error.last_words()),
    }
}
