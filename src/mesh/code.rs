//! The join code: three words that a person reads on the lead and types on another host.

use crate::site::secrets::SecretError;
use crate::site::words::{self, Unknown};
use std::fmt;

/// Words of a code. Each is one of 2048: 33 bits together.
const WORDS: usize = 3;

/// A join code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([&'static str; WORDS]);

/// Why a text is no code. Nobody was asked anything yet: a typing error costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Too few or too many words.
    #[error(
        "a join code has {WORDS} words, and these are {0}; it stands on the screen of the lead"
    )]
    Count(usize),
    /// No such word.
    #[error("`{word}` is no word of a join code{}", near.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Word {
        /// What was typed.
        word: String,
        /// The nearest one.
        near: Option<&'static str>,
    },
}

impl Code {
    /// Draws a code.
    pub fn draw() -> Result<Code, SecretError> {
        let mut bytes = [0; 2 * WORDS];
        getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
        let (numbers, _) = bytes.as_chunks::<2>();
        let word = |index: usize| {
            let number = numbers.get(index).copied().unwrap_or_default();
            // 65536 is a multiple of 2048: every word is as likely.
            words::list()[usize::from(u16::from_le_bytes(number) % 2048)]
        };
        Ok(Code(std::array::from_fn(word)))
    }

    /// Reads what a person typed: words in any case, apart by anything that is no letter, each
    /// whole or as far as it is known.
    pub fn parse(text: &str) -> Result<Code, CodeError> {
        let found =
            words::read(text).map_err(|Unknown { word, near }| CodeError::Word { word, near })?;
        match <[&'static str; WORDS]>::try_from(found) {
            Ok(words) => Ok(Code(words)),
            Err(words) => Err(CodeError::Count(words.len())),
        }
    }

    /// What both sides put into the exchange.
    pub fn secret(&self) -> Vec<u8> {
        format!("muster join code {self}").into_bytes()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Never in a log.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// The token that hypervisors put into the answers of every host: 256 bits, hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a join token has 64 hexadecimal digits")]
pub struct TokenError;

impl Token {
    /// Draws a token.
    pub fn draw() -> Result<Token, SecretError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
        Ok(Token(bytes))
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Token, TokenError> {
        let bytes = hex::decode(text.trim()).map_err(|_| TokenError)?;
        bytes.try_into().map(Token).map_err(|_| TokenError)
    }

    /// As it stands in an answers file.
    pub fn text(&self) -> String {
        hex::encode(self.0)
    }

    /// What both sides put into the exchange.
    pub fn secret(&self) -> Vec<u8> {
        let mut secret = b"muster join token ".to_vec();
        secret.extend(self.0);
        secret
    }
}

/// Never in a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = Code::parse("zebra ocean ladder").unwrap();
        for typed in [
            "Zebra Ocean Ladder",
            "zebra-ocean-ladder",
            "  zebr  ocea, LADD\n",
            "zebra.ocean.ladder",
        ] {
            assert_eq!(Code::parse(typed).unwrap(), code, "{typed}");
        }
        assert_eq!(code.to_string(), "zebra ocean ladder");
    }

    #[test]
    fn a_typing_error_is_told_before_anybody_is_asked() {
        let told = |text: &str| Code::parse(text).unwrap_err().to_string();
        assert_eq!(
            told("zebra ocaen ladder"),
            "`ocaen` is no word of a join code; did you mean ocean?"
        );
        assert_eq!(
            told("zebra qqqqqqqqqq ladder"),
            "`qqqqqqqqqq` is no word of a join code"
        );
        assert_eq!(
            told("zebra ocean"),
            "a join code has 3 words, and these are 2; it stands on the screen of the lead"
        );
        assert!(told("zoo zoo zoo zoo").contains("these are 4"));
        assert!(told("").contains("these are 0"));
        // Three letters may begin several.
        assert!(told("zeb ocean ladder").starts_with("`zeb` is no word"));
    }

    #[test]
    fn drawn_codes_and_tokens_differ_and_are_read_back() {
        let codes: Vec<Code> = (0..50).map(|_| Code::draw().unwrap()).collect();
        for (index, code) in codes.iter().enumerate() {
            assert_eq!(Code::parse(&code.to_string()).unwrap(), *code);
            assert!(!codes[..index].contains(code));
        }
        let token = Token::draw().unwrap();
        assert_eq!(Token::parse(&token.text()).unwrap(), token);
        assert_ne!(Token::draw().unwrap(), token);
        assert_eq!(
            Token::parse("abc").unwrap_err().to_string(),
            TokenError.to_string()
        );
    }

    #[test]
    fn neither_shows_in_a_log() {
        let code = Code::draw().unwrap();
        let token = Token::draw().unwrap();
        assert_eq!(format!("{code:?} {token:?}"), "Code(…) Token(…)");
    }
}
