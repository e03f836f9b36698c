//! `webmail-roundtrip`: a message written in the webmail over HTTPS is read over IMAPS.

use super::http::expect;
use super::mail_delivery::{arrives, mark};
use super::webmail_login::{login, message};
use super::{Arguments, Kind};
use crate::bringup::wire::{Network, Refusal, form};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct WebmailRoundtrip;

impl Kind for WebmailRoundtrip {
    fn name(&self) -> &'static str {
        "webmail-roundtrip"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let to = with.get("to")?;
        let mark = mark()?;
        let (mut browser, mailbox) = login(with, network)?;
        let compose = browser.get(&mailbox.url.join("./?_task=mail&_action=compose")?)?;
        expect(&compose, "200")?;
        let mut fields = form::fields(&compose.body, "name=\"form\"")
            .filter(|fields| form::value(fields, "_id").is_some())
            .ok_or_else(|| Refusal::Other("the webmail shows no form to write mail".into()))?;
        for (name, value) in [
            ("_task", "mail"),
            ("_action", "send"),
            ("_to", to),
            ("_subject", &mark),
            ("_message", "A probe; it is deleted at once."),
            ("_is_html", "0"),
            ("_draft", ""),
            ("_framed", "1"),
            // No copy in the folder of sent mail: a probe each minute would fill it.
            ("_store_target", ""),
        ] {
            form::set(&mut fields, name, value);
        }
        let sent = browser.post(&compose.url.join("./?_task=mail&_framed=1")?, &fields)?;
        expect(&sent, "200")?;
        if !sent.body.contains("sent_successfully") {
            let words = message(&sent.body).unwrap_or_else(|| "it does not say why".into());
            return Err(Refusal::said("the webmail does not send", words));
        }
        let ((), took) = arrives(with, network, &mark, |_, _| Ok(()))?;
        Ok(format!(
            "a message written in the webmail to {to} was read over IMAPS after {:.1} s",
            took.as_secs_f32()
        ))
    }
}
