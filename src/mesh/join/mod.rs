//! The join: how a host becomes a member of a site.
//!
//! ```text
//! member                                    lead
//!   TLS 1.3, both show their keys and prove that they have them
//!   knock: role, plan, protocol        →
//!                                      ←    welcome: the protocol, or a refusal
//!   exchange: what it knows, message   →
//!                                      ←    exchange: message
//!   proof                              →    right
//!                                      ←    waits: a person is asked, where it knows a code
//!                                           confirmed, entered in the table of members
//!                                      ←    joined: proof, record; or a refusal
//! ```
//!
//! Who hangs up before the proof has learnt nothing and used up nothing. Who hangs up after it
//! is in the table, and is told the same when it comes again with the same key.

pub mod lead;
pub mod member;
pub mod waiting;

use super::door::Knows;
use super::members::Record;
use serde::{Deserialize, Serialize};

/// What a member says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "say")]
pub enum ToLead {
    /// Who it is and what it was built from.
    Knock {
        /// Oldest and newest version of the protocol that it speaks.
        protocol: [u32; 2],
        /// Its role.
        role: String,
        /// Digest of its plan.
        plan: String,
    },
    /// It is a member already, and its line begins.
    Hello {
        /// Oldest and newest version of the protocol that it speaks.
        protocol: [u32; 2],
        /// Digest of its plan.
        plan: String,
    },
    /// Its part of the exchange.
    Exchange {
        /// What it knows.
        knows: Knows,
        /// Hex.
        message: String,
    },
    /// That it has the key.
    Proof {
        /// Hex.
        proof: String,
    },
}

/// What a lead says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "say")]
pub enum ToMember {
    /// It may go on.
    Welcome {
        /// The version of the protocol from here on.
        protocol: u32,
    },
    /// The lead's part of the exchange.
    Exchange {
        /// Hex.
        message: String,
    },
    /// What it knows is right, and a person at the lead is asked whether it may join.
    Waits {},
    /// It is a member.
    Joined {
        /// That the lead has the key; hex.
        proof: String,
        /// What it needs to know.
        record: Box<Record>,
        /// The lead's clock, seconds since 1970.
        time: u64,
    },
    /// It is not.
    Refused {
        /// Why, and what to do.
        words: String,
        /// Whether another code may help.
        again: bool,
    },
}

/// Why a join did not come about.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The lead said no.
    #[error("{words}")]
    Refused {
        /// In its words.
        words: String,
        /// Whether another code may help.
        again: bool,
    },
    /// The lead's proof is wrong.
    #[error(
        "what answers at {address} does not know the code: it is not the lead, or somebody stands \
         between; nothing was told to it. Compare the address with the one on the lead's screen"
    )]
    NotTheLead {
        /// Where it was looked for.
        address: String,
    },
    /// The connection failed.
    #[error("the lead at {address}: {reason}")]
    Connection {
        /// Where it was looked for.
        address: String,
        /// Why.
        reason: String,
    },
    /// The other side speaks another language.
    #[error("what answers at {address} is no lead of a muster site: {reason}")]
    NoLead {
        /// Where it was looked for.
        address: String,
        /// What it said.
        reason: String,
    },
}
