//! Relations between packages (Debian Policy §7.1): `a (>= 1) | b, c:any`.

use super::version;
use std::cmp::Ordering;

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// One package name with its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Package or virtual package.
    pub name: &'a str,
    /// What stands after a colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// Wanted version.
    pub version: Option<(Operator, &'a str)>,
}

/// How a package bears the name that a relation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearing<'a> {
    /// As its own.
    Own,
    /// It provides it, with this after the colon.
    Provided(Option<&'a str>),
}

/// Alternatives in order of preference; one of them must hold.
pub type Group<'a> = Vec<Relation<'a>>;

/// A relation field that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{relation}` is not a relation to a package")]
pub struct BadRelation {
    /// The words in question.
    pub relation: String,
}

/// Reads a whole field: groups that must all hold.
pub fn parse(field: &str) -> Result<Vec<Group<'_>>, BadRelation> {
    field
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty())
        .map(|group| group.split('|').map(parse_relation).collect())
        .collect()
}

fn parse_relation(text: &str) -> Result<Relation<'_>, BadRelation> {
    let bad = || BadRelation {
        relation: text.trim().to_owned(),
    };
    let text = text.trim();
    let (subject, condition) = match text.split_once('(') {
        Some((subject, rest)) => {
            let (condition, after) = rest.split_once(')').ok_or_else(bad)?;
            if !after.trim().is_empty() {
                return Err(bad());
            }
            (subject.trim(), Some(condition.trim()))
        }
        None => (text, None),
    };
    let (name, qualifier) = match subject.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (subject, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(bad());
    }
    let version = condition.map(|text| parse_condition(text).ok_or_else(bad));
    Ok(Relation {
        name,
        qualifier,
        version: version.transpose()?,
    })
}

fn parse_condition(text: &str) -> Option<(Operator, &str)> {
    let length = text
        .bytes()
        .take_while(|byte| matches!(byte, b'<' | b'=' | b'>'))
        .count();
    let (operator, version) = text.split_at(length);
    // A lone `<` or `>` has meant "or equal" since the days of dpkg 1.4.
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    let version = version.trim();
    (!version.is_empty()).then_some((operator, version))
}

impl Relation<'_> {
    /// Whether a version of the named package is one of those wanted.
    pub fn accepts(&self, candidate: &str) -> bool {
        let Some((operator, wanted)) = self.version else {
            return true;
        };
        let order = version::compare(candidate, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Whether what stands after the colon fits a package of a system with the one architecture
    /// `native`, as apt sees it: `allowed` is whether it says `Multi-Arch: allowed`, without which
    /// nobody gets it as `:any`, not even on such a system.
    pub fn reaches(&self, native: &str, allowed: bool, bearing: Bearing<'_>) -> bool {
        let own = self
            .qualifier
            .is_none_or(|of| of == "native" || of == native);
        match (bearing, self.qualifier) {
            (Bearing::Own, Some("all")) => true,
            (Bearing::Own | Bearing::Provided(None), Some("any")) => allowed,
            (Bearing::Own | Bearing::Provided(None), _) => own,
            (Bearing::Provided(Some("native")), _) => false,
            (Bearing::Provided(Some("all")), None) => true,
            (Bearing::Provided(Some(of)), _) if of == native => own,
            (Bearing::Provided(said), wanted) => said == wanted,
        }
    }

    /// Whether a `Provides` entry with this version stands in: an unversioned one never
    /// satisfies a versioned relation.
    pub fn accepts_provided(&self, provided: Option<&str>) -> bool {
        match (self.version, provided) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(version)) => self.accepts(version),
        }
    }
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.version {
            let operator = match operator {
                Operator::Earlier => "<<",
                Operator::EarlierOrEqual => "<=",
                Operator::Equal => "=",
                Operator::LaterOrEqual => ">=",
                Operator::Later => ">>",
            };
            write!(f, " ({operator} {version})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_as_they_were_written() {
        let field = "libc6 (>= 2.36), perl:any, debconf (>= 0.5) | debconf-2.0, a (= 1:2-3)";
        let groups = parse(field).unwrap();
        let written: Vec<String> = groups
            .iter()
            .map(|group| {
                let all: Vec<String> = group.iter().map(ToString::to_string).collect();
                all.join(" | ")
            })
            .collect();
        assert_eq!(written.join(", "), field);
        assert_eq!(parse("a,\n b\n | c(<<2),").unwrap().len(), 2);
    }

    #[test]
    fn nonsense_is_refused_with_the_words_in_question() {
        for text in [
            "a b",
            "a (2)",
            "a (>= )",
            "a (>= 1",
            "(>= 1)",
            "a (>= 1) x",
            "a | | b",
        ] {
            let problem = parse(text).unwrap_err().to_string();
            assert!(
                problem.ends_with("is not a relation to a package"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unversioned_provides_never_satisfies_a_versioned_relation() {
        let versioned = parse("mta (>= 2)").unwrap()[0][0];
        assert!(!versioned.accepts_provided(None));
        assert!(versioned.accepts_provided(Some("2")));
        assert!(!versioned.accepts_provided(Some("1")));
        assert!(parse("mta").unwrap()[0][0].accepts_provided(None));
    }
}
