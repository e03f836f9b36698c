//! How the hosts of a site find, trust and tell each other: the join, and the traffic after it.
//!
//! Every host has one key, made on it (`host.key`), and shows it in every TLS handshake. A join
//! proves with a code that a person carried, or with a token that a hypervisor put into both
//! hosts, that the keys at the two ends of a connection are those of the lead and of the host
//! of one role; from then on the keys themselves are known, and nothing else is believed: but for a
//! host that the site's authority says leads in the place of another ([`warrant`]).

pub mod clock;
pub mod code;
pub mod discover;
pub mod door;
pub mod frame;
pub mod identity;
pub mod join;
pub mod line;
pub mod members;
pub mod pake;
pub mod tls;
pub mod warrant;

/// The versions of the protocol that this program speaks, oldest and newest.
pub const PROTOCOL: [u32; 2] = [1, 1];

/// The newest version that both sides speak.
pub fn common(theirs: [u32; 2]) -> Option<u32> {
    let newest = PROTOCOL[1].min(theirs[1]);
    (newest >= PROTOCOL[0].max(theirs[0])).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_speak_the_newest_version_that_both_know() {
        assert_eq!(common(PROTOCOL), Some(PROTOCOL[1]));
        assert_eq!(common([1, 9]), Some(PROTOCOL[1]));
        assert_eq!(common([PROTOCOL[1] + 1, PROTOCOL[1] + 2]), None);
        assert_eq!(common([0, 0]), None);
    }
}
