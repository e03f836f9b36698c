//! The armour of a cleartext-signed file: whatever is done to it, the text that is believed is
//! the one that was signed.

use muster::packages::apt::openpgp;

/// A key made for this, and what it has signed.
const KEY: &str = include_str!("../signed/key.asc");
const FINGERPRINT: &str = include_str!("../signed/fingerprint");
const TEXT: &str = include_str!("../signed/Release");
/// 2026-02-01, a month after it signed.
const NOW: i64 = 1_769_904_000;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let fingerprints = [FINGERPRINT.trim().to_owned()];
    if let Ok(verified) = openpgp::verify(text, KEY, &fingerprints, NOW) {
        // White space at the end of a line is not signed (RFC 9580, §7.2).
        let lines = |text: &str| -> Vec<String> {
            let lines = text.trim_end().lines();
            lines.map(|line| line.trim_end().to_owned()).collect()
        };
        assert_eq!(lines(&verified.text), lines(TEXT));
        assert_eq!(verified.signed_by, fingerprints[0]);
    }
    // As certificates, the same bytes.
    let _ = openpgp::verify(include_str!("../signed/InRelease"), text, &[], NOW);
}
