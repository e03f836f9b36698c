//! SMTP: handing in one message. RFC 5321, STARTTLS RFC 3207, AUTH PLAIN RFC 4616.

use super::stream::Stream;
use super::{Network, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The port where TLS begins before SMTP (RFC 8314 §3.3).
const IMPLICIT_TLS: u16 = 465;

/// A session after EHLO.
pub struct Session {
    stream: Stream,
    offers: Vec<String>,
}

impl Session {
    /// Connects. With a `name`, TLS is required and the certificate must be for it.
    pub fn open(
        network: &Network,
        host: &str,
        port: u16,
        name: Option<&str>,
    ) -> Result<Session, Refusal> {
        let stream = match name {
            Some(name) if port == IMPLICIT_TLS => Stream::tls(network, host, port, name)?,
            _ => Stream::plain(network, host, port)?,
        };
        let mut session = Session {
            stream,
            offers: Vec::new(),
        };
        session.reply("greeting", 220)?;
        session.hello()?;
        if let Some(name) = name
            && port != IMPLICIT_TLS
        {
            if !session.offers.iter().any(|offer| offer == "STARTTLS") {
                return Err(Refusal::Other(format!(
                    "{} does not offer STARTTLS",
                    session.stream.address()
                )));
            }
            session.order("STARTTLS", "STARTTLS", 220)?;
            session.stream.secure(network, name)?;
            session.hello()?;
        }
        Ok(session)
    }

    fn hello(&mut self) -> Result<(), Refusal> {
        let lines = self.order("EHLO localhost", "EHLO", 250)?;
        self.offers = lines
            .into_iter()
            .skip(1)
            .map(|line| line.to_uppercase())
            .collect();
        Ok(())
    }

    /// One order; `what` is shown instead of it when it is refused.
    fn order(&mut self, order: &str, what: &str, wanted: u16) -> Result<Vec<String>, Refusal> {
        self.stream.send(format!("{order}\r\n").as_bytes())?;
        self.reply(what, wanted)
    }

    fn reply(&mut self, what: &str, wanted: u16) -> Result<Vec<String>, Refusal> {
        let mut lines = Vec::new();
        let mut all = Vec::new();
        loop {
            let line = self.stream.line()?;
            let text = line.get(4..).unwrap_or("").to_string();
            lines.push(text);
            let more = line.as_bytes().get(3) == Some(&b'-');
            all.push(line);
            if !more {
                break;
            }
        }
        let code = all
            .last()
            .and_then(|line| line.get(..3))
            .and_then(|code| code.parse::<u16>().ok());
        if code == Some(wanted) {
            Ok(lines)
        } else {
            Err(Refusal::said(format!("SMTP {what}"), all.join(" ")))
        }
    }

    /// Logs in.
    pub fn login(&mut self, user: &str, password: &str) -> Result<(), Refusal> {
        let plain = self.offers.iter().any(|offer| {
            offer
                .strip_prefix("AUTH ")
                .is_some_and(|kinds| kinds.split(' ').any(|k| k == "PLAIN"))
        });
        if !plain {
            return Err(Refusal::Other(format!(
                "{} does not offer AUTH PLAIN",
                self.stream.address()
            )));
        }
        let secret = BASE64.encode(format!("\0{user}\0{password}"));
        self.order(
            &format!("AUTH PLAIN {secret}"),
            &format!("login as {user}"),
            235,
        )?;
        Ok(())
    }

    /// Begins a message.
    pub fn sender(&mut self, from: &str) -> Result<(), Refusal> {
        let order = format!("MAIL FROM:<{from}>");
        self.order(&order, &format!("sender {from}"), 250)?;
        Ok(())
    }

    /// Names one of those it is for.
    pub fn recipient(&mut self, to: &str) -> Result<(), Refusal> {
        let order = format!("RCPT TO:<{to}>");
        self.order(&order, &format!("recipient {to}"), 250)?;
        Ok(())
    }

    /// Hands in one message; lines end with `\n` here.
    pub fn send(&mut self, from: &str, to: &str, message: &str) -> Result<(), Refusal> {
        self.sender(from)?;
        self.recipient(to)?;
        self.order("DATA", "DATA", 354)?;
        let mut text = String::new();
        for line in message.lines() {
            if line.starts_with('.') {
                text.push('.');
            }
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push('.');
        self.order(&text, "message", 250)?;
        Ok(())
    }

    /// Says goodbye; the work is done, so how it ends does not matter.
    pub fn quit(mut self) {
        let _ = self.order("QUIT", "QUIT", 221);
    }
}
