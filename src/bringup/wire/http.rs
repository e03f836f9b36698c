//! HTTP/1.1 as a browser speaks it: cookies, forms, redirects. RFC 9112.

use super::stream::Stream;
use super::{Network, Refusal};
use std::collections::BTreeMap;

/// Largest page taken.
const LARGEST: usize = 8 << 20;

/// Headers taken with one page.
const MOST_HEADERS: usize = 500;

/// Redirects followed for one page.
const REDIRECTS: usize = 8;

/// An address of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether under TLS.
    pub secure: bool,
    /// Name or address.
    pub host: String,
    /// Port, given or usual.
    pub port: u16,
    /// Path and query, with the leading slash.
    pub path: String,
}

impl Url {
    /// Parses `http://…` or `https://…`.
    pub fn parse(text: &str) -> Result<Url, Refusal> {
        let wrong = || Refusal::Other(format!("`{text}` is not an http or https URL"));
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let rest = rest.split('#').next().unwrap_or("");
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        let usual = if secure { 443 } else { 80 };
        let (host, port) = split_port(authority).unwrap_or((authority, usual));
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Url {
            secure,
            host: host.to_string(),
            port,
            path: if path.starts_with('/') {
                path.to_string()
            } else {
                format!("/{path}")
            },
        })
    }

    /// Where a link on this page leads. RFC 3986 §5.2, as far as pages use it.
    pub fn join(&self, link: &str) -> Result<Url, Refusal> {
        if link.contains("://") {
            return Url::parse(link);
        }
        if let Some(rest) = link.strip_prefix("//") {
            let scheme = if self.secure { "https" } else { "http" };
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let folder = &own[..own.rfind('/').map_or(0, |slash| slash + 1)];
        let path = match link.trim_start_matches("./") {
            absolute if absolute.starts_with('/') => absolute.to_string(),
            query if query.starts_with('?') => {
                // `?x` keeps the whole path, `./?x` its folder only.
                if link.starts_with('.') {
                    format!("{folder}{query}")
                } else {
                    format!("{own}{query}")
                }
            }
            relative => format!("{folder}{relative}"),
        };
        Ok(Url {
            path: path.split('#').next().unwrap_or("/").to_string(),
            ..self.clone()
        })
    }

    fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// `host:port`, also with an IPv6 address in brackets.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if host.contains(':') && !host.ends_with(']') {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it came from, after redirects.
    pub url: Url,
    /// Status code.
    pub status: u16,
    /// Status code and its words.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The text.
    pub body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A visitor who keeps cookies.
pub struct Browser<'a> {
    network: &'a Network,
    /// Where to connect instead of where the names lead.
    address: Option<String>,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    /// A visitor; `address` (`host` or `host:port`) overrides where names lead.
    pub fn new(network: &'a Network, address: Option<&str>) -> Browser<'a> {
        Browser {
            network,
            address: address.filter(|text| !text.is_empty()).map(Into::into),
            cookies: BTreeMap::new(),
        }
    }

    /// Fetches a page, following redirects.
    pub fn get(&mut self, url: &Url) -> Result<Page, Refusal> {
        self.follow(url, None)
    }

    /// Sends a form, following redirects.
    pub fn post(&mut self, url: &Url, fields: &[(String, String)]) -> Result<Page, Refusal> {
        let form: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.follow(url, Some(form.join("&")))
    }

    fn follow(&mut self, url: &Url, form: Option<String>) -> Result<Page, Refusal> {
        let (mut url, mut form) = (url.clone(), form);
        for _ in 0..REDIRECTS {
            let page = self.once(&url, form.as_deref())?;
            let to = match (page.status, page.header("location")) {
                (301..=303 | 307 | 308, Some(link)) => page.url.join(link)?,
                _ => return Ok(page),
            };
            if page.status < 307 {
                form = None;
            }
            url = to;
        }
        Err(Refusal::Other(format!("{url} redirects in a circle")))
    }

    /// One request on a connection of its own.
    fn once(&mut self, url: &Url, form: Option<&str>) -> Result<Page, Refusal> {
        let (host, port) = match &self.address {
            Some(address) => split_port(address).unwrap_or((address, url.port)),
            None => (url.host.as_str(), url.port),
        };
        let mut stream = if url.secure {
            Stream::tls(self.network, host, port, &url.host)?
        } else {
            Stream::plain(self.network, host, port)?
        };
        let method = if form.is_some() { "POST" } else { "GET" };
        let mut request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: */*\r\n\
             User-Agent: muster/{}\r\n",
            url.path,
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        if let Some(form) = form {
            request.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            ));
        }
        request.push_str("\r\n");
        request.push_str(form.unwrap_or(""));
        stream.send(request.as_bytes())?;
        let page = read(&mut stream, url)?;
        for (_, value) in page.headers.iter().filter(|(name, _)| name == "set-cookie") {
            self.take_cookie(value);
        }
        Ok(page)
    }

    fn take_cookie(&mut self, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let ended = parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) || value == "-del-";
        if ended {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_string(), value.to_string());
        }
    }
}

fn read(stream: &mut Stream, url: &Url) -> Result<Page, Refusal> {
    let (line, headers) = loop {
        let line = stream.line()?;
        let Some((_, status)) = line
            .split_once(' ')
            .filter(|(v, _)| v.starts_with("HTTP/1."))
        else {
            return Err(Refusal::said(
                format!("{} does not speak HTTP", stream.address()),
                line,
            ));
        };
        let mut headers = Vec::new();
        loop {
            let header = stream.line()?;
            if header.is_empty() {
                break;
            }
            if headers.len() == MOST_HEADERS {
                let address = stream.address();
                return Err(Refusal::Other(format!(
                    "{address} sends headers without end"
                )));
            }
            if let Some((name, value)) = header.split_once(':') {
                headers.push((name.trim().to_lowercase(), value.trim().to_string()));
            }
        }
        // 100 Continue and its like come before the answer.
        if !status.starts_with('1') {
            break (status.to_string(), headers);
        }
    };
    let mut page = Page {
        url: url.clone(),
        status: line
            .split(' ')
            .next()
            .and_then(|code| code.parse().ok())
            .unwrap_or(0),
        line,
        headers,
        body: String::new(),
    };
    let length = page
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let chunked = page
        .header("transfer-encoding")
        .is_some_and(|coding| coding.to_lowercase().contains("chunked"));
    let body = match (page.status, chunked, length) {
        (204 | 304, _, _) => Vec::new(),
        (_, true, _) => chunks(stream)?,
        (_, false, Some(length)) if length <= LARGEST => stream.bytes(length)?,
        (_, false, Some(_)) => return Err(Refusal::Other(format!("{url} is too large"))),
        (_, false, None) => stream.rest(LARGEST)?,
    };
    page.body = String::from_utf8_lossy(&body).into_owned();
    Ok(page)
}

fn chunks(stream: &mut Stream) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    loop {
        let line = stream.line()?;
        let digits = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(digits, 16)
            .ok()
            .filter(|size| *size <= LARGEST - body.len())
            .ok_or_else(|| Refusal::Other(format!("a chunk of {} is damaged", stream.address())))?;
        if size == 0 {
            return Ok(body);
        }
        body.extend(stream.bytes(size)?);
        stream.line()?;
    }
}

/// Percent-encoding of forms.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_a_browser_goes() {
        let base = Url::parse("https://webmail.x:8443/mail/index.php?_task=login").expect("a URL");
        for (link, to) in [
            ("/other", "https://webmail.x:8443/other"),
            ("./?_task=mail", "https://webmail.x:8443/mail/?_task=mail"),
            (
                "?_task=mail",
                "https://webmail.x:8443/mail/index.php?_task=mail",
            ),
            ("a.css#x", "https://webmail.x:8443/mail/a.css"),
            ("http://y", "http://y/"),
            ("//y/z", "https://y/z"),
        ] {
            assert_eq!(base.join(link).expect("a link").to_string(), to, "{link}");
        }
        for wrong in ["webmail.x", "ftp://x/", "https:///x"] {
            assert_eq!(
                Url::parse(wrong).expect_err("no URL").to_string(),
                format!("`{wrong}` is not an http or https URL")
            );
        }
    }

    #[test]
    fn forms_are_encoded_so_that_no_value_becomes_a_field() {
        assert_eq!(encode("a&b=c d+é"), "a%26b%3Dc+d%2B%C3%A9");
    }
}
