//! A connection, in the clear or under TLS, read by line or by length.

use super::{Network, Refusal};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Longest line taken from a server.
const LONGEST_LINE: usize = 64 * 1024;

enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    Gone,
}

/// A buffered connection.
pub struct Stream {
    link: Link,
    /// Address and port, for words.
    address: String,
    seconds: u64,
    buffer: Vec<u8>,
}

impl Stream {
    /// Connects in the clear.
    pub fn plain(network: &Network, host: &str, port: u16) -> Result<Stream, Refusal> {
        let address = SocketAddr::new(network.resolve(host)?, port);
        let seconds = network.limit.as_secs();
        let words = |error: std::io::Error| io_words(&error, &address.to_string(), seconds);
        let knock = network.knock();
        let socket = TcpStream::connect_timeout(&address, knock)
            .map_err(|error| io_words(&error, &address.to_string(), knock.as_secs()))?;
        socket
            .set_read_timeout(Some(network.limit))
            .and_then(|()| socket.set_write_timeout(Some(network.limit)))
            .map_err(words)?;
        // What is sent is whole: without this each small message waits for an answer.
        let _ = socket.set_nodelay(true);
        Ok(Stream {
            link: Link::Plain(socket),
            address: address.to_string(),
            seconds,
            buffer: Vec::new(),
        })
    }

    /// Connects under TLS and checks the certificate for `name` against the site CA.
    pub fn tls(network: &Network, host: &str, port: u16, name: &str) -> Result<Stream, Refusal> {
        let mut stream = Stream::plain(network, host, port)?;
        stream.secure(network, name)?;
        Ok(stream)
    }

    /// Begins TLS on a connection in the clear.
    pub fn secure(&mut self, network: &Network, name: &str) -> Result<(), Refusal> {
        let Link::Plain(mut socket) = std::mem::replace(&mut self.link, Link::Gone) else {
            return Err(Refusal::Other("the connection is under TLS already".into()));
        };
        if !self.buffer.is_empty() {
            // Injected in the clear, before TLS (CVE-2011-0411).
            return Err(Refusal::Other(format!(
                "{} sent something between its answer and TLS",
                self.address
            )));
        }
        let server = ServerName::try_from(name.to_string())
            .map_err(|_| Refusal::Other(format!("`{name}` cannot be in a certificate")))?;
        let mut connection = ClientConnection::new(trust(network)?, server)
            .map_err(|error| Refusal::Other(error.to_string()))?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut socket)
                .map_err(|error| tls_words(&error, name, &self.address, self.seconds))?;
        }
        self.link = Link::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(())
    }

    /// Address and port of the other side.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let sent = match &mut self.link {
            Link::Plain(socket) => socket.write_all(bytes),
            Link::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            Link::Gone => Err(ErrorKind::NotConnected.into()),
        };
        sent.map_err(|error| self.words(&error))
    }

    fn words(&self, error: &std::io::Error) -> Refusal {
        io_words(error, &self.address, self.seconds)
    }

    /// Reads some more into the buffer; `false` at the end.
    fn fill(&mut self) -> Result<bool, Refusal> {
        let mut chunk = [0; 8192];
        let read = match &mut self.link {
            Link::Plain(socket) => socket.read(&mut chunk),
            Link::Tls(tls) => tls.read(&mut chunk),
            Link::Gone => Err(ErrorKind::NotConnected.into()),
        };
        match read {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            // Many servers hang up without saying goodbye in TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(self.words(&error)),
        }
    }

    /// One line without its end.
    pub fn line(&mut self) -> Result<String, Refusal> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                return Ok(text.trim_end_matches(['\r', '\n']).to_string());
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(Refusal::Other(format!(
                    "{} sends a line without end",
                    self.address
                )));
            }
            if !self.fill()? {
                return Err(Refusal::Closed(self.address.clone()));
            }
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Refusal> {
        while self.buffer.len() < count {
            if !self.fill()? {
                return Err(Refusal::Closed(self.address.clone()));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything up to the end, at most `limit` bytes.
    pub fn rest(&mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        while self.buffer.len() < limit && self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }
}

/// A client configuration that trusts the site CA alone.
fn trust(network: &Network) -> Result<Arc<ClientConfig>, Refusal> {
    let path = network.ca.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&network.ca)
        .map_err(|error| Refusal::Other(format!("the site CA {path} cannot be read: {error}")))?;
    for certificate in certificates {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added.map_err(|error| Refusal::Other(format!("the site CA {path} is damaged: {error}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::Other(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn io_words(error: &std::io::Error, address: &str, seconds: u64) -> Refusal {
    let address = address.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Refusal::Refused(address),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Refusal::Silent { address, seconds },
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            Refusal::Closed(address)
        }
        _ => Refusal::Unreachable {
            address,
            reason: error.to_string(),
        },
    }
}

fn tls_words(error: &std::io::Error, name: &str, address: &str, seconds: u64) -> Refusal {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(inner) = inner else {
        return match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Refusal::Said {
                what: format!("TLS with {address}"),
                words: "it hung up; it may not speak TLS".into(),
            },
            _ => io_words(error, address, seconds),
        };
    };
    match inner {
        rustls::Error::InvalidCertificate(problem) => {
            Refusal::Certificate(certificate_words(problem, name, address))
        }
        rustls::Error::InvalidMessage(_) => Refusal::Said {
            what: format!("TLS with {address}"),
            words: "the answer is not TLS".into(),
        },
        other => Refusal::Said {
            what: format!("TLS with {address}"),
            words: other.to_string(),
        },
    }
}

/// rustls writes `DnsName("mail.x")`.
fn plain(presented: &[String]) -> String {
    let names: Vec<&str> = presented
        .iter()
        .map(|name| name.split('"').nth(1).unwrap_or(name))
        .collect();
    names.join(", ")
}

fn certificate_words(problem: &CertificateError, name: &str, address: &str) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            format!("the certificate of {address} is not signed by the site CA")
        }
        CertificateError::NotValidForName => {
            format!("the certificate of {address} is not for {name}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate of {address} is not for {name}, but for {}",
            plain(presented)
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {address} has expired (or this clock is ahead)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {address} is not valid yet (or this clock is behind)")
        }
        CertificateError::BadSignature => {
            format!("the certificate of {address} is not signed by the site CA")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!("the certificate of {address} is not signed by the site CA but by itself")
        }
        other => format!("the certificate of {address} is not acceptable: {other}"),
    }
}
