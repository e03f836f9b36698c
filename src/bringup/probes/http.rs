//! `http`: a page answers with the status (200) and contains the text.

use super::{Arguments, Kind};
use crate::bringup::wire::http::{Browser, Page, Url};
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Http;

impl Kind for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let url = Url::parse(with.get("url")?)?;
        let page = Browser::new(network, with.maybe("address")).get(&url)?;
        expect(&page, with.maybe("status").unwrap_or("200"))?;
        if let Some(text) = with.maybe("contains") {
            contains(&page, text)?;
        }
        Ok(format!("{url} answers {}", page.line))
    }
}

/// The page has this status.
pub fn expect(page: &Page, status: &str) -> Result<(), Refusal> {
    if page.status.to_string() == status {
        Ok(())
    } else {
        Err(Refusal::Other(format!(
            "{} answers {}, not {status}",
            page.url, page.line
        )))
    }
}

/// The page has this text.
pub fn contains(page: &Page, text: &str) -> Result<(), Refusal> {
    if page.body.contains(text) {
        Ok(())
    } else {
        Err(Refusal::Other(format!(
            "{} answers {}, but without `{text}`",
            page.url, page.line
        )))
    }
}
