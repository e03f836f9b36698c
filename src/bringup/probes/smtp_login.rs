//! `smtp-login`: a login for the submission of mail works.

use super::{Arguments, Kind};
use crate::bringup::wire::smtp::Session;
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct SmtpLogin;

impl Kind for SmtpLogin {
    fn name(&self) -> &'static str {
        "smtp-login"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let user = with.get("user")?;
        let name = with.get("name")?;
        let mut session =
            Session::open(network, with.get("host")?, with.port("port")?, Some(name))?;
        session.login(user, with.get("password")?)?;
        session.quit();
        Ok(format!("{user} logs in for submission"))
    }
}
