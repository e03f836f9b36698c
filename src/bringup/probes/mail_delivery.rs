//! `mail-delivery`: a message handed in over SMTP is found in a mailbox over IMAPS.

use super::{Arguments, Kind};
use crate::bringup::process::Program;
use crate::bringup::wire::{Network, Refusal, imap, smtp};
use std::time::{Duration, Instant};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct MailDelivery;

/// How long a message may be on its way within one attempt.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so long without the message, what the queue says is believed: a host that is only busy
/// has not given up yet.
const QUEUE_FROM: Duration = Duration::from_secs(8);

/// Header that carries the mark; no filter touches it.
const HEADER: &str = "Subject";

impl Kind for MailDelivery {
    fn name(&self) -> &'static str {
        "mail-delivery"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (from, to) = (with.get("from")?, with.get("to")?);
        let mark = mark()?;
        let mut session =
            smtp::Session::open(network, with.get("host")?, with.port("port")?, None)?;
        session.send(from, to, &letter(from, to, &mark))?;
        session.quit();
        let ((), took) = arrives(with, network, &mark, |_, _| Ok(()))?;
        Ok(format!(
            "a message to {to} arrived within {:.1} s",
            took.as_secs_f32()
        ))
    }
}

/// Why this host's mail system still holds a message to this address, if it does and says so.
fn queued(to: Option<&str>) -> Option<String> {
    let mut queue = Program::new(["mailq"]);
    queue.limit = Duration::from_secs(20);
    reason(&queue.run().ok()?.stdout, to?)
}

/// The newest reason for an address in the list that mailq(1) prints: entries apart by empty
/// lines, reasons in parentheses above the addresses they are about.
fn reason(list: &str, to: &str) -> Option<String> {
    let mut newest = None;
    let mut last = None;
    for line in list.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('(') {
            last = Some(words.strip_suffix(')').unwrap_or(words));
        } else if line.is_empty() {
            last = None;
        } else if line == to {
            newest = last.or(newest);
        }
    }
    newest.map(str::to_owned)
}

/// A word that no other message has.
pub fn mark() -> Result<String, Refusal> {
    let random =
        crate::site::secrets::draw(20).map_err(|error| Refusal::Other(error.to_string()))?;
    Ok(format!("muster-probe-{random}"))
}

/// A message with this mark.
pub fn letter(from: &str, to: &str, mark: &str) -> String {
    let domain = from
        .rsplit_once('@')
        .map_or("localhost", |(_, domain)| domain);
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    format!(
        "From: <{from}>\nTo: <{to}>\nSubject: {mark}\nMessage-ID: <{mark}@{domain}>\n\
         Date: {}\nAuto-Submitted: auto-generated\n\nA probe; it is deleted at once.\n",
        jiff::fmt::rfc2822::to_string(&now).unwrap_or_default()
    )
}

/// Waits for the message with this mark in the mailbox of `user`, looks at it, and deletes it:
/// what was seen, and how long it took to arrive.
pub fn arrives<T>(
    with: &Arguments<'_>,
    network: &Network,
    mark: &str,
    look: impl FnOnce(&mut imap::Session, &[u32]) -> Result<T, Refusal>,
) -> Result<(T, Duration), Refusal> {
    let start = Instant::now();
    let user = with.get("user")?;
    let mut session = imap::Session::open(
        network,
        with.get("imap-host")?,
        with.port("imap-port")?,
        with.get("imap-name")?,
    )?;
    session.login(user, with.get("password")?)?;
    let mut pause = Duration::from_millis(100);
    loop {
        let found = session.search(HEADER, mark)?;
        if !found.is_empty() {
            let took = start.elapsed();
            let seen = look(&mut session, &found);
            session.delete(&found)?;
            session.logout();
            return Ok((seen?, took));
        }
        let waited = start.elapsed();
        let reason = match waited > QUEUE_FROM {
            true => queued(with.maybe("to")),
            false => None,
        };
        if reason.is_some() || waited > PATIENCE {
            let words = format!(
                "the message was taken, but did not arrive in the mailbox of {user} within {} s",
                waited.as_secs()
            );
            return Err(Refusal::Other(match reason {
                Some(reason) => format!("{words}; the queue says: {reason}"),
                None => words,
            }));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_newest_reason_for_an_address_is_found_in_the_queue() {
        let list = "\
-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
DD2A03F4C2      612 Sat Nov 21 09:12:50  probe@office.example.org
   (connect to office.example.org[private/dovecot-lmtp]: No such file or directory)
                                         probe@example.org

E1B0C3F4C3      612 Sat Nov 21 09:13:50  probe@office.example.org
                                                        (host unreachable)
                                         staff@example.org
                                                        (connection refused)
                                         probe@example.org

-- 1 Kbytes in 2 Requests.
";
        assert_eq!(
            reason(list, "probe@example.org").as_deref(),
            Some("connection refused")
        );
        assert_eq!(
            reason(list, "staff@example.org").as_deref(),
            Some("host unreachable")
        );
        assert_eq!(reason(list, "admin@example.org"), None);
        assert_eq!(reason("Mail queue is empty\n", "probe@example.org"), None);
    }
}
