//! IMAP over TLS: finding and deleting one message. RFC 3501.

use super::stream::Stream;
use super::{Network, Refusal};

/// The port where TLS begins before IMAP.
const IMPLICIT_TLS: u16 = 993;

/// A session after the greeting, under TLS.
pub struct Session {
    stream: Stream,
    count: u32,
}

impl Session {
    /// Connects; TLS at once on port 993, else by STARTTLS. The certificate must be for
    /// `name`.
    pub fn open(network: &Network, host: &str, port: u16, name: &str) -> Result<Session, Refusal> {
        let stream = if port == IMPLICIT_TLS {
            Stream::tls(network, host, port, name)?
        } else {
            Stream::plain(network, host, port)?
        };
        let mut session = Session { stream, count: 0 };
        let greeting = session.stream.line()?;
        if !greeting.starts_with("* OK") {
            return Err(Refusal::said("IMAP greeting", greeting));
        }
        if port != IMPLICIT_TLS {
            session.order("STARTTLS", "STARTTLS")?;
            session.stream.secure(network, name)?;
        }
        Ok(session)
    }

    /// One order; gives the untagged lines. `what` is shown instead of it when refused.
    fn order(&mut self, order: &str, what: &str) -> Result<Vec<String>, Refusal> {
        self.count += 1;
        let tag = format!("m{}", self.count);
        self.stream.send(format!("{tag} {order}\r\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let line = self.stream.line()?;
            match line
                .strip_prefix(&tag)
                .and_then(|rest| rest.strip_prefix(' '))
            {
                Some(answer) if answer.starts_with("OK") => return Ok(lines),
                Some(answer) => return Err(Refusal::said(format!("IMAP {what}"), answer)),
                None if line.starts_with("* BYE") && order != "LOGOUT" => {
                    return Err(Refusal::said(format!("IMAP {what}"), &line[2..]));
                }
                None => lines.push(line),
            }
        }
    }

    /// Logs in and opens the inbox.
    pub fn login(&mut self, user: &str, password: &str) -> Result<(), Refusal> {
        let order = format!("LOGIN {} {}", quote(user), quote(password));
        self.order(&order, &format!("login as {user}"))?;
        self.order("SELECT INBOX", "opening the inbox")?;
        Ok(())
    }

    /// Ids of the messages whose header has this text.
    pub fn search(&mut self, header: &str, text: &str) -> Result<Vec<u32>, Refusal> {
        // What has arrived since is only known after this.
        self.order("NOOP", "NOOP")?;
        let order = format!("UID SEARCH HEADER {header} {}", quote(text));
        let lines = self.order(&order, "search")?;
        Ok(lines
            .iter()
            .filter_map(|line| line.strip_prefix("* SEARCH"))
            .flat_map(str::split_whitespace)
            .filter_map(|id| id.parse().ok())
            .collect())
    }

    /// Deletes messages for good.
    pub fn delete(&mut self, ids: &[u32]) -> Result<(), Refusal> {
        for id in ids {
            let order = format!("UID STORE {id} +FLAGS.SILENT (\\Deleted)");
            self.order(&order, "delete")?;
        }
        if !ids.is_empty() {
            self.order("EXPUNGE", "expunge")?;
        }
        Ok(())
    }

    /// Says goodbye; the work is done, so how it ends does not matter.
    pub fn logout(mut self) {
        let _ = self.order("LOGOUT", "logout");
    }
}

/// A quoted string; line ends cannot be in one and are dropped.
fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .filter(|letter| !matches!(letter, '\r' | '\n'))
        .flat_map(|letter| {
            let slash = matches!(letter, '"' | '\\').then_some('\\');
            slash.into_iter().chain([letter])
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_become_an_order() {
        assert_eq!(quote("a\"b\\c\r\nm1 LOGOUT"), r#""a\"b\\cm1 LOGOUT""#);
    }
}
