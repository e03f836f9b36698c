//! A registry of container images (OCI distribution specification 1.1, "Pull"), asked as nobody
//! in particular: for a token first, where it wants one.

use super::manifest::accepted;
use crate::packages::cache::Cache;
use crate::packages::download::{DownloadError, Wanted, download};
use crate::packages::http::{HttpError, Transport};
use crate::packages::lock::{Blob, Part};
use crate::profile::artifact::Reference;
use std::sync::{Mutex, PoisonError};

/// Bytes of a token's answer at most.
const TOKEN: u64 = 64 << 10;

/// What a registry would not give.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It did not arrive.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It wants to know who asks, and not by a token for anybody.
    #[error("{url}: the registry wants a login ({why})")]
    Login {
        /// URL.
        url: String,
        /// What it said.
        why: String,
    },
}

impl From<HttpError> for RegistryError {
    fn from(error: HttpError) -> Self {
        RegistryError::Download(error.into())
    }
}

impl RegistryError {
    /// What it asks for, if it asks who is there.
    fn challenge(&self) -> Option<(&str, &str)> {
        match self {
            RegistryError::Download(DownloadError::Http(HttpError::Unauthorized {
                url,
                challenge,
            })) => Some((url, challenge)),
            _ => None,
        }
    }
}

/// One repository of a registry.
pub struct Registry {
    /// `https://…/v2/<repository>`.
    root: String,
    repository: String,
    transport: Transport,
    token: Mutex<Option<String>>,
}

impl Registry {
    /// The repository of an image. TLS is left out on this computer alone, as other clients do.
    pub fn of(image: &Reference, transport: Transport) -> Registry {
        let host = match image.registry.as_str() {
            // The name of the registry that came first is not where it answers.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let scheme = if here { "http" } else { "https" };
        Registry {
            root: format!("{scheme}://{host}/v2/{}", image.repository),
            repository: image.repository.clone(),
            transport: transport.with_header("Accept", &format!("{}, */*", accepted())),
            token: Mutex::default(),
        }
    }

    /// Where a part of an image is.
    pub fn url(&self, part: Part, sha256: &str) -> String {
        let kind = match part {
            Part::Index | Part::Manifest => "manifests",
            Part::Config | Part::Layer => "blobs",
        };
        format!("{}/{kind}/sha256:{sha256}", self.root)
    }

    /// A part whose size is not known yet, `limit` bytes at most and not verified.
    pub fn read(&self, part: Part, sha256: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let url = self.url(part, sha256);
        self.admitted(&|transport| Ok(transport.read(&url, limit)?))
    }

    /// Puts a part into the cache, verified.
    pub fn fetch(
        &self,
        cache: &Cache,
        blob: &Blob,
        progress: &dyn Fn(i64),
    ) -> Result<(), RegistryError> {
        let url = self.url(blob.part, &blob.sha256);
        let wanted = Wanted {
            sha256: blob.sha256.clone(),
            size: blob.size,
        };
        self.admitted(&|transport| Ok(download(transport, cache, &url, &wanted, progress)?))
    }

    /// Asks with the token there is; and once more with a new one, since none lasts.
    fn admitted<T>(
        &self,
        ask: &dyn Fn(&Transport) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let lock = || self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let with = |token: &Option<String>| match token {
            Some(token) => self
                .transport
                .with_header("Authorization", &format!("Bearer {token}")),
            None => self.transport.clone(),
        };
        let token = lock().clone();
        let refused = match ask(&with(&token)) {
            Err(error) if error.challenge().is_some() => error,
            answer => return answer,
        };
        let Some((url, challenge)) = refused.challenge() else {
            return Err(refused);
        };
        let renewed = {
            let mut known = lock();
            // Another connection may have got one while this one was refused.
            if *known == token {
                *known = Some(self.new_token(url, challenge)?);
            }
            known.clone()
        };
        ask(&with(&renewed)).map_err(|error| match error.challenge() {
            Some((url, _)) => RegistryError::Login {
                url: url.to_owned(),
                why: "a token for anybody does not do".into(),
            },
            None => error,
        })
    }

    /// A token for anybody (distribution registry, "Token Authentication Specification").
    fn new_token(&self, url: &str, challenge: &str) -> Result<String, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let login = |why: String| RegistryError::Login {
            url: url.to_owned(),
            why,
        };
        let scheme = challenge.split(' ').next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(login(format!("it speaks of `{scheme}`")));
        }
        let realm = parameter(challenge, "realm").unwrap_or_default();
        let same_way = self.root.starts_with("http://") || realm.starts_with("https://");
        if !(realm.starts_with("http://") || realm.starts_with("https://")) || !same_way {
            return Err(login(format!("its tokens come from `{realm}`")));
        }
        let scope = parameter(challenge, "scope")
            .unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut query = vec![("scope", scope)];
        if let Some(service) = parameter(challenge, "service") {
            query.insert(0, ("service", service));
        }
        let query: Vec<String> = query
            .iter()
            .map(|(key, value)| format!("{key}={}", escaped(value)))
            .collect();
        let separator = if realm.contains('?') { '&' } else { '?' };
        let place = format!("{realm}{separator}{}", query.join("&"));
        let bytes = self.transport.read(&place, TOKEN)?;
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| login(format!("{realm} answers with no token")))?;
        let token = answer.token.or(answer.access_token).unwrap_or_default();
        // It becomes part of a header.
        match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(token),
            false => Err(login(format!("{realm} answers with no token"))),
        }
    }
}

/// A parameter of a challenge: `Bearer realm="…",service="…"` (RFC 9110, §11.6.1).
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, mut rest) = challenge.split_once(' ')?;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        let (key, after) = rest.split_once('=')?;
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices();
            loop {
                match characters.next()? {
                    (at, '"') => {
                        rest = &quoted[at + 1..];
                        break;
                    }
                    (_, '\\') => text.push(characters.next()?.1),
                    (_, other) => text.push(other),
                }
            }
            value = text;
        } else {
            let end = after.find([',', ' ']).unwrap_or(after.len());
            value = after[..end].to_owned();
            rest = &after[end..];
        }
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
    }
}

/// A text as a value of a query (RFC 3986, §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="re\"g", scope="repository:a/b:pull,push",error=x"#;
        let get = |name| parameter(challenge, name);
        assert_eq!(get("realm").as_deref(), Some("https://auth.example/token"));
        assert_eq!(get("service").as_deref(), Some("re\"g"));
        assert_eq!(get("scope").as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(get("error").as_deref(), Some("x"));
        assert_eq!(get("other"), None);
        assert_eq!(parameter("Bearer", "realm"), None);
        assert_eq!(parameter("Bearer realm=\"open", "realm"), None);
    }

    #[test]
    fn scopes_are_escaped() {
        assert_eq!(escaped("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
    }

    #[test]
    fn only_this_computer_is_asked_without_tls() {
        let url = |registry: &str| {
            let reference = Reference {
                registry: registry.into(),
                repository: "a/b".into(),
                sha256: String::new(),
            };
            Registry::of(&reference, Transport::default()).url(Part::Layer, "00")
        };
        for (registry, wanted) in [
            (
                "docker.io",
                "https://registry-1.docker.io/v2/a/b/blobs/sha256:00",
            ),
            (
                "localhost.example:80",
                "https://localhost.example:80/v2/a/b/blobs/sha256:00",
            ),
            (
                "127.0.0.1:5000",
                "http://127.0.0.1:5000/v2/a/b/blobs/sha256:00",
            ),
            ("[::1]:5000", "http://[::1]:5000/v2/a/b/blobs/sha256:00"),
            ("localhost", "http://localhost/v2/a/b/blobs/sha256:00"),
        ] {
            assert_eq!(url(registry), wanted);
        }
    }
}
