//! Messages of DNS (RFC 1035, section 4) as multicast DNS uses them (RFC 6762): the question for
//! leads, and what a lead says of itself.

use super::{Announced, SERVICE};
use crate::bringup::wire::dns::message::{
    INTERNET, PTR, Reader, TXT, header, name, number, same, string,
};

pub use crate::bringup::wire::dns::message::MOST;

const SRV: u16 = 33;
const ANY: u16 = 255;
/// In a question: answer to me alone (RFC 6762, section 5.4). In a record: it is the only one
/// (section 10.2).
const TOP: u16 = 0x8000;
/// Response, authoritative.
const ANSWER: u16 = 0x8400;

/// A question that a lead answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whoever asks from another port than 5353 wants it back.
    pub id: u16,
}

/// The question for leads.
pub fn question(id: u16) -> Vec<u8> {
    let mut bytes = header(id, 0, 1, 0);
    name(&mut bytes, SERVICE);
    number(&mut bytes, PTR);
    number(&mut bytes, INTERNET | TOP);
    bytes
}

/// What a lead answers. To one that asks from a port of its own the question comes with it, and
/// nothing that only caches understand (RFC 6762, section 6.7).
pub fn answer(announced: &Announced, asker: Option<&Question>) -> Vec<u8> {
    let Announced {
        protocol,
        plan,
        role,
        port,
    } = announced;
    let instance: Vec<&str> = std::iter::once(role.as_str())
        .chain(SERVICE.iter().copied())
        .collect();
    let (id, questions) = asker.map_or((0, 0), |question| (question.id, 1));
    let (lives, own): (u32, u16) = match asker {
        Some(_) => (10, INTERNET),
        None => (120, INTERNET | TOP),
    };
    let mut bytes = header(id, ANSWER, questions, 3);
    if asker.is_some() {
        name(&mut bytes, SERVICE);
        number(&mut bytes, PTR);
        number(&mut bytes, INTERNET);
    }
    let mut target = Vec::new();
    name(&mut target, &instance);
    record(&mut bytes, SERVICE, PTR, INTERNET, lives, &target);
    let mut service = vec![0, 0, 0, 0];
    number(&mut service, *port);
    name(&mut service, &[role.as_str(), "local"]);
    record(&mut bytes, &instance, SRV, own, lives, &service);
    let mut text = Vec::new();
    let protocol = format!("protocol={}-{}", protocol[0], protocol[1]);
    for pair in [protocol, format!("plan={plan}"), format!("role={role}")] {
        string(&mut text, pair.as_bytes());
    }
    record(&mut bytes, &instance, TXT, own, lives, &text);
    bytes
}

/// Reads a question, if it is one for leads.
pub fn asked(bytes: &[u8]) -> Option<Question> {
    let mut reader = Reader::new(bytes);
    let id = reader.number()?;
    let flags = reader.number()?;
    let questions = reader.number()?;
    // Answers, authorities, further ones: what the asker knows.
    for _ in 0..3 {
        reader.number()?;
    }
    // Neither a response nor another operation than a query.
    if flags & 0xf800 != 0 {
        return None;
    }
    for _ in 0..questions {
        let asked = reader.name()?;
        let kind = reader.number()?;
        let class = reader.number()? & !TOP;
        let ours = same(&asked, SERVICE) && [PTR, ANY].contains(&kind);
        if ours && [INTERNET, 255].contains(&class) {
            return Some(Question { id });
        }
    }
    None
}

/// Reads what a lead says of itself; what is neither a response nor about one is nothing.
pub fn told(bytes: &[u8], id: u16) -> Option<Announced> {
    let mut reader = Reader::new(bytes);
    let theirs = reader.number()?;
    let flags = reader.number()?;
    if flags & 0xf80f != 0x8000 || ![0, id].contains(&theirs) {
        return None;
    }
    let questions = reader.number()?;
    let mut records = 0_u32;
    for _ in 0..3 {
        records += u32::from(reader.number()?);
    }
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let (mut port, mut text) = (None, None);
    for _ in 0..records {
        let owner = reader.name()?;
        let kind = reader.number()?;
        reader.take(6)?;
        let length = reader.number()?;
        let from = reader.at();
        let data = reader.take(usize::from(length))?;
        let ours = owner.len() == SERVICE.len() + 1 && same(&owner[1..], SERVICE);
        match kind {
            SRV if ours => {
                port = data
                    .get(4..6)
                    .map(|two| u16::from_be_bytes([two[0], two[1]]))
            }
            TXT if ours => text = Some(&bytes[from..reader.at()]),
            _ => {}
        }
    }
    of(text?, port?)
}

/// The strings of a TXT record (RFC 6763, section 6); the first of a key counts.
fn of(text: &[u8], port: u16) -> Option<Announced> {
    let mut reader = Reader::new(text);
    let (mut protocol, mut plan, mut role) = (None, None, None);
    while reader.at() < text.len() {
        let length = reader.byte()?;
        let string = std::str::from_utf8(reader.take(usize::from(length))?).ok()?;
        match string.split_once('=') {
            Some(("protocol", value)) => {
                let (oldest, newest) = value.split_once('-')?;
                protocol = protocol.or(Some([oldest.parse().ok()?, newest.parse().ok()?]));
            }
            Some(("plan", value)) => plan = plan.or(Some(value.to_owned())),
            Some(("role", value)) => role = role.or(Some(value.to_owned())),
            _ => {}
        }
    }
    let announced = Announced {
        protocol: protocol?,
        plan: plan?,
        role: role?,
        port,
    };
    announced.sane().then_some(announced)
}

fn record(bytes: &mut Vec<u8>, owner: &[&str], kind: u16, class: u16, lives: u32, data: &[u8]) {
    name(bytes, owner);
    number(bytes, kind);
    number(bytes, class);
    bytes.extend(lives.to_be_bytes());
    // What is announced is short: `Announced::sane`.
    number(bytes, u16::try_from(data.len()).unwrap_or(u16::MAX));
    bytes.extend(data);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn announced() -> Announced {
        Announced {
            protocol: [1, 3],
            plan: "0123456789abcdef".repeat(4),
            role: "core".into(),
            port: 7433,
        }
    }

    #[test]
    fn a_question_is_answered_and_the_answer_understood() {
        let asked = asked(&question(77)).unwrap();
        assert_eq!(asked, Question { id: 77 });
        for (asker, id) in [(None, 77), (Some(&asked), 77)] {
            let bytes = answer(&announced(), asker);
            assert!(bytes.len() < MOST);
            assert_eq!(told(&bytes, id), Some(announced()));
        }
        // Somebody else's answer.
        assert_eq!(told(&answer(&announced(), Some(&asked)), 78), None);
        // A question is no answer, and an answer no question.
        assert_eq!(told(&question(77), 77), None);
        assert_eq!(super::asked(&answer(&announced(), None)), None);
    }

    #[test]
    fn names_may_point_back_and_never_in_a_circle() {
        // The question of another asker, whose name ends in an earlier one.
        let mut bytes = header(1, 0, 2, 0);
        name(&mut bytes, &["_other", "_tcp", "local"]);
        number(&mut bytes, PTR);
        number(&mut bytes, INTERNET);
        string(&mut bytes, b"_MUSTER");
        number(&mut bytes, 0xc000 | (12 + 7));
        number(&mut bytes, PTR);
        number(&mut bytes, INTERNET);
        assert_eq!(asked(&bytes), Some(Question { id: 1 }));
        let mut circle = header(1, 0, 1, 0);
        number(&mut circle, 0xc000 | 12);
        assert_eq!(asked(&circle), None);
        let mut two = header(1, 0, 1, 0);
        number(&mut two, 0xc000 | 14);
        number(&mut two, 0xc000 | 12);
        assert_eq!(asked(&two), None);
    }

    #[test]
    fn what_is_cut_anywhere_is_nothing() {
        let whole = answer(&announced(), None);
        for end in 0..whole.len() {
            assert_eq!(told(&whole[..end], 0), None, "{end}");
        }
        let whole = question(5);
        for end in 0..whole.len() {
            assert_eq!(asked(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_no_lead_says_of_itself_is_nothing() {
        for (role, plan) in [
            ("", "ab"),
            ("core\u{1b}[2J", "ab"),
            ("core", "not hex"),
            ("core", ""),
        ] {
            let odd = Announced {
                plan: plan.into(),
                role: role.into(),
                ..announced()
            };
            assert_eq!(told(&answer(&odd, None), 0), None, "{role} {plan}");
        }
    }
}
