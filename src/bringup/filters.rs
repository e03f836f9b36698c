//! Filters and functions of templates.

use minijinja::{Error, ErrorKind};
use sha2::{Digest, Sha256};

/// Escapes a value for a filter (RFC 4515) and for a distinguished name (RFC 4514) alike:
/// a backslash and two hexadecimal digits mean the same in both.
pub fn ldap_escape(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (index, letter) in text.chars().enumerate() {
        let edge = letter == ' ' && (index == 0 || index == last);
        if edge || "\\*()\0,+\"<>;=#".contains(letter) {
            escaped.push_str(&format!("\\{:02x}", letter as u32));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// A string literal of SQL (with `standard_conforming_strings`, the default).
pub fn sql_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A crypt(5) hash that is the same each time: its salt comes from `seed`, which must differ
/// from one password to the next.
pub fn sha512_crypt(text: &str, seed: &str) -> Result<String, Error> {
    use sha_crypt::PasswordHasher;
    // Twelve bytes are the sixteen characters of salt that the format has room for.
    let salt = Sha256::digest(seed.as_bytes());
    sha_crypt::ShaCrypt::SHA512
        .hash_password_with_salt(text.as_bytes(), &salt[..12])
        .map(|hash| hash.to_string())
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_escape_serves_filters_and_distinguished_names() {
        assert_eq!(ldap_escape("a*(b)\\c"), r"a\2a\28b\29\5cc");
        assert_eq!(ldap_escape(" Doe, J=D "), r"\20Doe\2c J\3dD\20");
        assert_eq!(ldap_escape("Zoë"), "Zoë");
    }

    #[test]
    fn sql_literals_cannot_be_left() {
        assert_eq!(sql_quote("O'Neil'; DROP"), "'O''Neil''; DROP'");
    }

    #[test]
    fn a_crypt_hash_is_the_same_each_time_and_is_one_that_crypt_knows() {
        let hash = sha512_crypt("correct horse", "office/probe").expect("a hash");
        assert_eq!(
            hash,
            sha512_crypt("correct horse", "office/probe").expect("a hash")
        );
        assert_ne!(
            hash,
            sha512_crypt("correct horse", "another").expect("a hash")
        );
        let salt = hash.split('$').rev().nth(1).expect("a salt").to_string();
        let said = std::process::Command::new("openssl")
            .args(["passwd", "-6", "-salt", &salt, "correct horse"])
            .output()
            .expect("openssl");
        let theirs = String::from_utf8_lossy(&said.stdout).trim().to_string();
        // `rounds=5000` is the default and may be said or not.
        assert_eq!(hash.replace("rounds=5000$", ""), theirs);
    }
}
