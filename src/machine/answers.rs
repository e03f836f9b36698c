//! What the hosts are told before anybody sits at them: the answers file of a demonstration,
//! and what `up` adds to a person's own answers (its ssh key, the `.localhost` names).

use super::folder::{Folder, write_private};
use super::{MachineError, Result};
use sha_crypt::{PasswordHasher, ShaCrypt};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::{Table, Value};

/// Letters and digits that no font confuses.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a demonstration of a stack is like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demo {
    /// Answers by question id.
    pub answers: BTreeMap<String, String>,
    /// Login names of people beside the administrator.
    pub people: Vec<String>,
}

/// Answers and, where they were made here, the clear passwords by login name.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The answers file.
    pub answers: Table,
    /// Clear passwords; empty when a person brought the answers.
    pub passwords: BTreeMap<String, String>,
}

/// The answers of a demonstration, each person with a fresh password.
pub fn demo(demo: &Demo) -> Result<Told> {
    let mut answers = Table::new();
    for (id, answer) in &demo.answers {
        put(&mut answers, id, typed(answer));
    }
    let admin = text(&answers, "admin.name").unwrap_or("admin").to_owned();
    let mut passwords = BTreeMap::new();
    let mut hashed = |name: &str| -> Result<Value> {
        let password = password()?;
        let hash = crypt(&password)?;
        passwords.insert(name.to_owned(), password);
        Ok(Value::String(hash))
    };
    put(&mut answers, "admin.name", Value::String(admin.clone()));
    put(&mut answers, "admin.password-hash", hashed(&admin)?);
    if text(&answers, "admin.full-name").is_none() {
        put(
            &mut answers,
            "admin.full-name",
            Value::String(capitalised(&admin)),
        );
    }
    let mut people = Vec::new();
    for name in &demo.people {
        let mut person = Table::new();
        person.insert("name".into(), Value::String(name.clone()));
        person.insert("full-name".into(), Value::String(capitalised(name)));
        person.insert("password-hash".into(), hashed(name)?);
        people.push(Value::Table(person));
    }
    if !people.is_empty() {
        answers.insert("person".into(), Value::Array(people));
    }
    Ok(Told { answers, passwords })
}

/// Adds our ssh key behind the ones that are there, and `<route>.localhost` to the names of
/// each route.
pub fn add_workstation(answers: &mut Table, ssh_key: &str, routes: &[String]) {
    let mut keys: Vec<String> = text(answers, "admin.ssh-key")
        .map(|keys| {
            keys.lines()
                .map(str::to_owned)
                .filter(|key| !key.is_empty())
                .collect()
        })
        .unwrap_or_default();
    if !keys.iter().any(|key| key == ssh_key) {
        keys.push(ssh_key.to_owned());
    }
    put(answers, "admin.ssh-key", Value::String(keys.join("\n")));
    for route in routes {
        let name = Value::String(format!("{route}.localhost"));
        let aliases = answers
            .entry("aliases")
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .map(|table| {
                table
                    .entry(route)
                    .or_insert_with(|| Value::Array(Vec::new()))
            });
        if let Some(Value::Array(names)) = aliases
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
}

/// Writes `answers.toml` and, when passwords were made, `demo-passwords.toml`; the path of
/// the latter.
pub fn keep(folder: &Folder, told: &Told) -> Result<Option<PathBuf>> {
    write_private(
        &folder.file("answers.toml"),
        told.answers.to_string().as_bytes(),
    )?;
    if told.passwords.is_empty() {
        return Ok(None);
    }
    let mut text = String::from("# Passwords of the demonstration, by login name.\n");
    for (name, password) in &told.passwords {
        text.push_str(&format!("{name} = \"{password}\"\n"));
    }
    let path = folder.file("demo-passwords.toml");
    write_private(&path, text.as_bytes())?;
    Ok(Some(path))
}

/// Login name of the administrator in the kept answers; `admin` when a person answers the
/// question on the console.
pub fn admin(folder: &Folder) -> String {
    std::fs::read_to_string(folder.file("answers.toml"))
        .ok()
        .and_then(|text| text.parse::<Table>().ok())
        .and_then(|answers| text(&answers, "admin.name").map(str::to_owned))
        .unwrap_or_else(|| "admin".into())
}

/// The string at a question id such as `admin.name`, written as nested tables.
fn text<'a>(answers: &'a Table, id: &str) -> Option<&'a str> {
    match id.split_once('.') {
        None => answers.get(id)?.as_str(),
        Some((head, rest)) => text(answers.get(head)?.as_table()?, rest),
    }
}

fn put(answers: &mut Table, id: &str, value: Value) {
    match id.split_once('.') {
        None => {
            answers.insert(id.to_owned(), value);
        }
        Some((head, rest)) => {
            let below = answers
                .entry(head)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(below) = below {
                put(below, rest, value);
            }
        }
    }
}

/// Stacks write all demo answers as strings; yes and no are booleans in an answers file.
fn typed(answer: &str) -> Value {
    match answer {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        text => Value::String(text.to_owned()),
    }
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Twenty characters in groups of five: 100 bits.
fn password() -> Result<String> {
    let mut bytes = [0u8; 20];
    random(&mut bytes)?;
    let letters: Vec<String> = bytes
        .chunks(5)
        .map(|chunk| {
            chunk
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
                .collect()
        })
        .collect();
    Ok(letters.join("-"))
}

/// SHA-512 crypt(5). The salt is twelve bytes because crypt(5) reads 16 characters of it.
fn crypt(password: &str) -> Result<String> {
    let mut salt = [0u8; 12];
    random(&mut salt)?;
    ShaCrypt::SHA512
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.as_str().to_owned())
        .map_err(|error| MachineError::ProgramFailed {
            program: "crypt".into(),
            why: error.to_string(),
            command: "mkpasswd -m sha-512".into(),
        })
}

/// Fills `bytes` from the system's random source.
pub fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        MachineError::io("read", std::path::Path::new("/dev/urandom"))(std::io::Error::other(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Demo {
        Demo {
            answers: BTreeMap::from([
                ("organisation.name".into(), "Example Works".into()),
                ("organisation.domain".into(), "example.org".into()),
                ("services.monitoring".into(), "true".into()),
            ]),
            people: vec!["staff".into()],
        }
    }

    #[test]
    fn a_demonstration_answers_everything_and_hashes_every_password() {
        let mut told = demo(&sample()).unwrap();
        add_workstation(&mut told.answers, "ssh-ed25519 AAAA k", &["webmail".into()]);
        let hash = text(&told.answers, "admin.password-hash")
            .unwrap()
            .to_owned();
        let staff = told.answers["person"][0]["password-hash"]
            .as_str()
            .unwrap()
            .to_owned();
        let shown = told
            .answers
            .to_string()
            .replace(&hash, "H")
            .replace(&staff, "S");
        assert_eq!(
            shown,
            "[admin]\nname = \"admin\"\npassword-hash = \"H\"\nfull-name = \"Admin\"\n\
             ssh-key = \"ssh-ed25519 AAAA k\"\n\n[aliases]\nwebmail = [\"webmail.localhost\"]\n\n\
             [organisation]\ndomain = \"example.org\"\nname = \"Example Works\"\n\n[[person]]\n\
             name = \"staff\"\nfull-name = \"Staff\"\npassword-hash = \"S\"\n\n[services]\n\
             monitoring = true\n"
        );
        assert_eq!(
            told.passwords.keys().collect::<Vec<_>>(),
            ["admin", "staff"]
        );
        assert!(!told.answers.to_string().contains(&told.passwords["admin"]));
    }

    #[test]
    fn hashes_are_what_the_hosts_crypt_makes_of_the_password() {
        let hash = crypt("kahgh-2ab").unwrap();
        assert!(hash.starts_with("$6$"), "{hash}");
        let output = std::process::Command::new("perl")
            .args(["-e", "print crypt($ARGV[0], $ARGV[1])", "kahgh-2ab", &hash])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), hash);
    }

    #[test]
    fn a_persons_own_key_and_names_stay() {
        let mut answers: Table =
            "[admin]\nssh-key = \"ssh-rsa B me\"\n[aliases]\nwebmail = [\"mail.example.org\"]\n"
                .parse()
                .unwrap();
        add_workstation(&mut answers, "ssh-ed25519 AAAA k", &["webmail".into()]);
        add_workstation(&mut answers, "ssh-ed25519 AAAA k", &["webmail".into()]);
        assert_eq!(
            text(&answers, "admin.ssh-key"),
            Some("ssh-rsa B me\nssh-ed25519 AAAA k")
        );
        assert_eq!(
            answers["aliases"]["webmail"].to_string(),
            "[\"mail.example.org\", \"webmail.localhost\"]"
        );
    }

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (one, two) = (password().unwrap(), password().unwrap());
        assert_eq!(one.len(), 23);
        assert_ne!(one, two);
    }
}
