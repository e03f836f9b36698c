//! Packets of multicast DNS, from whoever is on the wire.

use muster::mesh::discover::{answer, asked, question, told};

pub fn check(bytes: &[u8]) {
    let id = bytes.first_chunk().copied().map_or(0, u16::from_be_bytes);
    if let Some(question) = asked(bytes) {
        assert_eq!(question.id, id);
        assert_eq!(told(bytes, id), None, "both question and answer");
    }
    let Some(announced) = told(bytes, id) else {
        return;
    };
    // Shown to a person and compared: nothing that moves a cursor.
    let shown = format!("{}{}", announced.role, announced.plan);
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()));
    // Said again it is the same.
    let asker = asked(&question(id)).unwrap();
    for asker in [None, Some(&asker)] {
        let said = answer(&announced, asker);
        assert_eq!(told(&said, id), Some(announced.clone()));
    }
}
