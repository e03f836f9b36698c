//! `mail-signed`: a message that a person hands in arrives with the signature of the site.

use super::mail_delivery::{arrives, letter, mark};
use super::{Arguments, Kind};
use crate::bringup::wire::{Network, Refusal, smtp};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct MailSigned;

/// DKIM (RFC 6376, section 3.5).
const HEADER: &str = "DKIM-Signature";

impl Kind for MailSigned {
    fn name(&self) -> &'static str {
        "mail-signed"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (from, to) = (with.get("from")?, with.get("to")?);
        let (domain, selector) = (with.get("domain")?, with.get("selector")?);
        let mark = mark()?;
        let name = Some(with.get("name")?);
        let mut session =
            smtp::Session::open(network, with.get("host")?, with.port("port")?, name)?;
        session.login(with.get("user")?, with.get("password")?)?;
        session.send(from, to, &letter(from, to, &mark))?;
        session.quit();
        let (signed, took) = arrives(with, network, &mark, |mailbox, found| {
            let by = mailbox.search(HEADER, &format!("d={domain};"))?;
            let key = mailbox.search(HEADER, &format!("s={selector};"))?;
            Ok(found
                .iter()
                .all(|one| by.contains(one) && key.contains(one)))
        })?;
        match signed {
            true => Ok(format!(
                "a message of {from} arrived after {:.1} s, signed for {domain} with the key {selector}",
                took.as_secs_f32()
            )),
            false => Err(Refusal::Other(format!(
                "a message of {from} arrived, but has no signature for {domain} with the key {selector}"
            ))),
        }
    }
}
