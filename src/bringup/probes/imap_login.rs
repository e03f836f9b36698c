//! `imap-login`: a login over IMAPS works and the inbox opens.

use super::{Arguments, Kind};
use crate::bringup::wire::imap::Session;
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct ImapLogin;

impl Kind for ImapLogin {
    fn name(&self) -> &'static str {
        "imap-login"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let user = with.get("user")?;
        let mut session = Session::open(
            network,
            with.get("host")?,
            with.port("port")?,
            with.get("name")?,
        )?;
        session.login(user, with.get("password")?)?;
        session.logout();
        Ok(format!("{user} logs in and the inbox opens"))
    }
}
