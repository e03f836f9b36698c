//! The answers file: TOML whose keys are the ids of questions.

use super::question::{Kind, PASSWORD, Questions, Values};
use super::refusal::Refusal;
use super::rules::network::{self, Peer};
use super::rules::{domain, person};
use crate::profile::names::is_name;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// What a person, or a file in their place, has answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// Answers by question id, each checked and tidied.
    pub values: Values,
    /// Further people of the directory.
    pub people: Vec<Entry>,
    /// Route host → further names it answers to.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// What the hosts of one site know each other by: 256 bits, hex. From `muster up`.
    pub token: Option<String>,
    /// Where the lead is, for a host that joins by a code.
    pub lead: Option<Peer>,
    /// Role of the lead, for a host that would else make a new site: another was promoted.
    pub leader: Option<String>,
}

/// A `[[person]]` of the answers file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Login name.
    pub name: String,
    /// As people write it.
    pub full_name: String,
    /// crypt(5) hash.
    pub password_hash: String,
}

/// One thing wrong with answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Key of the answer, as in the file.
    pub key: String,
    /// Why it is refused.
    pub reason: Reason,
    /// Bytes of the file it is about.
    pub span: Option<Range<usize>>,
}

/// Why an answer of a file is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The file is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// The value breaks its rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No question has this id.
    #[error("there is no such question{}", nearest(.0))]
    Unknown(Option<String>),
    /// A number where a string belongs, and the like.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A required answer is not there.
    #[error("this answer is missing: {0}")]
    Missing(String),
    /// A password in clear.
    #[error(
        "a password does not stand in a file in clear; give admin.password-hash, made with \
         `mkpasswd -m sha-512` or `openssl passwd -6`"
    )]
    Clear,
    /// An answer to a question that is not asked.
    #[error("this only means something with {id} = \"{value}\"")]
    NotAsked {
        /// The other question.
        id: String,
        /// Its answer.
        value: String,
    },
    /// A secret where everybody reads.
    #[error(
        "everybody may read the kernel command line; a password hash belongs in an answers file: \
         muster answers init FILE"
    )]
    Public,
}

impl Problem {
    /// The line of the file it is about, from 1; none when it is about no place in it.
    pub fn line_number(&self, text: &str) -> Option<usize> {
        self.span.as_ref().map(|span| line_of(text, span.start))
    }

    /// `FILE:LINE: key: reason`, as `muster answers check` prints it.
    pub fn line(&self, file: &str, text: &str) -> String {
        let line = match self.line_number(text) {
            Some(line) => format!(":{line}"),
            None => String::new(),
        };
        let key = match self.key.as_str() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        format!("{file}{line}: {key}{}", self.reason)
    }
}

/// An answers file to fill in: every question with its help, defaults commented out.
pub fn template(questions: &Questions) -> String {
    let mut text = String::from(
        "# Answers for a host that nobody sits at. Lines with a # before them show defaults.\n\
         # It holds a password hash: keep it to yourself.\n",
    );
    let mut section = "";
    for question in &questions.list {
        let (table, key) = question.id.split_once('.').unwrap_or(("", &question.id));
        if table != section {
            text.push_str(&format!("\n[{table}]\n"));
            section = table;
        }
        text.push_str(&format!(
            "# {}. {}\n",
            question.text.trim_end_matches('?'),
            question.help
        ));
        if let Some((id, value)) = &question.only {
            text.push_str(&format!("# Only with {id} = \"{value}\".\n"));
        }
        let line = match (&question.kind, &question.default) {
            (Kind::YesNo, default) => format!("# {key} = {}", default.as_deref() == Some("yes")),
            (Kind::Password, _) => format!("{key} = \"\" # mkpasswd -m sha-512"),
            (_, Some(default)) => format!("# {key} = \"{default}\""),
            (_, None) if question.only.is_some() => format!("# {key} = \"\""),
            (_, None) => format!("{key} = \"\""),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn nearest(name: &Option<String>) -> String {
    match name {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    }
}

impl Answers {
    /// Reads an answers file: what can be taken, and what is wrong with the rest.
    pub fn read(text: &str, questions: &Questions) -> (Self, Vec<Problem>) {
        let mut reader = Reader {
            questions,
            problems: Vec::new(),
            given: BTreeMap::new(),
        };
        let mut answers = Answers::default();
        match DeTable::parse(text) {
            Ok(table) => {
                reader.top(table.get_ref(), &mut answers);
                reader.take(&mut answers);
                reader.people(table.get_ref(), &mut answers);
            }
            Err(error) => reader.problems.push(Problem {
                key: String::new(),
                reason: Reason::Syntax(error.message().to_string()),
                span: error.span(),
            }),
        }
        reader
            .problems
            .sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        (answers, reader.problems)
    }

    /// Takes single values, by question id, over those already given; the names of secrets
    /// are refused when `public`.
    pub fn take(
        &mut self,
        values: &BTreeMap<String, String>,
        questions: &Questions,
        public: bool,
    ) -> Vec<Problem> {
        let mut reader = Reader {
            questions,
            problems: Vec::new(),
            given: BTreeMap::new(),
        };
        for (key, value) in values {
            if public && key == PASSWORD {
                reader.problem(key, Reason::Public, None);
            } else if questions.get(key).is_none() {
                reader.unknown(key, None);
            } else {
                reader.given.insert(key.clone(), (value.clone(), None));
            }
        }
        reader.take(self);
        reader.problems
    }

    /// Every question's answer, defaults included; or what is missing.
    pub fn complete(&self, questions: &Questions) -> Result<Values, Vec<Problem>> {
        let mut values = self.values.clone();
        let mut missing = Vec::new();
        for question in &questions.list {
            if !question.applies(&values) {
                values.remove(&question.id);
            } else if !values.contains_key(&question.id) {
                match &question.default {
                    Some(default) => {
                        values.insert(question.id.clone(), default.clone());
                    }
                    None => missing.push(Problem {
                        key: question.id.clone(),
                        reason: Reason::Missing(question.text.clone()),
                        span: None,
                    }),
                }
            }
        }
        match missing.is_empty() {
            true => Ok(values),
            false => Err(missing),
        }
    }

    /// Drops answers that the others have made impossible, so that they are asked again.
    pub fn settle(&mut self, questions: &Questions) {
        for question in &questions.list {
            let Some(value) = self.values.get(&question.id) else {
                continue;
            };
            if !question.applies(&self.values) || question.check(value, &self.values).is_err() {
                self.values.remove(&question.id);
            }
        }
    }

    /// The answers as a file. It holds password hashes: store it 0600.
    pub fn to_toml(&self) -> String {
        let mut top = toml::Table::new();
        for (id, value) in &self.values {
            let (table, key) = id.split_once('.').unwrap_or(("answers", id));
            let section = top
                .entry(table)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let value = match (table, value.as_str()) {
                ("services", switch) => toml::Value::Boolean(switch == "yes"),
                (_, text) => toml::Value::String(text.into()),
            };
            if let Some(section) = section.as_table_mut() {
                section.insert(key.into(), value);
            }
        }
        let person = |entry: &Entry| {
            toml::Value::Table(toml::Table::from_iter([
                ("name".to_string(), toml::Value::String(entry.name.clone())),
                (
                    "full-name".to_string(),
                    toml::Value::String(entry.full_name.clone()),
                ),
                (
                    "password-hash".to_string(),
                    toml::Value::String(entry.password_hash.clone()),
                ),
            ]))
        };
        if !self.people.is_empty() {
            let people = self.people.iter().map(person).collect();
            top.insert("person".into(), toml::Value::Array(people));
        }
        if !self.aliases.is_empty() {
            let strings = |names: &[String]| {
                toml::Value::Array(names.iter().cloned().map(toml::Value::String).collect())
            };
            let aliases = self
                .aliases
                .iter()
                .map(|(host, names)| (host.clone(), strings(names)))
                .collect();
            top.insert("aliases".into(), toml::Value::Table(aliases));
        }
        top.to_string()
    }
}

/// One line number, from 1, of a byte of a text.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

struct Reader<'a> {
    questions: &'a Questions,
    problems: Vec<Problem>,
    /// Values as written, with their place, before any rule.
    given: BTreeMap<String, (String, Option<Range<usize>>)>,
}

impl Reader<'_> {
    fn problem(&mut self, key: &str, reason: Reason, span: Option<Range<usize>>) {
        self.problems.push(Problem {
            key: key.into(),
            reason,
            span,
        });
    }

    fn wrong_type(&mut self, key: &str, expected: &'static str, value: &Value<'_>) {
        let found = value.get_ref().type_str();
        self.problem(key, Reason::Type { expected, found }, Some(value.span()));
    }

    fn unknown(&mut self, key: &str, span: Option<Range<usize>>) {
        let known = self
            .questions
            .list
            .iter()
            .map(|question| question.id.as_str());
        let nearest = known
            .map(|id| (strsim::jaro_winkler(key, id), id))
            .filter(|(likeness, _)| *likeness > 0.9)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, id)| id.to_string());
        self.problem(key, Reason::Unknown(nearest), span);
    }

    fn top(&mut self, table: &DeTable<'_>, answers: &mut Answers) {
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            match (name, value.get_ref()) {
                ("person", DeValue::Array(_)) => {}
                ("aliases", DeValue::Table(aliases)) => self.aliases(aliases, answers),
                ("join", DeValue::Table(join)) => self.join(join, answers),
                ("join", _) => self.wrong_type(name, "a table", value),
                ("person", _) => self.wrong_type(name, "[[person]] tables", value),
                ("aliases", _) => self.wrong_type(name, "a table", value),
                (_, DeValue::Table(section)) => {
                    for (key, value) in section.iter() {
                        self.value(&format!("{name}.{}", key.get_ref()), key.span(), value);
                    }
                }
                _ => self.unknown(name, Some(key.span())),
            }
        }
    }

    /// One answer as it is written.
    fn value(&mut self, id: &str, key: Range<usize>, value: &Value<'_>) {
        if id == "admin.password" {
            return self.problem(id, Reason::Clear, Some(key));
        }
        let question = self.questions.get(id);
        let free = id.starts_with("services.") && !self.questions.stack_known;
        let Some(kind) = question
            .map(|question| &question.kind)
            .or(free.then_some(&Kind::YesNo))
        else {
            return self.unknown(id, Some(key));
        };
        let lists = ["network.dns", "admin.ssh-key"].contains(&id);
        let text = match (value.get_ref(), kind) {
            (DeValue::Boolean(true), Kind::YesNo) => Some("yes".to_string()),
            (DeValue::Boolean(false), Kind::YesNo) => Some("no".to_string()),
            (_, Kind::YesNo) => None,
            (DeValue::String(text), _) => Some(text.to_string()),
            (DeValue::Array(parts), _) if lists => strings(parts).map(|parts| parts.join("\n")),
            _ => None,
        };
        match (text, kind) {
            (Some(text), _) => {
                self.given.insert(id.into(), (text, Some(value.span())));
            }
            (None, Kind::YesNo) => self.wrong_type(id, "true or false", value),
            (None, _) if lists => self.wrong_type(id, "a string or a list of strings", value),
            (None, _) => self.wrong_type(id, "a string", value),
        }
    }

    /// Checks in the order of the questions, since some rules look at earlier answers.
    fn take(&mut self, answers: &mut Answers) {
        for question in &self.questions.list {
            let Some((text, span)) = self.given.remove(&question.id) else {
                // What others decide (`only`) must see the default of what was left out.
                continue;
            };
            let mut seen = answers.values.clone();
            for earlier in &self.questions.list {
                if let Some(default) = &earlier.default {
                    seen.entry(earlier.id.clone())
                        .or_insert_with(|| default.clone());
                }
            }
            if !question.applies(&seen) {
                if let Some((id, value)) = &question.only {
                    let reason = Reason::NotAsked {
                        id: id.clone(),
                        value: value.clone(),
                    };
                    self.problem(&question.id, reason, span);
                }
                continue;
            }
            match question.check(&text, &answers.values) {
                Ok(value) => {
                    answers.values.insert(question.id.clone(), value);
                }
                Err(refusal) => self.problem(&question.id, Reason::Refused(refusal), span),
            }
        }
        // Switches of services of a stack we do not know.
        for (id, (value, _)) in std::mem::take(&mut self.given) {
            answers.values.insert(id, value);
        }
    }

    fn person(&mut self, person: &Value<'_>, answers: &mut Answers) {
        let DeValue::Table(table) = person.get_ref() else {
            return self.wrong_type("person", "[[person]] tables", person);
        };
        let admin = answers
            .values
            .get("admin.name")
            .map_or("admin", String::as_str);
        let mut taken: BTreeSet<String> = answers
            .people
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        taken.insert(admin.to_string());
        let mut fields = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = format!("person.{}", key.get_ref());
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("name" | "full-name" | "password-hash", DeValue::String(text)) => {
                    fields.insert(key.get_ref().to_string(), (text.to_string(), value.span()));
                }
                ("name" | "full-name" | "password-hash", _) => {
                    self.wrong_type(&name, "a string", value);
                }
                ("password", _) => self.problem(&name, Reason::Clear, Some(key.span())),
                _ => self.unknown(&name, Some(key.span())),
            }
        }
        let mut field = |name: &str, rule: &dyn Fn(&str) -> Result<String, Refusal>| {
            let key = format!("person.{name}");
            let Some((text, span)) = fields.remove(name) else {
                let reason = Reason::Missing(format!("{name} of a person"));
                self.problem(&key, reason, Some(person.span()));
                return None;
            };
            match rule(&text) {
                Ok(value) => Some(value),
                Err(refusal) => {
                    self.problem(&key, Reason::Refused(refusal), Some(span));
                    None
                }
            }
        };
        let name = field("name", &|text| {
            let name = person::login_name(text, &BTreeSet::new())?;
            match taken.contains(&name) {
                true => Err(Refusal::DuplicateName(name)),
                false => Ok(name),
            }
        });
        let full_name = field("full-name", &person::full_name);
        let password_hash = field("password-hash", &person::password_hash);
        if let (Some(name), Some(full_name), Some(password_hash)) = (name, full_name, password_hash)
        {
            answers.people.push(Entry {
                name,
                full_name,
                password_hash,
            });
        }
    }

    /// People come after the administrator's name is known: two must not share one.
    fn people(&mut self, table: &DeTable<'_>, answers: &mut Answers) {
        let Some(DeValue::Array(people)) = table.get("person").map(|value| value.get_ref()) else {
            return;
        };
        for person in people.iter() {
            self.person(person, answers);
        }
    }

    fn join(&mut self, table: &DeTable<'_>, answers: &mut Answers) {
        for (key, value) in table.iter() {
            let name = format!("join.{}", key.get_ref());
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("token", DeValue::String(text)) => {
                    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
                    match hex && text.len() == 64 {
                        true => answers.token = Some(text.to_string()),
                        false => {
                            let reason = Reason::Refused(Refusal::Token);
                            self.problem(&name, reason, Some(value.span()));
                        }
                    }
                }
                ("address", DeValue::String(text)) => match network::peer(text) {
                    Ok(lead) => answers.lead = Some(lead),
                    Err(refusal) => {
                        self.problem(&name, Reason::Refused(refusal), Some(value.span()));
                    }
                },
                ("lead", DeValue::String(text)) => match is_name(text) {
                    true => answers.leader = Some(text.to_string()),
                    false => {
                        let reason = Reason::Refused(Refusal::Role(text.to_string()));
                        self.problem(&name, reason, Some(value.span()));
                    }
                },
                ("token" | "address" | "lead", _) => self.wrong_type(&name, "a string", value),
                _ => self.unknown(&name, Some(key.span())),
            }
        }
    }

    fn aliases(&mut self, table: &DeTable<'_>, answers: &mut Answers) {
        for (host, value) in table.iter() {
            let key = format!("aliases.{}", host.get_ref());
            let DeValue::Array(parts) = value.get_ref() else {
                self.wrong_type(&key, "a list of strings", value);
                continue;
            };
            let Some(names) = strings(parts) else {
                self.wrong_type(&key, "a list of strings", value);
                continue;
            };
            let names: Result<Vec<String>, Refusal> =
                names.iter().map(|name| domain::host(name)).collect();
            match names {
                Ok(names) => {
                    answers.aliases.insert(host.get_ref().to_string(), names);
                }
                Err(refusal) => self.problem(&key, Reason::Refused(refusal), Some(value.span())),
            }
        }
    }
}

type Value<'i> = toml::Spanned<DeValue<'i>>;

fn strings(parts: &toml::de::DeArray<'_>) -> Option<Vec<String>> {
    parts
        .iter()
        .map(|part| part.get_ref().as_str().map(Into::into))
        .collect()
}
