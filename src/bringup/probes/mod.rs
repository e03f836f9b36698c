//! Probes: each one real attempt at what a user or a consumer does. One file per kind.
//!
//! Names and arguments of the kinds are in [`crate::profile::probe_kinds`].

use super::wire::{Network, Refusal};
use crate::profile::Probe;
use std::collections::BTreeMap;

pub mod dns;
pub mod http;
pub mod imap_login;
pub mod ldap_bind;
pub mod mail_delivery;
pub mod mail_signed;
pub mod metrics;
pub mod ntp;
pub mod postgres;
pub mod prometheus_target;
pub mod smtp_login;
pub mod smtp_recipient;
pub mod tcp;
pub mod tls;
pub mod unit;
pub mod webmail_login;
pub mod webmail_roundtrip;

/// One kind of probe.
pub trait Kind: Sync {
    /// Name, as in `probe = "tcp"`.
    fn name(&self) -> &'static str;
    /// One attempt; what was seen, or why not.
    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal>;
}

/// Every kind, sorted by name.
pub const KINDS: &[&dyn Kind] = &[
    &dns::Dns,
    &http::Http,
    &imap_login::ImapLogin,
    &ldap_bind::LdapBind,
    &mail_delivery::MailDelivery,
    &mail_signed::MailSigned,
    &metrics::Metrics,
    &ntp::Ntp,
    &postgres::Postgres,
    &prometheus_target::PrometheusTarget,
    &smtp_login::SmtpLogin,
    &smtp_recipient::SmtpRecipient,
    &tcp::Tcp,
    &tls::Tls,
    &unit::Unit,
    &webmail_login::WebmailLogin,
    &webmail_roundtrip::WebmailRoundtrip,
];

/// Makes one attempt.
pub fn attempt(probe: &Probe, network: &Network) -> Result<String, Refusal> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.name() == probe.probe)
        .ok_or_else(|| Refusal::Other(format!("there is no probe `{}`", probe.probe)))?;
    kind.attempt(&Arguments(&probe.with), network)
}

/// The rendered arguments of a probe.
pub struct Arguments<'a>(&'a BTreeMap<String, String>);

impl Arguments<'_> {
    /// One that must be there.
    pub fn get(&self, name: &str) -> Result<&str, Refusal> {
        self.maybe(name)
            .ok_or_else(|| Refusal::Other(format!("the probe's argument `{name}` is empty")))
    }

    /// One that may be there.
    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A port number.
    pub fn port(&self, name: &str) -> Result<u16, Refusal> {
        let text = self.get(name)?;
        text.trim().parse().map_err(|_| {
            Refusal::Other(format!(
                "the probe's argument `{name}` is no port: `{text}`"
            ))
        })
    }
}

#[cfg(test)]
mod tests;
