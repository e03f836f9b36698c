//! The recovery words of a site: what a person keeps on paper, and nobody guesses. They open the
//! sealed copy of the site when its lead is gone.
//!
//! Twelve words of BIP-39: 128 random bits and a checksum, so that a typing error is told before
//! anything is tried.

use super::durable;
use super::secrets::SecretError;
use super::words::{self, Unknown};
use bip39::{Language, Mnemonic};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How many words there are.
const WORDS: usize = 12;
/// Bytes of what they stand for.
const BYTES: usize = 16;
/// The words, below the folder.
const FILE: &str = "words";
/// There once a person has seen them.
const SHOWN: &str = "shown";

/// The words.
#[derive(Clone, PartialEq, Eq)]
pub struct Words([u8; BYTES]);

/// Why a text is not the words of any site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Too few or too many.
    #[error(
        "there are {WORDS} recovery words, and these are {0}; on the lead they were shown by: \
         sudo muster recovery"
    )]
    Count(usize),
    /// No such word.
    #[error("{0} is no recovery word{hint}", hint = near(.1))]
    Word(String, Option<&'static str>),
    /// They are words, and do not belong together.
    #[error("these words do not belong together: one is wrong, or two have changed places")]
    Apart,
}

fn near(near: &Option<&'static str>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path}: the recovery words are damaged: {error}; if they are on paper, write them into \
         the file; else remove it to have new ones drawn"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: WordsError,
    },
    /// None could be drawn.
    #[error(transparent)]
    Random(#[from] SecretError),
}

impl Words {
    /// Draws them.
    pub fn draw() -> Result<Words, SecretError> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
        Ok(Words(bytes))
    }

    /// Reads what a person typed, as freely as a join code.
    pub fn parse(text: &str) -> Result<Words, WordsError> {
        let found = words::read(text)
            .map_err(|Unknown { word, near }| WordsError::Word(format!("`{word}`"), near))?;
        if found.len() != WORDS {
            return Err(WordsError::Count(found.len()));
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &found.join(" "));
        let (entropy, _) = mnemonic.map_err(|_| WordsError::Apart)?.to_entropy_array();
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&entropy[..BYTES]);
        Ok(Words(bytes))
    }

    /// The words, one space between two.
    pub fn text(&self) -> String {
        // 16 bytes are a length that BIP-39 knows.
        Mnemonic::from_entropy_in(Language::English, &self.0)
            .map(|mnemonic| mnemonic.to_string())
            .unwrap_or_default()
    }

    /// What they stand for.
    pub fn secret(&self) -> &[u8] {
        &self.0
    }

    /// Those kept in a folder; drawn and kept first if there are none.
    pub fn open_or_create(folder: &Path) -> Result<Words, RecoveryError> {
        let path = folder.join(FILE);
        let at = |error| RecoveryError::Io {
            path: path.clone(),
            error,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Words::parse(&text).map_err(|error| RecoveryError::Damaged {
                path: path.clone(),
                error,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let words = Words::draw()?;
                durable::make_directory(folder, 0o700).map_err(at)?;
                durable::write(&path, words.text().as_bytes(), 0o600, None).map_err(at)?;
                Ok(words)
            }
            Err(error) => Err(at(error)),
        }
    }
}

/// Whether a person has seen the words of this folder.
pub fn is_shown(folder: &Path) -> bool {
    folder.join(SHOWN).exists()
}

/// A person sees them now.
pub fn shown(folder: &Path) -> Result<(), RecoveryError> {
    let path = folder.join(SHOWN);
    durable::write(&path, b"", 0o600, None).map_err(|error| RecoveryError::Io { path, error })
}

/// Never in a log.
impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn drawn_words_differ_and_are_read_back_however_they_are_typed() {
        let words = Words::draw().unwrap();
        assert_ne!(words, Words::draw().unwrap());
        let text = words.text();
        assert_eq!(text.split(' ').count(), WORDS);
        let cut: Vec<String> = text
            .split(' ')
            .map(|word| word.chars().take(4).collect::<String>().to_uppercase())
            .collect();
        for typed in [text.clone(), format!("  {}\n", cut.join(", "))] {
            assert_eq!(Words::parse(&typed).unwrap(), words, "{typed}");
        }
        assert_eq!(format!("{words:?}"), "Words(…)");
    }

    #[test]
    fn a_typing_error_is_told_before_anything_is_tried() {
        let told = |text: &str| Words::parse(text).unwrap_err().to_string();
        // A vector of BIP-39: sixteen bytes of zero.
        let zero = format!("{}about", "abandon ".repeat(11));
        assert_eq!(Words::parse(&zero).unwrap().secret(), [0; 16]);
        assert_eq!(
            told(&zero.replace("about", "abuot")),
            "`abuot` is no recovery word; did you mean about?"
        );
        assert_eq!(
            told("abandon about"),
            "there are 12 recovery words, and these are 2; on the lead they were shown by: sudo \
             muster recovery"
        );
        assert_eq!(
            told(&"abandon ".repeat(12)),
            "these words do not belong together: one is wrong, or two have changed places"
        );
    }

    #[test]
    fn they_are_drawn_once_and_nobody_has_seen_them_before_somebody_has() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("recovery");
        let first = Words::open_or_create(&folder).unwrap();
        assert_eq!(Words::open_or_create(&folder).unwrap(), first);
        let mode = std::fs::metadata(folder.join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600);
        assert!(!is_shown(&folder));
        shown(&folder).unwrap();
        assert!(is_shown(&folder));
        std::fs::write(folder.join(FILE), "abandon").unwrap();
        let words = Words::open_or_create(&folder).unwrap_err().to_string();
        assert!(
            words.contains("the recovery words are damaged: there are 12 recovery words, and")
                && words.ends_with("else remove it to have new ones drawn"),
            "{words}"
        );
    }
}
