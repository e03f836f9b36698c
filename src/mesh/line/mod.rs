//! The line between the lead and a member, for as long as both are up.
//!
//! The member dials, proves its key and says hello; then both say what they have to, whenever
//! they have it. Nothing on it counts twice: after a break each side says again what still
//! holds, so a lead that was restarted knows in one message what happened meanwhile.
//!
//! ```text
//! member                             lead
//!   hello: plan, image           →
//!                                ←   orders: the site as this role needs it
//!   done: all its tasks so far   →
//!                                ←   done: what its tasks wait for, so far
//!   done: the next one           →   … ←  done: the next one
//!   report: how the host stands  →
//!   ask: sign this public key    →
//!                                ←   answer: its certificate
//!                                ←   ask: probe everything now
//!   answer: how the host stands  →
//! ```
//!
//! Either side may ask whenever the line is up. Answers come in any order and name their
//! question; what is not answered when the line breaks never is, and is asked again or not.
//!
//! A member that cannot reach its lead calls where the deputy is, too, and follows it when it shows
//! the warrant of the site's authority.

pub mod hub;
pub mod link;
pub mod question;

use self::question::Question;
use crate::mesh::warrant::Warrant;
use crate::site::Site;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How both sides notice that the other is gone without a word, as after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Each says something at least so often.
    pub pulse: Duration,
    /// After so long without a word the other side is taken for gone.
    pub silence: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Rhythm {
            pulse: Duration::from_secs(15),
            silence: Duration::from_secs(45),
        }
    }
}

/// What a member says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "say")]
pub enum FromMember {
    /// These tasks of it are done.
    Done {
        /// Ids.
        tasks: BTreeSet<String>,
    },
    /// These are not any more: their effect is made again.
    Undone {
        /// Ids.
        tasks: BTreeSet<String>,
    },
    /// How the host stands.
    Report {
        /// As in its `status.json`.
        status: Value,
    },
    /// Asks the lead.
    Ask {
        /// Counts the member's questions.
        number: u64,
        /// What.
        question: Question,
    },
    /// Answers the lead.
    Answer {
        /// Which question.
        number: u64,
        /// What was asked for.
        answer: Option<Value>,
        /// Why there is none.
        reason: String,
    },
}

/// What the lead says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "say")]
pub enum FromLead {
    /// The site as this role needs it.
    Orders {
        /// All of it.
        orders: Box<Orders>,
        /// The lead's clock, seconds since 1970.
        time: u64,
        /// That it leads in the place of another; none from the host that made the site.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warrant: Option<Box<Warrant>>,
    },
    /// Tasks of other hosts that this one's wait for are done.
    Done {
        /// Ids.
        tasks: BTreeSet<String>,
    },
    /// They are not any more.
    Undone {
        /// Ids.
        tasks: BTreeSet<String>,
    },
    /// Asks the member.
    Ask {
        /// Counts the lead's questions on this line.
        number: u64,
        /// What.
        question: Question,
    },
    /// Answers the member.
    Answer {
        /// Which question.
        number: u64,
        /// What was asked for.
        answer: Option<Value>,
        /// Why there is none.
        reason: String,
    },
    /// The lead does not talk to this host.
    Refused {
        /// Why, and what to do.
        words: String,
        /// Who leads: for a former lead that has not heard of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warrant: Option<Box<Warrant>>,
    },
}

/// The site as one role needs it: no secret in it that its tasks do not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Orders {
    /// The answers; passwords of people only where a task of the role reads them.
    pub site: Site,
    /// Role → address of its host.
    pub addresses: BTreeMap<String, String>,
    /// Name → secret.
    pub secrets: BTreeMap<String, String>,
}
