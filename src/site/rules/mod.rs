//! The rules an answer must keep. Each takes what was typed and gives it back tidied, or
//! says why not. Pure.

pub mod domain;
pub mod network;
pub mod person;
pub mod place;
pub mod ssh_key;

use super::refusal::Refusal;

/// Free text of one line.
pub(super) fn line(text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Refusal::Control);
    }
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if text.chars().count() > most {
        return Err(Refusal::TooLong(most));
    }
    Ok(text.into())
}

/// The known name nearest to a mistyped one.
fn nearest<'a>(value: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let value = value.to_lowercase();
    known
        .map(|name| {
            let lower = name.to_lowercase();
            // `Berlin` for `Europe/Berlin` is nearer than its edit distance tells.
            let tail = lower.rsplit('/').next().unwrap_or(&lower);
            let likeness =
                strsim::jaro_winkler(&value, &lower).max(strsim::jaro_winkler(&value, tail));
            (likeness, name)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)))
        .map(|(_, name)| name.to_string())
}
