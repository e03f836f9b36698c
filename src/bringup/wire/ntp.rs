//! NTP, as a client that asks once (RFC 5905, sections 7.3 and 14).

use super::Refusal;
use super::datagram::ask;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where time servers listen.
const PORT: u16 = 123;
/// A message without extensions.
const SIZE: usize = 48;
/// Version 4, from a client.
const CLIENT: u8 = 4 << 3 | 3;
/// Seconds from 1900, where NTP begins to count, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// How many servers are between it and a clock; 1 is one that has a clock.
    pub stratum: u8,
    /// Seconds that its clock is ahead of ours.
    pub ahead: f64,
    /// Seconds that the answer was under way; `ahead` may be wrong by half of it.
    pub delay: f64,
}

/// Asks a server what time it is.
///
/// # Errors
/// It does not answer within the limit, or has no time to give.
pub fn ask_time(server: IpAddr, limit: Duration) -> Result<Said, Refusal> {
    ask(
        SocketAddr::from((server, PORT)),
        limit,
        || {
            let sent = Stamp::now();
            let mut bytes = vec![0; SIZE];
            bytes[0] = CLIENT;
            bytes[40..].copy_from_slice(&sent.0.to_be_bytes());
            Ok((bytes, sent))
        },
        |bytes, sent| read(bytes, *sent, Stamp::now()),
    )
}

/// A moment: seconds since 1900 in the upper half, parts of one in the lower.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stamp(u64);

impl Stamp {
    fn now() -> Stamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let part = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Stamp((since.as_secs().wrapping_add(EPOCH) << 32) | part)
    }

    /// Seconds from another moment to this, in any era.
    fn since(self, other: Stamp) -> f64 {
        // Two moments are less than 68 years apart.
        let apart = self.0.wrapping_sub(other.0).cast_signed();
        apart as f64 / 4_294_967_296.0
    }
}

/// An answer to what was sent, or nothing if it answers something else.
fn read(bytes: &[u8], sent: Stamp, now: Stamp) -> Option<Result<Said, String>> {
    let bytes: &[u8; SIZE] = bytes.get(..SIZE)?.try_into().ok()?;
    let stamp = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        Stamp(u64::from_be_bytes(eight))
    };
    let (leap, mode, stratum) = (bytes[0] >> 6, bytes[0] & 7, bytes[1]);
    if mode != 4 || stamp(24) != sent {
        return None;
    }
    let (received, told) = (stamp(32), stamp(40));
    if stratum == 0 {
        let code = String::from_utf8_lossy(&bytes[12..16]).into_owned();
        return Some(Err(format!("it turns us away: {code:?}")));
    }
    if leap == 3 || stratum > 15 || told.0 == 0 {
        return Some(Err("it has no time of its own yet".to_owned()));
    }
    Some(Ok(Said {
        stratum,
        ahead: f64::midpoint(received.since(sent), told.since(now)),
        delay: now.since(sent) - told.since(received),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(first: u8, stratum: u8, sent: u64, server: f64) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        (bytes[0], bytes[1]) = (first, stratum);
        bytes[12..16].copy_from_slice(b"RATE");
        bytes[24..32].copy_from_slice(&sent.to_be_bytes());
        let at = ((server * 4_294_967_296.0) as u64).to_be_bytes();
        bytes[32..40].copy_from_slice(&at);
        bytes[40..].copy_from_slice(&at);
        bytes
    }

    #[test]
    fn how_far_a_server_is_ahead_is_known_to_half_the_way() {
        let (sent, now) = (Stamp(1000 << 32), Stamp(1002 << 32));
        let said = read(&answer(4 << 3 | 4, 10, sent.0, 1006.0), sent, now);
        let wanted = Said {
            stratum: 10,
            ahead: 5.0,
            delay: 2.0,
        };
        assert_eq!(said, Some(Ok(wanted)));
        let slow = read(&answer(4 << 3 | 4, 1, sent.0, 1.0), sent, now);
        assert_eq!(
            slow.and_then(Result::ok).map(|said| said.ahead),
            Some(-1000.0)
        );
    }

    #[test]
    fn what_is_no_answer_is_passed_over_and_a_refusal_is_told() {
        let (sent, now) = (Stamp(1000 << 32), Stamp(1002 << 32));
        let told =
            |first, stratum, sent_back| read(&answer(first, stratum, sent_back, 1001.0), sent, now);
        // Of a client, to somebody else, and cut off.
        assert_eq!(told(4 << 3 | 3, 1, sent.0), None);
        assert_eq!(told(4 << 3 | 4, 1, 77), None);
        assert_eq!(read(&[0x24; 47], sent, now), None);
        assert_eq!(
            told(4 << 3 | 4, 0, sent.0),
            Some(Err("it turns us away: \"RATE\"".to_owned()))
        );
        let none = Some(Err("it has no time of its own yet".to_owned()));
        assert_eq!(told(3 << 6 | 4 << 3 | 4, 1, sent.0), none);
        assert_eq!(told(4 << 3 | 4, 16, sent.0), none);
    }
}
