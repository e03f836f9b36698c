//! Login names, full names and passwords.

use super::line;
use crate::site::refusal::Refusal;
use std::collections::BTreeSet;

/// The least characters of a password.
pub const PASSWORD_LEAST: usize = 10;
/// The most bytes: hashing longer ones only costs time.
const PASSWORD_MOST: usize = 128;

/// Names that a Unix system or the site itself uses for accounts that are no person's.
const SYSTEM: &[&str] = &[
    "_apt",
    "_chrony",
    "backup",
    "bin",
    "bind",
    "daemon",
    "dovecot",
    "dovenull",
    "games",
    "gnats",
    "irc",
    "list",
    "lp",
    "mail",
    "man",
    "messagebus",
    "news",
    "nobody",
    "opendkim",
    "openldap",
    "polkitd",
    "postdrop",
    "postfix",
    "postgres",
    "postmaster",
    "abuse",
    "hostmaster",
    "webmaster",
    "probe",
    "prometheus",
    "proxy",
    "root",
    "sshd",
    "sync",
    "sys",
    "syslog",
    "systemd-network",
    "systemd-resolve",
    "systemd-timesync",
    "tss",
    "uucp",
    "uuidd",
    "vmail",
    "www-data",
];

/// Well-known passwords of ten characters and more, lower case.
const COMMON: &[&str] = &[
    "0123456789",
    "1234567890",
    "12345678910",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "abcdefghij",
    "administrator",
    "basketball",
    "changeme123",
    "iloveyou123",
    "letmein123",
    "password12",
    "password123",
    "password1234",
    "passw0rd123",
    "qwerty1234",
    "qwerty12345",
    "qwertyuiop",
    "qwertzuiop",
    "secret1234",
    "superman123",
    "welcome123",
    "welcome1234",
    "zaq12wsxcde",
];

/// A login name; `reserved` are further names that are taken.
pub fn login_name(text: &str, reserved: &BTreeSet<String>) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let starts = text.starts_with(|letter: char| letter.is_ascii_lowercase());
    let goes_on = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if SYSTEM.contains(&text) || reserved.contains(text) {
        return Err(Refusal::ReservedName(text.into()));
    }
    if !starts || !goes_on || text.len() > 32 || text.ends_with('-') {
        return Err(Refusal::LoginName);
    }
    Ok(text.into())
}

/// A full name: text that survives the GECOS field of passwd(5) and a mail header.
pub fn full_name(text: &str) -> Result<String, Refusal> {
    let text = line(text, 100)?;
    match text.chars().find(|letter| ":,=\"\\<>".contains(*letter)) {
        Some(bad) => Err(Refusal::FullNameCharacter(bad)),
        None => Ok(text),
    }
}

/// A password as typed, for the account of this name.
pub fn password(text: &str, account: Option<&str>) -> Result<(), Refusal> {
    if text.chars().any(char::is_control) {
        return Err(Refusal::Control);
    }
    if text.len() > PASSWORD_MOST {
        return Err(Refusal::LongPassword(PASSWORD_MOST));
    }
    let lower = text.to_lowercase();
    if let Some(account) = account
        && lower.replace(account, "").chars().count() < PASSWORD_LEAST / 2
        && lower.contains(account)
    {
        return Err(Refusal::PasswordIsName);
    }
    if text.chars().count() < PASSWORD_LEAST {
        return Err(Refusal::ShortPassword(PASSWORD_LEAST));
    }
    if BTreeSet::from_iter(text.chars()).len() < 5 {
        return Err(Refusal::MonotonePassword);
    }
    if COMMON.contains(&lower.as_str()) {
        return Err(Refusal::CommonPassword);
    }
    Ok(())
}

/// A crypt(5) hash: SHA-512 (`$6$`) or yescrypt (`$y$`).
pub fn password_hash(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let fields: Vec<&str> = text.split('$').collect();
    let alphabet = |field: &str| {
        !field.is_empty()
            && field
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
    };
    let sha512 = |salt: &str, hash: &str| alphabet(salt) && alphabet(hash) && hash.len() == 86;
    let fine = match fields[..] {
        ["", "6", salt, hash] => sha512(salt, hash),
        ["", "6", rounds, salt, hash] => {
            rounds
                .strip_prefix("rounds=")
                .is_some_and(|count| count.parse::<u32>().is_ok())
                && sha512(salt, hash)
        }
        ["", "y", cost, salt, hash] => {
            alphabet(cost) && alphabet(salt) && alphabet(hash) && hash.len() == 43
        }
        _ => false,
    };
    match fine {
        true => Ok(text.into()),
        false => Err(Refusal::NotAHash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_are_taken_and_names_of_the_system_refused() {
        let reserved = BTreeSet::from(["sudo".to_string()]);
        for name in ["admin", "anna", "jean-luc", "x2", "staff"] {
            assert_eq!(login_name(name, &reserved), Ok(name.into()));
        }
        for name in ["root", "probe", "daemon", "postgres", "_apt", "sudo"] {
            let refused = login_name(name, &reserved);
            assert_eq!(refused, Err(Refusal::ReservedName(name.into())), "{name}");
        }
        for name in [
            "Anna",
            "2fast",
            "anna.b",
            "-a",
            "a-",
            "änna",
            "a b",
            &"a".repeat(33),
        ] {
            assert_eq!(
                login_name(name, &reserved),
                Err(Refusal::LoginName),
                "{name}"
            );
        }
    }

    #[test]
    fn full_names_cannot_break_out_of_their_field() {
        assert_eq!(
            full_name(" Jürgen O'Neil-Şahin "),
            Ok("Jürgen O'Neil-Şahin".into())
        );
        assert_eq!(full_name("a:b"), Err(Refusal::FullNameCharacter(':')));
        assert_eq!(full_name("a <a@b>"), Err(Refusal::FullNameCharacter('<')));
        assert_eq!(full_name("a\nb"), Err(Refusal::Control));
        assert_eq!(full_name("  "), Err(Refusal::Empty));
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason() {
        for (text, refusal) in [
            ("", Refusal::ShortPassword(10)),
            ("kurz", Refusal::ShortPassword(10)),
            ("anna", Refusal::PasswordIsName),
            ("anna2026", Refusal::PasswordIsName),
            ("AnnaAnnaAnna", Refusal::PasswordIsName),
            ("aaaaaaaaaaaa", Refusal::MonotonePassword),
            ("1212121212", Refusal::MonotonePassword),
            ("Password123", Refusal::CommonPassword),
            ("tab\there it is", Refusal::Control),
            (&"long".repeat(40), Refusal::LongPassword(128)),
        ] {
            assert_eq!(password(text, Some("anna")), Err(refusal), "{text}");
        }
        assert_eq!(password("correct horse", Some("anna")), Ok(()));
        assert_eq!(password("schöne Grüße", None), Ok(()));
    }

    #[test]
    fn only_whole_crypt_hashes_are_taken() {
        let sha512 = format!("$6$salt${}", "a".repeat(86));
        let rounds = format!("$6$rounds=5000$salt${}", "a".repeat(86));
        let yescrypt = format!("$y$j9T$abc$${}", "b".repeat(43)).replace("$$", "$");
        for hash in [&sha512, &rounds, &yescrypt] {
            assert_eq!(password_hash(hash), Ok(hash.clone()));
        }
        for text in [
            "geheim",
            "$1$a$b",
            "$6$salt$short",
            "",
            &format!("{sha512}:x"),
            "$6$",
            "*",
        ] {
            assert_eq!(password_hash(text), Err(Refusal::NotAHash), "{text}");
        }
    }
}
