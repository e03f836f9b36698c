//! A sealed copy of a site: what its lead knows, so that only the recovery words open it. Whoever
//! keeps it learns which site it is, who led it and how new it is, and nothing else.
//!
//! The words stand for 128 random bits, which nobody tries out: HKDF-SHA-256 (RFC 5869) makes a key
//! of them and of a salt that is drawn for each copy, without the cost of a function for
//! passwords. The key seals one text (ChaCha20-Poly1305, RFC 8439), so the nonce is zero. What
//! stands beside the text in clear is sealed with it: another head does not open.

use super::recovery::Words;
use super::secrets::SecretError;
use base64::prelude::{BASE64_STANDARD, Engine};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const FORMAT: u32 = 1;
/// Bytes of the salt, and of what tells other words from a damaged copy.
const SALT: usize = 32;

/// What stands on a copy in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// Id of the site.
    pub site: String,
    /// Role of the lead that sealed it.
    pub lead: String,
    /// How often the site had had a lead by then.
    pub term: u64,
    /// Counts the copies of one term.
    pub number: u64,
    /// When it was sealed, RFC 3339 in UTC.
    pub written: String,
}

impl Head {
    /// Which of two copies is newer: a later lead's, then the later one.
    pub fn age(&self) -> (u64, u64) {
        (self.term, self.number)
    }
}

/// The copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sealed {
    /// In clear.
    pub head: Head,
    /// Hex.
    salt: String,
    /// Comes out of the right words only; hex.
    check: String,
    /// Base64.
    body: String,
}

/// Why a copy is not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is cut off, or something else.
    #[error("this is no sealed copy of a site: {0}")]
    Garbled(String),
    /// By a muster that knows more.
    #[error("this copy has the format {0}, and this muster knows {FORMAT}: use the newer one")]
    Format(u32),
    /// Other words.
    #[error("these are not the recovery words of this site")]
    OtherWords,
    /// The words are right.
    #[error("the words are right, but the copy is damaged: it is not what the lead has sealed")]
    Damaged,
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] SecretError),
    /// The cipher takes no text of this length.
    #[error("the site is too large to be sealed")]
    Large,
}

/// The keys of one copy.
struct Keys {
    text: LessSafeKey,
    check: [u8; SALT],
}

impl Keys {
    fn of(words: &Words, salt: &[u8]) -> Result<Keys, SealError> {
        let prk: Prk = Salt::new(HKDF_SHA256, salt).extract(words.secret());
        let text = prk
            .expand(&[b"muster sealed site: text"], &CHACHA20_POLY1305)
            .map_err(|_| SealError::Large)?;
        let text = LessSafeKey::new(UnboundKey::from(text));
        let mut check = [0; SALT];
        prk.expand(&[b"muster sealed site: check"], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut check))
            .map_err(|_| SealError::Large)?;
        Ok(Keys { text, check })
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn bound(head: &Head) -> Result<Vec<u8>, SealError> {
    serde_json::to_vec(head).map_err(|error| SealError::Garbled(error.to_string()))
}

/// Seals a text.
pub fn seal(words: &Words, head: Head, text: &[u8]) -> Result<Sealed, SealError> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(SecretError::Random)?;
    let keys = Keys::of(words, &salt)?;
    let mut body = text.to_vec();
    let aad = Aad::from(bound(&head)?);
    keys.text
        .seal_in_place_append_tag(nonce(), aad, &mut body)
        .map_err(|_| SealError::Large)?;
    Ok(Sealed {
        head,
        salt: hex::encode(salt),
        check: hex::encode(keys.check),
        body: BASE64_STANDARD.encode(body),
    })
}

impl Sealed {
    /// Reads a copy.
    pub fn parse(text: &str) -> Result<Sealed, SealError> {
        let sealed: Sealed =
            serde_json::from_str(text).map_err(|error| SealError::Garbled(error.to_string()))?;
        match sealed.head.format {
            FORMAT => Ok(sealed),
            other => Err(SealError::Format(other)),
        }
    }

    /// As it is kept and sent.
    pub fn text(&self) -> Result<String, SealError> {
        serde_json::to_string(self).map_err(|error| SealError::Garbled(error.to_string()))
    }

    /// What was sealed.
    pub fn open(&self, words: &Words) -> Result<Vec<u8>, SealError> {
        let salt = hex::decode(&self.salt).map_err(|_| SealError::Damaged)?;
        let keys = Keys::of(words, &salt)?;
        // Nobody learns from the time that this takes what 128 bits are.
        if hex::encode(keys.check) != self.check {
            return Err(SealError::OtherWords);
        }
        let mut body = BASE64_STANDARD
            .decode(&self.body)
            .map_err(|_| SealError::Damaged)?;
        let aad = Aad::from(bound(&self.head)?);
        let opened = keys.text.open_in_place(nonce(), aad, &mut body);
        opened
            .map(|text| text.to_vec())
            .map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head(number: u64) -> Head {
        Head {
            format: FORMAT,
            site: "5".repeat(32),
            lead: "core".into(),
            term: 1,
            number,
            written: "2026-01-01T00:00:00Z".into(),
        }
    }

    const TEXT: &[u8] = b"{\"secrets/core/data/own\":\"zebra-secret\"}";

    fn words() -> Words {
        Words::draw().unwrap()
    }

    #[test]
    fn the_words_open_what_they_sealed_and_nothing_of_it_is_readable() {
        let words = words();
        let sealed = seal(&words, head(7), TEXT).unwrap();
        let text = sealed.text().unwrap();
        for secret in ["zebra", "own", &words.text(), &hex::encode(words.secret())] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let read = Sealed::parse(&text).unwrap();
        assert_eq!(read.head, head(7));
        assert_eq!(read.open(&words).unwrap(), TEXT);
        // Sealed again it is another text, with another key.
        let again = seal(&words, head(7), TEXT).unwrap();
        assert_ne!(again.body, sealed.body);
        assert_ne!(again.check, sealed.check);
    }

    #[test]
    fn other_words_and_a_copy_that_was_touched_are_told_apart() {
        let own = words();
        let sealed = seal(&own, head(7), TEXT).unwrap();
        assert_eq!(
            sealed.open(&words()).unwrap_err().to_string(),
            "these are not the recovery words of this site"
        );
        let damaged = "the words are right, but the copy is damaged: it is not what the lead has \
                       sealed";
        let mut touched = vec![
            Sealed {
                head: head(8),
                ..sealed.clone()
            },
            Sealed {
                head: Head {
                    lead: "edge".into(),
                    ..head(7)
                },
                ..sealed.clone()
            },
            Sealed {
                body: sealed.body[..sealed.body.len() - 4].to_owned(),
                ..sealed.clone()
            },
        ];
        let body = BASE64_STANDARD.decode(&sealed.body).unwrap();
        for at in 0..body.len() {
            let mut other = body.clone();
            other[at] ^= 1;
            touched.push(Sealed {
                body: BASE64_STANDARD.encode(other),
                ..sealed.clone()
            });
        }
        for one in touched {
            assert_eq!(one.open(&own).unwrap_err().to_string(), damaged, "{one:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_newer_than_this_muster_is_refused() {
        let sealed = seal(&words(), head(7), TEXT).unwrap();
        let text = sealed.text().unwrap();
        for end in [0, 1, text.len() / 2, text.len() - 1] {
            let told = Sealed::parse(&text[..end]).unwrap_err().to_string();
            assert!(
                told.starts_with("this is no sealed copy of a site: "),
                "{told}"
            );
        }
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert_eq!(
            Sealed::parse(&newer).unwrap_err().to_string(),
            "this copy has the format 2, and this muster knows 1: use the newer one"
        );
    }

    #[test]
    fn a_later_lead_has_the_newer_copy_whatever_its_number() {
        let later = Head { term: 2, ..head(1) };
        assert!(later.age() > head(9).age());
        assert!(head(9).age() > head(8).age());
    }
}
