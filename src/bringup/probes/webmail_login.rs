//! `webmail-login`: a person logs in to the webmail over HTTPS.

use super::http::expect;
use super::{Arguments, Kind};
use crate::bringup::wire::http::{Browser, Page, Url};
use crate::bringup::wire::{Network, Refusal, form};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct WebmailLogin;

impl Kind for WebmailLogin {
    fn name(&self) -> &'static str {
        "webmail-login"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (_, page) = login(with, network)?;
        Ok(format!(
            "{} logs in at {}",
            with.get("user")?,
            page.url.host
        ))
    }
}

/// Logs in to Roundcube as a person does; gives the browser and the mailbox page.
pub fn login<'a>(
    with: &Arguments<'_>,
    network: &'a Network,
) -> Result<(Browser<'a>, Page), Refusal> {
    let url = Url::parse(with.get("url")?)?;
    let user = with.get("user")?;
    let mut browser = Browser::new(network, with.maybe("address"));
    let entry = browser.get(&url)?;
    expect(&entry, "200")?;
    let mut fields = form::fields(&entry.body, "login-form")
        .filter(|fields| form::value(fields, "_token").is_some())
        .ok_or_else(|| {
            Refusal::Other(match form::heading(&entry.body) {
                Some(heading) => format!("{} shows no login form, but: {heading}", entry.url),
                None => format!("{} shows no login form", entry.url),
            })
        })?;
    form::set(&mut fields, "_user", user);
    form::set(&mut fields, "_pass", with.get("password")?);
    let page = browser.post(&entry.url.join("./?_task=login")?, &fields)?;
    if page.url.path.contains("_task=mail") && page.status == 200 {
        return Ok((browser, page));
    }
    let words = message(&page.body).unwrap_or_else(|| format!("it answers {}", page.line));
    Err(Refusal::said(format!("webmail login as {user}"), words))
}

/// What Roundcube says to the person: the text of its last `display_message` call.
pub fn message(body: &str) -> Option<String> {
    let (_, call) = body.rsplit_once("display_message(\"")?;
    let mut text = String::new();
    let mut letters = call.chars();
    loop {
        match letters.next()? {
            '"' => return Some(form::unescape(&text)),
            '\\' => match letters.next()? {
                'n' => text.push(' '),
                'u' => {
                    let digits: String = letters.by_ref().take(4).collect();
                    let letter = u32::from_str_radix(&digits, 16).ok();
                    text.extend(letter.and_then(char::from_u32));
                }
                letter => text.push(letter),
            },
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reason_is_what_the_person_would_read() {
        let body = r#"rcmail.display_message("Login failed.","warning",0);"#;
        assert_eq!(super::message(body).as_deref(), Some("Login failed."));
        let body = r#"display_message("a","x");display_message("\"b\" \u00e4","error")"#;
        assert_eq!(super::message(body).as_deref(), Some("\"b\" ä"));
        assert_eq!(super::message("nothing"), None);
    }
}
