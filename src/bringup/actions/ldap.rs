//! An entry of the local directory, made or changed as its superuser (`ldapi:///`, SASL
//! EXTERNAL). Only what differs is changed; what is not named is left alone.

use super::{Act, ActionError, Found, Surroundings};
use crate::bringup::process::{ProcessError, Program};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// LDAP result code of an absent entry (RFC 4511 §4.1.9), ldapsearch's exit status too.
const NO_SUCH_OBJECT: i32 = 32;

/// See [`crate::profile::Action::Ldap`].
#[derive(Debug)]
pub struct Ldap<'a> {
    /// Distinguished name.
    pub dn: &'a str,
    /// What the entry must have. An attribute without values must be absent.
    pub attributes: &'a BTreeMap<String, Vec<String>>,
    /// What it gets when it is created.
    pub initial: &'a BTreeMap<String, Vec<String>>,
}

/// Attribute in lower case → values as stored.
type Entry = BTreeMap<String, Vec<String>>;

impl Ldap<'_> {
    fn search(&self) -> Result<Option<Entry>, ActionError> {
        let mut command = vec![
            "ldapsearch",
            "-LLL",
            "-Q",
            "-Y",
            "EXTERNAL",
            "-H",
            "ldapi:///",
            "-o",
            "ldif-wrap=no",
            "-s",
            "base",
            "-b",
            self.dn,
            "(objectClass=*)",
        ];
        command.extend(self.attributes.keys().map(String::as_str));
        if self.attributes.is_empty() {
            command.push("1.1");
        }
        match Program::new(command).run() {
            Ok(said) => Ok(Some(parse_ldif(&said.stdout))),
            Err(ProcessError::Failed {
                code: Some(NO_SUCH_OBJECT),
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn change(&self, tool: &str, ldif: String) -> Result<(), ActionError> {
        let program = Program {
            stdin: Some(ldif),
            ..Program::new([tool, "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///"])
        };
        program.run()?;
        Ok(())
    }

    /// LDIF that creates the entry.
    fn creation(&self) -> String {
        let mut ldif = line("dn", self.dn);
        let mut all: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        for (name, values) in self.attributes.iter().chain(self.initial) {
            let values = values.iter().filter(|value| !value.is_empty());
            all.entry(name).or_default().extend(values);
        }
        for (name, values) in all {
            for value in values {
                ldif.push_str(&line(name, value));
            }
        }
        ldif
    }

    /// LDIF that changes what differs; none when nothing does.
    fn modification(&self, entry: &Entry) -> Option<String> {
        let mut ldif = String::new();
        for (name, wanted) in self.attributes {
            let wanted: Vec<&String> = wanted.iter().filter(|value| !value.is_empty()).collect();
            let empty = Vec::new();
            let has = entry.get(&name.to_lowercase()).unwrap_or(&empty);
            // Further object classes are somebody else's business.
            let additive = name.eq_ignore_ascii_case("objectClass");
            let missing: Vec<&String> = wanted
                .iter()
                .copied()
                .filter(|value| !has.iter().any(|other| same(other, value)))
                .collect();
            let surplus = has
                .iter()
                .any(|value| !wanted.iter().any(|other| same(value, other)));
            if missing.is_empty() && (additive || !surplus) {
                continue;
            }
            let (verb, values) = if additive {
                ("add", missing)
            } else {
                ("replace", wanted)
            };
            ldif.push_str(&format!("{verb}: {name}\n"));
            for value in values {
                ldif.push_str(&line(name, value));
            }
            ldif.push_str("-\n");
        }
        if ldif.is_empty() {
            None
        } else {
            Some(format!("{}changetype: modify\n{ldif}", line("dn", self.dn)))
        }
    }
}

impl Act for Ldap<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        Ok(match self.search()? {
            None => Found::Wanting("there is no such entry".into()),
            Some(entry) if self.modification(&entry).is_none() => Found::Satisfied,
            Some(_) => Found::Wanting("its attributes differ".into()),
        })
    }

    fn apply(&self, _around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        match self.search()? {
            None => self.change("ldapadd", self.creation()),
            Some(entry) => match self.modification(&entry) {
                Some(ldif) => self.change("ldapmodify", ldif),
                None => Ok(()),
            },
        }
    }

    /// The server may store a value in another form than it was given, so what counts is
    /// that the entry and each attribute are there.
    fn verify(&self, _around: &Surroundings) -> Result<Found, ActionError> {
        let Some(entry) = self.search()? else {
            return Ok(Found::Wanting("there is no such entry".into()));
        };
        let missing = self.attributes.iter().find(|(name, values)| {
            values.iter().any(|value| !value.is_empty())
                && !entry.contains_key(&name.to_lowercase())
        });
        Ok(match missing {
            Some((name, _)) => Found::Wanting(format!("it has no {name}")),
            None => Found::Satisfied,
        })
    }

    /// The server syncs its database with each change.
    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("directory entry {}", self.dn)
    }
}

/// Whether two values are the same to the directory, as far as one can tell without its
/// schema: `{n}` in front of ordered values of `cn=config`, letter case and runs of blanks
/// do not count.
fn same(one: &str, other: &str) -> bool {
    // Password hashes and keys are compared as they are.
    if one.starts_with("{CRYPT}") || one.starts_with("{SSHA") || one.starts_with("{ARGON2}") {
        return one == other;
    }
    plain(one) == plain(other)
}

fn plain(value: &str) -> String {
    let value = match value
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
    {
        Some((number, rest)) if number.parse::<i32>().is_ok() => rest,
        _ => value,
    };
    let words: Vec<&str> = value.split_whitespace().collect();
    words.join(" ").replace(", ", ",").to_lowercase()
}

/// One line of LDIF (RFC 2849 §2): base64 unless every byte is safe.
fn line(name: &str, value: &str) -> String {
    let safe = value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && !value.starts_with([' ', ':', '<'])
        && !value.ends_with(' ');
    if safe {
        format!("{name}: {value}\n")
    } else {
        format!("{name}:: {}\n", BASE64.encode(value))
    }
}

/// The attributes of the one entry in an answer.
fn parse_ldif(text: &str) -> Entry {
    let mut entry = Entry::new();
    for line in text.replace("\n ", "").lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = match value.strip_prefix(':') {
            Some(encoded) => match BASE64.decode(encoded.trim()) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(_) => continue,
            },
            None => value.strip_prefix(' ').unwrap_or(value).to_string(),
        };
        entry.entry(name.to_lowercase()).or_default().push(value);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        list.iter()
            .map(|(name, values)| {
                let values = values.iter().map(ToString::to_string).collect();
                (name.to_string(), values)
            })
            .collect()
    }

    #[test]
    fn unsafe_values_are_base64_so_that_no_value_becomes_a_line() {
        assert_eq!(line("cn", "Ada"), "cn: Ada\n");
        for value in ["Zoë", " x", "x ", ":x", "<x", "a\nb: c"] {
            let line = line("cn", value);
            assert!(line.starts_with("cn:: "), "{line}");
            assert_eq!(parse_ldif(&line)["cn"], [value]);
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let entry = parse_ldif(
            "dn: uid=ada,dc=x\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n\
             cn: Ada\nmail: old@x\nolcAccess: {0}to *  by * read\n\n",
        );
        let none = BTreeMap::new();
        let same = values(&[
            ("objectClass", &["inetOrgPerson"]),
            ("cn", &["ada"]),
            ("olcAccess", &["to * by * read"]),
            ("description", &[""]),
        ]);
        let act = Ldap {
            dn: "uid=ada,dc=x",
            attributes: &same,
            initial: &none,
        };
        assert_eq!(act.modification(&entry), None);
        let other = values(&[
            ("objectClass", &["inetOrgPerson", "ldapPublicKey"]),
            ("cn", &["Ada"]),
            ("mail", &["ada@x"]),
        ]);
        let act = Ldap {
            dn: "uid=ada,dc=x",
            attributes: &other,
            initial: &none,
        };
        assert_eq!(
            act.modification(&entry).as_deref(),
            Some(
                "dn: uid=ada,dc=x\nchangetype: modify\nreplace: mail\nmail: ada@x\n-\n\
                 add: objectClass\nobjectClass: ldapPublicKey\n-\n"
            )
        );
    }

    #[test]
    fn creation_holds_initial_values_and_drops_empty_ones() {
        let attributes = values(&[("cn", &["Ada"]), ("mail", &[""])]);
        let initial = values(&[("userPassword", &["{CRYPT}$6$x"])]);
        let act = Ldap {
            dn: "cn=Ada,dc=x",
            attributes: &attributes,
            initial: &initial,
        };
        assert_eq!(
            act.creation(),
            "dn: cn=Ada,dc=x\ncn: Ada\nuserPassword: {CRYPT}$6$x\n"
        );
    }
}
