//! What the deputy of a site does: it keeps the sealed copy that its lead sends, and cannot read
//! it.

use super::{AgentError, Result, at};
use crate::bringup::places::Places;
use crate::mesh::line::question::Held;
use crate::site::durable;
use crate::site::sealed::Sealed;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The folder, below the agent's.
pub(super) const FOLDER: &str = "deputy";

fn path(places: &Places) -> PathBuf {
    places.state.join(FOLDER).join("copy")
}

/// The copy that this host has.
pub fn copy(places: &Places) -> Result<Option<Sealed>> {
    let path = path(places);
    match std::fs::read_to_string(&path) {
        Ok(text) => match Sealed::parse(&text) {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) => Err(AgentError::Content {
                path,
                reason: error.to_string(),
            }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Which one that is; none where it cannot be read.
pub fn held(places: &Places) -> Option<Held> {
    let (term, number) = copy(places).ok()??.head.age();
    Some(Held { term, number })
}

/// Keeps a copy of this site; it is on the disk when this returns.
///
/// # Errors
/// In words for the lead: it is no copy, of another site, or older than the one that is here.
pub fn keep(places: &Places, site: &str, text: &str) -> std::result::Result<Held, String> {
    let sealed = Sealed::parse(text).map_err(|error| error.to_string())?;
    if sealed.head.site != site {
        return Err("the copy is of another site than this deputy's".into());
    }
    let (term, number) = sealed.head.age();
    let path = path(places);
    // One that cannot be read is worth less than any other.
    if let Some(own) = held(places).filter(|own| (own.term, own.number) > (term, number)) {
        return Err(format!(
            "it has copy {} of term {}, which is newer than copy {number} of term {term}: the \
             lead was set back; if that is meant, remove {} on the deputy",
            own.number,
            own.term,
            path.display()
        ));
    }
    let folder = places.state.join(FOLDER);
    durable::make_directory(&folder, 0o700)
        .and_then(|()| durable::write(&path, text.as_bytes(), 0o600, None))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Held { term, number })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::site::recovery::Words;
    use crate::site::sealed::{FORMAT, Head, seal};

    fn sealed(words: &Words, term: u64, number: u64) -> String {
        let head = Head {
            format: FORMAT,
            site: "5".into(),
            lead: "core".into(),
            term,
            number,
            written: "2026-01-01T00:00:00Z".into(),
        };
        let text = format!("the secret of {number}");
        seal(words, head, text.as_bytes()).unwrap().text().unwrap()
    }

    #[test]
    fn the_newest_copy_is_kept_and_an_older_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::below(home.path());
        let words = Words::draw().unwrap();
        let keep = |term, number| keep(&places, "5", &sealed(&words, term, number));
        assert_eq!(held(&places), None);
        for (term, number) in [(1, 1), (1, 9), (1, 9), (2, 1)] {
            assert_eq!(keep(term, number), Ok(Held { term, number }));
            assert_eq!(held(&places), Some(Held { term, number }));
        }
        let path = home.path().join("state/deputy/copy");
        assert_eq!(
            keep(1, 10).unwrap_err(),
            format!(
                "it has copy 1 of term 2, which is newer than copy 10 of term 1: the lead was set \
                 back; if that is meant, remove {} on the deputy",
                path.display()
            )
        );
        let opened = copy(&places).unwrap().unwrap().open(&words).unwrap();
        assert_eq!(opened, b"the secret of 1");
        // Half a copy is told, and replaced by any other.
        std::fs::write(&path, "{").unwrap();
        let told = copy(&places).unwrap_err().to_string();
        assert!(
            told.contains("this is no sealed copy of a site: "),
            "{told}"
        );
        keep(1, 1).unwrap();
    }

    #[test]
    fn what_is_of_another_site_or_no_copy_is_not_kept() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::below(home.path());
        let text = sealed(&Words::draw().unwrap(), 1, 1);
        assert_eq!(
            keep(&places, "6", &text).unwrap_err(),
            "the copy is of another site than this deputy's"
        );
        let told = keep(&places, "5", &text[..text.len() / 2]).unwrap_err();
        assert!(
            told.starts_with("this is no sealed copy of a site: "),
            "{told}"
        );
        assert!(!home.path().join("state").exists());
    }
}
