//! `tls`: a certificate for the name, signed by the site CA, is presented.

use super::{Arguments, Kind};
use crate::bringup::wire::stream::Stream;
use crate::bringup::wire::{Network, Refusal, imap, smtp};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Tls;

/// The extended operation that begins TLS in LDAP, message id 1 (RFC 4511 §4.14.1).
const LDAP_STARTTLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

impl Kind for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (host, port, name) = (with.get("host")?, with.port("port")?, with.get("name")?);
        match with.maybe("starttls") {
            None => {
                Stream::tls(network, host, port, name)?;
            }
            Some("smtp") => smtp::Session::open(network, host, port, Some(name))?.quit(),
            Some("imap") => imap::Session::open(network, host, port, name)?.logout(),
            Some("ldap") => ldap(network, host, port, name)?,
            Some(other) => {
                return Err(Refusal::Other(format!(
                    "`{other}` is no STARTTLS: smtp, imap or ldap"
                )));
            }
        }
        Ok(format!(
            "{host}:{port} shows a certificate for {name} signed by the site CA"
        ))
    }
}

fn ldap(network: &Network, host: &str, port: u16, name: &str) -> Result<(), Refusal> {
    let mut stream = Stream::plain(network, host, port)?;
    stream.send(LDAP_STARTTLS)?;
    let head = stream.bytes(2)?;
    let long = head[1] > 0x7f;
    let length = if long {
        // A length of several bytes, as OpenLDAP writes it.
        stream
            .bytes(usize::from(head[1] & 0x7f).min(4))?
            .iter()
            .fold(0usize, |length, byte| length << 8 | usize::from(*byte))
    } else {
        usize::from(head[1])
    };
    let answer = stream.bytes(length.min(4096))?;
    // ExtendedResponse, then `resultCode ENUMERATED success`.
    let success = answer.windows(3).any(|bytes| bytes == [0x0a, 0x01, 0x00]);
    if head[0] != 0x30 || !success {
        return Err(Refusal::Other(format!(
            "{} refuses to begin TLS",
            stream.address()
        )));
    }
    stream.secure(network, name)
}
