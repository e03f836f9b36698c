//! The answers of a demonstration, and what a workstation adds to any answers file: its ssh
//! key and the `.localhost` names under which it reaches the routes.

use super::answers::{Answers, Problem};
use super::question::Questions;
use super::{password, secrets};
use crate::profile::Demo;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use toml::{Table, Value};

/// Characters of a demonstration's password: about 95 bits.
const LENGTH: usize = 16;

/// Why a demonstration has no passwords.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No randomness.
    #[error(transparent)]
    Draw(#[from] secrets::SecretError),
    /// No hash.
    #[error(transparent)]
    Hash(#[from] password::HashError),
}

/// Answers, and the clear passwords made for them by login name.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The answers file.
    pub answers: Table,
    /// Clear passwords.
    pub passwords: BTreeMap<String, String>,
}

/// The answers of a demonstration, each person with a fresh password.
pub fn answers(demo: &Demo) -> Result<Told, DemoError> {
    let mut passwords = BTreeMap::new();
    let answers = file(demo, &mut |name| {
        let clear = secrets::draw(LENGTH)?;
        let hash = password::hash(&clear)?;
        passwords.insert(name.to_owned(), clear);
        Ok::<String, DemoError>(hash)
    })?;
    Ok(Told { answers, passwords })
}

/// What the host that asks these questions would find wrong with a demonstration, missing
/// answers included.
pub fn problems(demo: &Demo, questions: &Questions) -> Vec<Problem> {
    let hash = format!("$6$salt${}", "a".repeat(86));
    let Ok(file) = file(demo, &mut |_| Ok::<String, Infallible>(hash.clone()));
    let (answers, mut problems) = Answers::read(&file.to_string(), questions);
    let missing = answers.complete(questions).err().unwrap_or_default();
    // What is there but refused is not missing as well.
    let refused: BTreeSet<String> = problems.iter().map(|one| one.key.clone()).collect();
    let missing = missing.into_iter();
    problems.extend(missing.filter(|one| !refused.contains(&one.key)));
    problems
}

/// The answers file of a demonstration; `hashed` gives a password hash by login name.
fn file<E>(demo: &Demo, hashed: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<Table, E> {
    let mut hashed = |name: &str| hashed(name).map(Value::String);
    let mut answers = Table::new();
    for (id, answer) in &demo.answers {
        let value = match (id.starts_with("services."), answer.as_str()) {
            // A profile keeps every answer as text; in a file, switches are no text.
            (true, "true") => Value::Boolean(true),
            (true, "false") => Value::Boolean(false),
            _ => Value::String(answer.clone()),
        };
        put(&mut answers, id, value);
    }
    let admin = text(&answers, "admin.name").unwrap_or("admin").to_owned();
    put(&mut answers, "admin.password-hash", hashed(&admin)?);
    put(&mut answers, "admin.name", Value::String(admin));
    let mut people = Vec::new();
    for name in &demo.people {
        people.push(Value::Table(Table::from_iter([
            ("name".into(), Value::String(name.clone())),
            ("full-name".into(), Value::String(capitalised(name))),
            ("password-hash".into(), hashed(name)?),
        ])));
    }
    if !people.is_empty() {
        answers.insert("person".into(), Value::Array(people));
    }
    Ok(answers)
}

/// Adds an ssh key behind the ones that are there, and `<route>.localhost` to the names of
/// each route.
pub fn add_workstation(answers: &mut Table, ssh_key: &str, routes: &[String]) {
    let mut keys: Vec<&str> = match value(answers, "admin.ssh-key") {
        Some(Value::String(keys)) => keys.lines().filter(|key| !key.is_empty()).collect(),
        Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !keys.contains(&ssh_key) {
        keys.push(ssh_key);
    }
    let keys = keys.join("\n");
    put(answers, "admin.ssh-key", Value::String(keys));
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

/// The string at a question id such as `admin.name`.
pub fn text<'a>(answers: &'a Table, id: &str) -> Option<&'a str> {
    value(answers, id)?.as_str()
}

fn value<'a>(answers: &'a Table, id: &str) -> Option<&'a Value> {
    match id.split_once('.') {
        None => answers.get(id),
        Some((head, rest)) => value(answers.get(head)?.as_table()?, rest),
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

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Demo {
        let answers = [
            ("organisation.name", "Example Works"),
            ("organisation.domain", "example.org"),
            ("network.mode", "dhcp"),
            ("time.zone", "Etc/UTC"),
            ("keyboard.layout", "us"),
            ("admin.full-name", "Ada Admin"),
        ];
        Demo {
            answers: answers
                .map(|(id, answer)| (id.into(), answer.into()))
                .into(),
            people: vec!["staff".into()],
        }
    }

    #[test]
    fn a_demonstration_answers_every_question_and_hashes_every_password() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpGnZ0C4ZyGdQzqYbL3Q0Tn0S1i7k3eQqVbT7hRk0aB k";
        let mut told = super::answers(&sample()).unwrap();
        add_workstation(&mut told.answers, key, &["webmail".into()]);
        let file = told.answers.to_string();
        let questions = Questions::of_any_stack();
        let (answers, problems) = Answers::read(&file, &questions);
        assert_eq!(problems, []);
        answers.complete(&questions).unwrap();
        assert_eq!(answers.people[0].full_name, "Staff");
        assert_eq!(answers.aliases["webmail"], ["webmail.localhost"]);
        assert_eq!(
            told.passwords.keys().collect::<Vec<_>>(),
            ["admin", "staff"]
        );
        for clear in told.passwords.values() {
            assert!(!file.contains(clear));
        }
    }

    #[test]
    fn a_demonstration_that_a_host_would_refuse_is_refused_with_the_words_of_the_host() {
        let questions = Questions::of_any_stack();
        let said = |demo: &Demo| -> Vec<String> {
            problems(demo, &questions)
                .iter()
                .map(|one| format!("{}: {}", one.key, one.reason))
                .collect()
        };
        assert_eq!(said(&sample()), [""; 0]);
        let mut demo = sample();
        let mut answer = |id: &str, answer: &str| demo.answers.insert(id.into(), answer.into());
        answer("time.zone", "Mars");
        answer("organisation.nam", "Example");
        answer("services.webmail", "true");
        answer("services.files", "perhaps");
        demo.answers.remove("organisation.name");
        demo.people.push("admin".into());
        let mut found = said(&demo);
        found.sort();
        assert_eq!(
            found,
            [
                "organisation.nam: there is no such question; did you mean organisation.name?",
                "organisation.name: this answer is missing: Name of the organisation",
                "person.name: `admin` is taken by another person",
                "services.files: expected true or false, found string",
                "time.zone: there is no time zone `Mars`; did you mean Pacific/Marquesas?",
            ]
        );
    }

    #[test]
    fn a_persons_own_keys_and_names_stay() {
        for own in ["\"ssh-rsa B me\"", "[\"ssh-rsa B me\"]"] {
            let file =
                format!("[admin]\nssh-key = {own}\n[aliases]\nwebmail = [\"mail.example.org\"]\n");
            let mut answers: Table = file.parse().unwrap();
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
    }
}
