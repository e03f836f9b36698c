//! The password-authenticated key exchange of a join: SPAKE2 over Ed25519, and proofs by both
//! sides that they hold the same key for the same connection.
//!
//! An exchange gives whoever takes part one guess at the secret and nothing else. What the
//! proofs are about (role, both TLS keys, the TLS session) must be equal at both ends, so a man
//! in the middle, who has another key or another session with one of them, fails as one who
//! guessed wrong. The member proves first: a lead tells nothing to who does not know the secret.
//!
//! This is the one file that touches the `spake2` crate, which nobody has audited.

use ring::hmac;
use sha2::{Digest, Sha256};
use spake2::{Ed25519Group, Identity, Password, Spake2};

/// What both ends must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The role that joins.
    pub role: String,
    /// SHA-256 of the public key that the lead has shown.
    pub lead: [u8; 32],
    /// The same of the member.
    pub member: [u8; 32],
    /// Keying material of the TLS session (RFC 8446, section 7.5).
    pub session: [u8; 32],
}

/// An end of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host that holds the site.
    Lead,
    /// The host that joins.
    Member,
}

/// An exchange that has begun.
pub struct Exchange {
    side: Side,
    state: Spake2<Ed25519Group>,
    binding: Binding,
    /// What this end sends to the other.
    pub message: Vec<u8>,
}

/// The other end sent something that is no message of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other side does not speak the join protocol")]
pub struct Garbled;

impl Exchange {
    /// Begins an exchange over a shared secret.
    pub fn begin(side: Side, secret: &[u8], binding: Binding) -> Exchange {
        let password = Password::new(secret);
        let member = Identity::new(&binding.member);
        let lead = Identity::new(&binding.lead);
        let (state, message) = match side {
            Side::Member => Spake2::start_a(&password, &member, &lead),
            Side::Lead => Spake2::start_b(&password, &member, &lead),
        };
        Exchange {
            side,
            state,
            binding,
            message,
        }
    }

    /// Ends it with what the other end sent.
    pub fn finish(self, theirs: &[u8]) -> Result<Shared, Garbled> {
        let (member, lead) = match self.side {
            Side::Member => (&self.message[..], theirs),
            Side::Lead => (theirs, &self.message[..]),
        };
        let Binding {
            role,
            lead: lead_key,
            member: member_key,
            session,
        } = &self.binding;
        let mut transcript = Sha256::new();
        for part in [
            &b"muster join 1"[..],
            role.as_bytes(),
            lead_key,
            member_key,
            session,
            member,
            lead,
        ] {
            transcript.update((part.len() as u64).to_be_bytes());
            transcript.update(part);
        }
        let transcript = transcript.finalize().into();
        let key = self.state.finish(theirs).map_err(|_| Garbled)?;
        Ok(Shared {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            transcript,
        })
    }
}

/// The key at the end of an exchange: the other end has the same if it knows the secret.
pub struct Shared {
    key: hmac::Key,
    transcript: [u8; 32],
}

impl Shared {
    fn said(&self, side: Side) -> Vec<u8> {
        let who = match side {
            Side::Lead => &b"lead"[..],
            Side::Member => b"member",
        };
        [who, &self.transcript].concat()
    }

    /// What proves that this side holds the key.
    pub fn proof(&self, side: Side) -> Vec<u8> {
        hmac::sign(&self.key, &self.said(side)).as_ref().to_vec()
    }

    /// Whether the other side holds it.
    pub fn proves(&self, side: Side, proof: &[u8]) -> bool {
        hmac::verify(&self.key, &self.said(side), proof).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        Binding {
            role: "edge".into(),
            lead: [1; 32],
            member: [2; 32],
            session: [3; 32],
        }
    }

    /// Whether each side takes the other's proof.
    fn meet(lead: (&[u8], Binding), member: (&[u8], Binding)) -> (bool, bool) {
        let lead = Exchange::begin(Side::Lead, lead.0, lead.1);
        let member = Exchange::begin(Side::Member, member.0, member.1);
        let (to_lead, to_member) = (member.message.clone(), lead.message.clone());
        let (lead, member) = (
            lead.finish(&to_lead).unwrap(),
            member.finish(&to_member).unwrap(),
        );
        (
            lead.proves(Side::Member, &member.proof(Side::Member)),
            member.proves(Side::Lead, &lead.proof(Side::Lead)),
        )
    }

    #[test]
    fn who_knows_the_secret_is_believed() {
        let both = (&b"secret"[..], binding());
        assert_eq!(meet(both.clone(), both), (true, true));
    }

    #[test]
    fn another_secret_key_role_or_session_is_noticed_by_both() {
        let right = || (&b"secret"[..], binding());
        let others: [(&[u8], Binding); 5] = [
            (b"secreu", binding()),
            (
                b"secret",
                Binding {
                    role: "core".into(),
                    ..binding()
                },
            ),
            (
                b"secret",
                Binding {
                    lead: [9; 32],
                    ..binding()
                },
            ),
            (
                b"secret",
                Binding {
                    member: [9; 32],
                    ..binding()
                },
            ),
            (
                b"secret",
                Binding {
                    session: [9; 32],
                    ..binding()
                },
            ),
        ];
        for other in others {
            assert_eq!(meet(right(), other.clone()), (false, false), "{other:?}");
            assert_eq!(meet(other, right()), (false, false));
        }
    }

    #[test]
    fn a_proof_is_not_taken_from_the_wrong_side_or_again_in_another_exchange() {
        let run = || {
            let lead = Exchange::begin(Side::Lead, b"secret", binding());
            let member = Exchange::begin(Side::Member, b"secret", binding());
            let (to_lead, to_member) = (member.message.clone(), lead.message.clone());
            (
                lead.finish(&to_lead).unwrap(),
                member.finish(&to_member).unwrap(),
            )
        };
        let (lead, member) = run();
        // Sent back as it came.
        assert!(!lead.proves(Side::Member, &lead.proof(Side::Lead)));
        let (next, _) = run();
        assert!(!next.proves(Side::Member, &member.proof(Side::Member)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let own = Exchange::begin(Side::Lead, b"secret", binding());
        let back = own.message.clone();
        assert!(own.finish(&back).is_err(), "its own message");
        for theirs in [&b""[..], b"x", &[0; 33], &[0xff; 33], &[0x41; 34]] {
            let lead = Exchange::begin(Side::Lead, b"secret", binding());
            assert!(lead.finish(theirs).is_err(), "{theirs:?}");
        }
    }
}
