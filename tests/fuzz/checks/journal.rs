//! The journal of a host's bring-up, as a power cut may leave it.

use muster::bringup::journal::{History, JournalError, Record, parse};
use sha2::{Digest, Sha256};
use std::path::Path;

pub fn check(bytes: &[u8]) {
    holds(bytes);
    // No fuzzer finds a checksum: each line again, with its own.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let sound: String = text.lines().map(line).collect();
    holds(sound.as_bytes());
    if let Ok(whole) = parse(sound.as_bytes(), Path::new("j")) {
        // Torn anywhere, it is the journal of the records before.
        let cut = bytes.len().wrapping_mul(7919) % (whole.sound + 1);
        let torn = parse(&sound.as_bytes()[..cut], Path::new("j")).unwrap();
        let before = sound[..cut].rfind('\n').map_or(0, |at| at + 1);
        assert_eq!(torn.sound, before);
    }
}

fn line(json: &str) -> String {
    // As muster itself would write it, when it can be read at all.
    let json = match serde_json::from_str::<Record>(json) {
        Ok(record) => {
            let written = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), record);
            written
        }
        Err(_) => json.to_owned(),
    };
    let sum = hex::encode(Sha256::digest(json.as_bytes()));
    format!("{} {json}\n", &sum[..16])
}

fn holds(bytes: &[u8]) {
    let history = match parse(bytes, Path::new("j")) {
        Ok(history) => history,
        Err(JournalError::Damaged { line, .. }) => {
            assert!(line >= 1 && line <= bytes.split(|byte| *byte == b'\n').count());
            return;
        }
        Err(_) => return,
    };
    assert!(history.sound <= bytes.len());
    assert_eq!(history.torn.is_some(), history.sound < bytes.len());
    // What is repaired is whole, and says the same.
    let repaired = parse(&bytes[..history.sound], Path::new("j")).unwrap();
    let expected = History {
        torn: None,
        ..history
    };
    assert_eq!(repaired, expected);
}
