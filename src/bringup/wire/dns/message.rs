//! Messages of DNS (RFC 1035, section 4): names and numbers, questions, and what a server answers.

use std::net::{Ipv4Addr, Ipv6Addr};

pub use crate::bringup::wire::datagram::MOST;

/// Followed in one name. A name has at most 127 labels.
const POINTERS: usize = 128;
/// A name has at most so many bytes.
const NAME: usize = 255;

/// A name behind a name.
pub const PTR: u16 = 12;
/// Strings.
pub const TXT: u16 = 16;
/// The class of all that is here.
pub const INTERNET: u16 = 1;

/// Types of records by name.
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", PTR),
    ("MX", 15),
    ("TXT", TXT),
    ("AAAA", 28),
];

/// The number of a type.
pub fn code(kind: &str) -> Option<u16> {
    let mut types = TYPES.iter();
    types
        .find(|(name, _)| name.eq_ignore_ascii_case(kind))
        .map(|(_, code)| *code)
}

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Number of the question.
    pub id: u16,
    /// Name, with or without a final dot.
    pub name: &'a str,
    /// Type.
    pub code: u16,
}

/// Recursion is desired.
const QUERY: u16 = 0x0100;

/// A question to a server.
pub fn question(id: u16, asked: &str, code: u16) -> Vec<u8> {
    let mut bytes = header(id, QUERY, 1, 0);
    let labels: Vec<&str> = labels(asked).collect();
    name(&mut bytes, &labels);
    number(&mut bytes, code);
    number(&mut bytes, INTERNET);
    bytes
}

fn labels(name: &str) -> impl Iterator<Item = &str> {
    name.split('.').filter(|label| !label.is_empty())
}

/// The records that a server answers with, or why it does not; nothing if this is no answer to
/// that question.
pub fn answers(bytes: &[u8], asked: &Asked<'_>) -> Option<Result<Vec<String>, String>> {
    let mut reader = Reader::new(bytes);
    let (id, flags) = (reader.number()?, reader.number()?);
    // A response to a plain query.
    if id != asked.id || flags & 0xf800 != 0x8000 {
        return None;
    }
    let (questions, records) = (reader.number()?, reader.number()?);
    reader.take(4)?;
    for _ in 0..questions {
        let name = reader.name()?;
        let wanted: Vec<&str> = labels(asked.name).collect();
        let code = reader.number()?;
        reader.number()?;
        if !same(&name, &wanted) || code != asked.code {
            return None;
        }
    }
    match flags & 0x000f {
        0 => {}
        // There is no such name.
        3 => return Some(Ok(Vec::new())),
        2 => return Some(Err("the server has failed".into())),
        5 => return Some(Err("the server refuses".into())),
        other => return Some(Err(format!("the server answers with code {other}"))),
    }
    if flags & 0x0200 != 0 {
        return Some(Err("the answer is too long for one packet".into()));
    }
    let mut found = Vec::new();
    for _ in 0..records {
        reader.name()?;
        let code = reader.number()?;
        reader.take(6)?;
        let length = usize::from(reader.number()?);
        let data = Reader {
            bytes,
            at: reader.at,
        };
        reader.take(length)?;
        if code == asked.code {
            found.push(record_text(data, code, length)?);
        }
    }
    Some(Ok(found))
}

fn record_text(mut data: Reader<'_>, code: u16, length: usize) -> Option<String> {
    Some(match code {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(data.take(4)?).ok()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(data.take(16)?).ok()?).to_string(),
        15 => format!("{} {}", data.number()?, text(&data.name()?)),
        TXT => {
            let end = data.at + length;
            let mut whole = Vec::new();
            while data.at < end {
                let length = data.byte()?;
                whole.extend(data.take(usize::from(length))?);
            }
            String::from_utf8_lossy(&whole).into_owned()
        }
        _ => text(&data.name()?),
    })
}

fn text(labels: &[Vec<u8>]) -> String {
    let labels = labels.iter().map(|label| String::from_utf8_lossy(label));
    labels.collect::<Vec<_>>().join(".")
}

/// Whether a name is that one: capitals and small letters are the same.
pub fn same(labels: &[Vec<u8>], known: &[&str]) -> bool {
    labels.len() == known.len()
        && labels
            .iter()
            .zip(known)
            .all(|(label, known)| label.eq_ignore_ascii_case(known.as_bytes()))
}

/// The first twelve bytes.
pub fn header(id: u16, flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MOST);
    for value in [id, flags, questions, answers, 0, 0] {
        number(&mut bytes, value);
    }
    bytes
}

/// Two bytes.
pub fn number(bytes: &mut Vec<u8>, value: u16) {
    bytes.extend(value.to_be_bytes());
}

/// A length and so many bytes, at most 255; a label has at most 63.
pub fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(length);
    bytes.extend(text.iter().take(usize::from(length)));
}

/// A name.
pub fn name(bytes: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        string(bytes, &label.as_bytes()[..label.len().min(63)]);
    }
    bytes.push(0);
}

/// Reads a message from its beginning.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a message.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How far it is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|one| one[0])
    }

    /// Two bytes.
    pub fn number(&mut self) -> Option<u16> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    /// A name, its end perhaps elsewhere in the message (RFC 1035, section 4.1.4). Pointers lead
    /// back only, so that none leads in a circle.
    pub fn name(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut labels = Vec::new();
        let mut length = 0;
        let mut elsewhere: Option<Reader<'a>> = None;
        let mut least = self.at;
        for _ in 0..POINTERS + NAME {
            let reader = match &mut elsewhere {
                Some(reader) => reader,
                None => &mut *self,
            };
            let first = reader.byte()?;
            match first {
                0 => return Some(labels),
                1..=63 => {
                    let label = reader.take(usize::from(first))?;
                    length += label.len() + 1;
                    if length >= NAME {
                        return None;
                    }
                    labels.push(label.to_vec());
                }
                0xc0.. => {
                    let low = reader.byte()?;
                    let at = usize::from(u16::from_be_bytes([first & 0x3f, low]));
                    if at >= least {
                        return None;
                    }
                    least = at;
                    let bytes = self.bytes;
                    elsewhere = Some(Reader { bytes, at });
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The answer of a server to [`question`], with these records of the name that was asked.
    fn answer(flags: u16, asked: &Asked<'_>, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = header(asked.id, flags, 1, u16::try_from(records.len()).unwrap());
        bytes.extend(&question(asked.id, asked.name, asked.code)[12..]);
        for (code, data) in records {
            number(&mut bytes, 0xc00c);
            number(&mut bytes, *code);
            number(&mut bytes, INTERNET);
            bytes.extend([0, 0, 14, 16]);
            number(&mut bytes, u16::try_from(data.len()).unwrap());
            bytes.extend(data);
        }
        bytes
    }

    fn asked(kind: &str) -> Asked<'static> {
        Asked {
            id: 77,
            name: "Example.org.",
            code: code(kind).unwrap(),
        }
    }

    const GOOD: u16 = 0x8580;

    #[test]
    fn records_of_each_type_are_read_as_text() {
        let mut exchanger = vec![0, 10];
        name(&mut exchanger, &["edge", "example", "org"]);
        let mut pointer = Vec::new();
        name(&mut pointer, &["core", "example", "org"]);
        let mut policy = Vec::new();
        string(&mut policy, b"v=spf1 mx ");
        string(&mut policy, b"-all");
        let six: Ipv6Addr = "fd00::a".parse().unwrap();
        for (kind, data, text) in [
            ("A", vec![10, 77, 0, 10], "10.77.0.10"),
            ("aaaa", six.octets().to_vec(), "fd00::a"),
            ("MX", exchanger, "10 edge.example.org"),
            ("NS", pointer.clone(), "core.example.org"),
            ("PTR", pointer, "core.example.org"),
            ("TXT", policy, "v=spf1 mx -all"),
        ] {
            let asked = asked(kind);
            let whole = answer(GOOD, &asked, &[(5, vec![0]), (asked.code, data)]);
            assert_eq!(answers(&whole, &asked), Some(Ok(vec![text.to_owned()])));
            for end in 0..whole.len() {
                assert_eq!(answers(&whole[..end], &asked), None, "{kind} {end}");
            }
        }
    }

    #[test]
    fn no_answer_is_told_from_one_that_says_no_and_from_somebody_elses() {
        let asked = asked("A");
        let told = |flags| answers(&answer(flags, &asked, &[]), &asked);
        assert_eq!(told(GOOD), Some(Ok(Vec::new())));
        assert_eq!(told(GOOD | 3), Some(Ok(Vec::new())));
        for (flags, words) in [
            (GOOD | 2, "the server has failed"),
            (GOOD | 5, "the server refuses"),
            (GOOD | 4, "the server answers with code 4"),
            (GOOD | 0x0200, "the answer is too long for one packet"),
        ] {
            assert_eq!(told(flags), Some(Err(words.to_owned())));
        }
        // A question, another number, another name, another type.
        assert_eq!(told(0x0100), None);
        let whole = answer(GOOD, &asked, &[]);
        for other in [
            Asked { id: 78, ..asked },
            Asked {
                name: "example.com",
                ..asked
            },
            Asked { code: 28, ..asked },
        ] {
            assert_eq!(answers(&whole, &other), None);
        }
    }
}
