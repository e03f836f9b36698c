//! Reading from a mirror: `http`, `https` and `file` URLs, from an offset where possible.

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

/// Redirects that are followed; mirror directories need one or two.
const REDIRECTS: u32 = 5;

/// How long a mirror is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Times a request is made before it is given up.
    pub attempts: u32,
    /// Between the first two of them; three times as long after each further one.
    pub pause: Duration,
    /// For a connection to stand.
    pub connect: Duration,
    /// Without a byte from the mirror.
    pub silence: Duration,
    /// Bytes of a large file that come within `silence` at least.
    pub pace: u64,
    /// For the whole of a small file, should its bytes come one by one.
    pub small_file: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            attempts: 4,
            pause: Duration::from_millis(500),
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            pace: 60 << 10,
            small_file: Duration::from_secs(300),
        }
    }
}

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub struct Transport {
    agent: ureq::Agent,
    patience: Patience,
    /// Sent with every request; a redirect is followed without `Authorization`.
    headers: Vec<(&'static str, String)>,
}

/// An answer that has begun.
pub struct Reply {
    /// Where in the file the body starts: the wanted offset, or 0 when the mirror does not
    /// resume.
    pub offset: u64,
    /// Bytes of the body, where the mirror says so.
    pub length: Option<u64>,
    /// The body.
    pub body: Box<dyn Read>,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The mirror has no such file.
    #[error("{url}: not there{}", if url.starts_with("file:") { String::new() } else { format!(" (HTTP {status})") })]
    Missing {
        /// URL.
        url: String,
        /// Status code; 404 for a `file` URL.
        status: u16,
    },
    /// The mirror refuses.
    #[error("{url}: HTTP {status}")]
    Status {
        /// URL.
        url: String,
        /// Status code.
        status: u16,
    },
    /// The server wants to know who asks.
    #[error("{url}: HTTP 401")]
    Unauthorized {
        /// URL.
        url: String,
        /// Its `WWW-Authenticate` header.
        challenge: String,
    },
    /// The mirror resumes elsewhere than it was asked to.
    #[error("{url}: the mirror sends another part of the file than it was asked for")]
    Part {
        /// URL.
        url: String,
    },
    /// Nobody answers there.
    #[error("{url}: {reason}")]
    Unreachable {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The connection failed.
    #[error("{url}: {reason}")]
    Connection {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// Whoever answers cannot prove who it is, or speaks no TLS.
    #[error("{url}: no secure connection: {reason}")]
    Tls {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The mirror has gone silent, or is so slow that it might as well be.
    #[error("{url}: the mirror stalls: {what} within {} seconds", limit.as_secs_f32())]
    Stalled {
        /// URL.
        url: String,
        /// What did not happen.
        what: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// One redirect leads to the next.
    #[error("{url}: redirected more than {REDIRECTS} times")]
    Redirects {
        /// URL.
        url: String,
    },
    /// More bytes than may come.
    #[error("{url}: more than {limit} bytes")]
    TooLong {
        /// URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A scheme nobody speaks here.
    #[error("{url}: only http, https and file URLs are understood")]
    Scheme {
        /// URL.
        url: String,
    },
}

impl HttpError {
    /// Whether the same request may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            HttpError::Unreachable { .. }
            | HttpError::Connection { .. }
            | HttpError::Stalled { .. } => true,
            HttpError::Status { status, .. } => matches!(status, 408 | 425 | 429) || *status >= 500,
            _ => false,
        }
    }
}

/// How fast a file comes.
pub struct Pace {
    patience: Patience,
    since: Instant,
    came: u64,
}

impl Pace {
    /// So many bytes have come.
    ///
    /// # Errors
    /// So few in so long a time that the file would take for ever.
    pub fn came(&mut self, url: &str, bytes: u64) -> Result<(), HttpError> {
        self.came += bytes;
        if self.since.elapsed() < self.patience.silence {
            return Ok(());
        }
        if self.came < self.patience.pace {
            return Err(HttpError::Stalled {
                url: without_password(url),
                what: "next to nothing came",
                limit: self.patience.silence,
            });
        }
        (self.since, self.came) = (Instant::now(), 0);
        Ok(())
    }
}

impl Default for Transport {
    fn default() -> Self {
        Transport::new(Patience::default())
    }
}

impl Transport {
    /// A client that waits so long and no longer.
    pub fn new(patience: Patience) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Transport {
            agent,
            patience,
            headers: Vec::new(),
        }
    }

    /// The same client, which sends one header more.
    pub fn with_header(&self, name: &'static str, value: &str) -> Transport {
        let mut other = self.clone();
        other.headers.push((name, value.to_owned()));
        other
    }

    /// Starts to read a URL at `offset`.
    pub fn get(&self, url: &str, offset: u64) -> Result<Reply, HttpError> {
        if let Some(path) = url.strip_prefix("file://") {
            return read_file(url, path, offset);
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(HttpError::Scheme {
                url: without_password(url),
            });
        }
        let mut request = self.agent.get(url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let response = request
            .call()
            .map_err(|error| match self.failure(url, error) {
                HttpError::Connection { url, reason } => HttpError::Unreachable { url, reason },
                other => other,
            })?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name)?.to_str().ok();
        let starts_at = header("Content-Range")
            .and_then(|value| value.strip_prefix("bytes "))
            .and_then(|value| value.split('-').next())
            .and_then(|value| value.parse::<u64>().ok());
        let challenge = header("WWW-Authenticate").map(str::to_owned);
        let length = header("Content-Length").and_then(|value| value.parse().ok());
        let body = Box::new(response.into_body().into_reader());
        let reply = |offset| Reply {
            offset,
            length,
            body,
        };
        let url = without_password(url);
        match status {
            200 => Ok(reply(0)),
            206 if starts_at == Some(offset) => Ok(reply(offset)),
            206 => Err(HttpError::Part { url }),
            401 if challenge.is_some() => Err(HttpError::Unauthorized {
                url,
                challenge: challenge.unwrap_or_default(),
            }),
            404 | 410 => Err(HttpError::Missing { url, status }),
            _ => Err(HttpError::Status { url, status }),
        }
    }

    /// A whole small file, at most `limit` bytes, with retries.
    pub fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        self.patiently(|| {
            let start = Instant::now();
            let mut body = self.get(url, 0)?.body.take(limit + 1);
            let mut bytes = Vec::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                    Err(error) => return Err(self.broken(url, error)),
                }
                if start.elapsed() > self.patience.small_file {
                    return Err(HttpError::Stalled {
                        url: without_password(url),
                        what: "the file did not come",
                        limit: self.patience.small_file,
                    });
                }
            }
            if bytes.len() as u64 > limit {
                return Err(HttpError::TooLong {
                    url: without_password(url),
                    limit,
                });
            }
            Ok(bytes)
        })
    }

    /// Watches a large file come.
    pub fn pace(&self) -> Pace {
        Pace {
            patience: self.patience,
            since: Instant::now(),
            came: 0,
        }
    }

    /// Repeats an attempt whose failure may pass, waiting longer each time.
    pub fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let mut pause = self.patience.pause;
        for _ in 1..self.patience.attempts {
            match attempt() {
                Err(error) if error.is_passing() => std::thread::sleep(pause),
                result => return result,
            }
            pause *= 3;
        }
        attempt()
    }

    /// A body that broke off, in words.
    pub fn broken(&self, url: &str, error: std::io::Error) -> HttpError {
        let disconnected = error.kind() == std::io::ErrorKind::UnexpectedEof;
        match ureq::Error::from(error) {
            _ if disconnected => HttpError::Connection {
                url: without_password(url),
                reason: "the mirror hung up in the middle of the file".into(),
            },
            error => self.failure(url, error),
        }
    }

    /// The proxy that the environment names for this URL, as it may be shown.
    fn proxy(&self, url: &str) -> Option<String> {
        let proxy = self.agent.config().proxy()?;
        let target = url.parse().ok()?;
        let shown = |proxy: &ureq::Proxy| format!("{}:{}", proxy.host(), proxy.port());
        (!proxy.is_no_proxy(&target)).then(|| shown(proxy))
    }

    fn failure(&self, url: &str, error: ureq::Error) -> HttpError {
        use ureq::Timeout;
        let url = without_password(url);
        let (silence, connect) = (self.patience.silence, self.patience.connect);
        let (what, limit) = match error {
            ureq::Error::TooManyRedirects => return HttpError::Redirects { url },
            ureq::Error::Timeout(Timeout::Connect) => ("no connection stood", connect),
            ureq::Error::Timeout(Timeout::RecvResponse) => ("no answer came", silence),
            ureq::Error::Timeout(_) => ("no further byte came", silence),
            error => {
                if let Some(reason) = tls(&error) {
                    return HttpError::Tls { url, reason };
                }
                let proxy = self.proxy(&url);
                let reason = match proxy {
                    Some(proxy) => format!("through the proxy {proxy}: {}", words(&error)),
                    None => words(&error),
                };
                return HttpError::Connection { url, reason };
            }
        };
        HttpError::Stalled { url, what, limit }
    }
}

/// Why TLS failed, if that is what failed.
fn tls(error: &ureq::Error) -> Option<String> {
    let ureq::Error::Io(error) = error else {
        return None;
    };
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(format!(
            "the certificate that was shown is not trusted here ({reason})"
        )),
        rustls::Error::InvalidMessage(_) => Some("what answers there speaks no TLS".into()),
        other => Some(other.to_string()),
    }
}

/// A failed connection in words, without the client's own labels.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "no address is known for this host name".into(),
        error => error.to_string(),
    }
}

fn read_file(url: &str, path: &str, offset: u64) -> Result<Reply, HttpError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => HttpError::Missing {
            url: url.to_owned(),
            status: 404,
        },
        _ => HttpError::Connection {
            url: url.to_owned(),
            reason: error.to_string(),
        },
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    Ok(Reply {
        offset,
        length: Some(size.saturating_sub(offset)),
        body: Box::new(file),
    })
}

/// A URL as it may be shown: without what stands before an `@` in its host.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => url.to_owned(),
    }
}
