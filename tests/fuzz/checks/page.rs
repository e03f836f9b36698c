//! What servers say to probes, and a guest to its host: pages, links, event lines.

use muster::bringup::wire::form;
use muster::bringup::wire::http::Url;
use muster::machine::events;

pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mark, html) = text.split_once('\n').unwrap_or(("", &text));
    if let Some(fields) = form::fields(html, mark) {
        let held = fields.iter().map(|(name, value)| name.len() + value.len());
        assert!(held.sum::<usize>() <= 2 * html.len());
    }
    if let Some(heading) = form::heading(html) {
        assert!(heading.len() <= html.len());
    }
    let _ = form::unescape(html);
    if let Ok(url) = Url::parse(mark) {
        assert!(url.path.starts_with('/'));
        assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "{mark}");
        if let Ok(next) = url.join(html) {
            assert!(next.path.starts_with('/'), "{next}");
        }
    }
    for event in events::parse_all(&text) {
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(events::parse(&line), Some(event));
    }
}
