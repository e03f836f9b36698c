//! What a name server answers. The first byte chooses which question it is taken for.

use muster::bringup::wire::dns::message::{Asked, answers, code, question};

const KINDS: [&str; 8] = ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "TXT"];

pub fn check(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let kind = KINDS[usize::from(*choice) % KINDS.len()];
    let id = message.first_chunk().copied().map_or(0, u16::from_be_bytes);
    let name = "example.org";
    let asked = Asked {
        id,
        name,
        code: code(kind).unwrap(),
    };
    let Some(Ok(found)) = answers(message, &asked) else {
        return;
    };
    // No more than there are bytes for.
    assert!(found.len() * 11 < message.len() || found.is_empty());
    // The answer to a question is none to another.
    let other = Asked {
        id: id.wrapping_add(1),
        ..asked
    };
    assert_eq!(answers(message, &other), None);
    // And a question is no answer.
    assert_eq!(answers(&question(id, name, asked.code), &asked), None);
}
