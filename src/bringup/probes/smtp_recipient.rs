//! `smtp-recipient`: a mail server knows whose mail it takes.

use super::{Arguments, Kind};
use crate::bringup::wire::smtp::Session;
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct SmtpRecipient;

impl Kind for SmtpRecipient {
    fn name(&self) -> &'static str {
        "smtp-recipient"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (from, to) = (with.get("from")?, with.get("to")?);
        let mut session = Session::open(network, with.get("host")?, with.port("port")?, None)?;
        session.sender(from)?;
        session.recipient(to)?;
        if let Some(nobody) = with.maybe("nobody")
            && session.recipient(nobody).is_ok()
        {
            return Err(Refusal::Other(format!(
                "mail for {nobody} is taken, and nobody has that address"
            )));
        }
        session.quit();
        Ok(format!("mail for {to} is taken"))
    }
}
