//! Reading from a mirror: `http`, `https` and `file` URLs, from an offset where possible.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

/// Times a request is made before it is given up.
const ATTEMPTS: u32 = 4;

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub struct Transport {
    agent: ureq::Agent,
}

/// An answer that has begun.
pub struct Reply {
    /// Where in the file the body starts: the wanted offset, or 0 when the mirror does not
    /// resume.
    pub offset: u64,
    /// The body.
    pub body: Box<dyn Read>,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The mirror has no such file.
    #[error("{url}: not there (HTTP {status})")]
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
    /// The connection failed.
    #[error("{url}: {reason}")]
    Connection {
        /// URL.
        url: String,
        /// Why.
        reason: String,
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
            HttpError::Connection { .. } => true,
            HttpError::Status { status, .. } => matches!(status, 408 | 425 | 429) || *status >= 500,
            _ => false,
        }
    }
}

impl Default for Transport {
    fn default() -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Transport { agent }
    }
}

impl Transport {
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
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let response = request.call().map_err(|error| HttpError::Connection {
            url: without_password(url),
            reason: error.to_string(),
        })?;
        let status = response.status().as_u16();
        let starts_at = response
            .headers()
            .get("Content-Range")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("bytes "))
            .and_then(|value| value.split('-').next())
            .and_then(|value| value.parse::<u64>().ok());
        let body = Box::new(response.into_body().into_reader());
        let url = without_password(url);
        match status {
            200 => Ok(Reply { offset: 0, body }),
            206 if starts_at == Some(offset) => Ok(Reply { offset, body }),
            404 | 410 => Err(HttpError::Missing { url, status }),
            _ => Err(HttpError::Status { url, status }),
        }
    }

    /// A whole small file, at most `limit` bytes, with retries.
    pub fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        patiently(|| {
            let reply = self.get(url, 0)?;
            let mut bytes = Vec::new();
            reply
                .body
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| HttpError::Connection {
                    url: without_password(url),
                    reason: error.to_string(),
                })?;
            if bytes.len() as u64 > limit {
                return Err(HttpError::TooLong {
                    url: without_password(url),
                    limit,
                });
            }
            Ok(bytes)
        })
    }
}

/// Repeats an attempt whose failure may pass, waiting longer each time.
pub fn patiently<T>(mut attempt: impl FnMut() -> Result<T, HttpError>) -> Result<T, HttpError> {
    let mut pause = Duration::from_millis(500);
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.is_passing() => std::thread::sleep(pause),
            result => return result,
        }
        pause *= 3;
    }
    attempt()
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
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    Ok(Reply {
        offset,
        body: Box::new(file),
    })
}

/// A URL as it may be shown: without what stands before an `@` in its host.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => url.to_owned(),
    }
}
