//! What is wrong with a profile: what, where, why, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A text of a profile with the name people know it by.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// Path on disk, or `profiles/…` of the built-in ones.
    pub name: Arc<str>,
    /// The whole content.
    pub content: Arc<str>,
}

/// Without the content, which would hide everything around it.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Text").field(&self.name).finish()
    }
}

/// Some bytes of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub text: Text,
    /// Byte offsets in it.
    pub span: Range<usize>,
}

impl Place {
    /// Line number, from 1.
    pub fn line(&self) -> usize {
        let end = self.span.start.min(self.text.content.len());
        self.text.content.as_bytes()[..end]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one sentence without a full stop.
    pub what: String,
    /// Where, when there is one place.
    pub place: Option<Place>,
    /// Why it is wrong, or what was expected; stands under the snippet.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

impl ProfileError {
    /// What a person can do about it, where the words themselves do not say so.
    pub fn hint(&self) -> Option<String> {
        match self {
            ProfileError::Read { path, .. } => {
                Some(format!("see who may read it: ls -ld {}", path.display()))
            }
            ProfileError::NotText { .. } => {
                Some("save it as UTF-8, or keep it out of profiles and overlays".into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}: ", place.text.name, place.line())?;
        }
        write!(f, "{}", self.what)?;
        if !self.why.is_empty() {
            write!(f, "\n  {}", self.why)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Why a stack could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No stack of that name.
    #[error("there is no stack `{name}`\n  stacks: {}\n  hint: {hint}", known.join(", "))]
    NoStack {
        /// What was asked for.
        name: String,
        /// All stacks there are.
        known: Vec<String>,
        /// The nearest name, or how to name a directory.
        hint: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not UTF-8.
    #[error("{} is not UTF-8 text\n  profiles and overlays are text; binaries come from packages", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The profiles are wrong, all of it in reading order.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Never empty.
        problems: Vec<Problem>,
    },
}

/// The name of `known` nearest to `name`, if any is near enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, candidate)| *score > 0.85 || slip(name, candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Whether one slip of the finger (or two in a long word) makes the one of the other.
fn slip(name: &str, candidate: &str) -> bool {
    strsim::damerau_levenshtein(name, candidate) <= name.len() / 3
}

/// `did you mean …?`
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// `did you mean …?`, or the list of what there is.
pub fn suggest_or_list<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let list = || (!known.is_empty()).then(|| format!("there are: {}", known.join(", ")));
    suggest(name, known.iter().copied()).or_else(list)
}
