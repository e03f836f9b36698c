//! What a host tells whoever started its machine: one JSON object per line, over the virtio
//! port `org.muster.events`. The agent writes them, `up` reads them; on bare metal there is
//! no such port and nothing is lost, because nothing else depends on it.

use serde::{Deserialize, Serialize};

/// Name of the virtio serial port.
pub const PORT: &str = "org.muster.events";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The host's ssh key, in the two-word form of known_hosts(5): `ssh-ed25519 AAAA…`.
    SshHostKey {
        /// Algorithm and key.
        key: String,
    },
    /// The certificate of the site's authority.
    SiteCa {
        /// PEM.
        pem: String,
    },
    /// The agent of the host that leads its site begins.
    Leads {
        /// How many leads the site has had: of two that say it, the one with more leads now.
        term: u64,
    },
    /// The first-boot questions wait for a person there.
    Dialogue {
        /// Terminal device without `/dev/`.
        console: String,
    },
    /// A phase of bring-up begins.
    Phase {
        /// Short name of the phase.
        name: String,
    },
    /// A task has moved on.
    Task {
        /// Task id as in the plan.
        id: String,
        /// How far it is.
        moment: Moment,
        /// For people: the reason of a failure, else empty.
        #[serde(default)]
        message: String,
    },
    /// Bring-up has ended.
    BringUp {
        /// How.
        outcome: Outcome,
        /// Integrations whose probes are green.
        proven: usize,
        /// All integrations.
        total: usize,
    },
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Journaled as started, nothing done yet.
    Started,
    /// The effect is there, not yet verified nor journaled.
    Applied,
    /// Verified; `done` is journaled right after.
    Done,
    /// Tried and failed; it is tried again or its dependants stop.
    Failed,
}

/// How bring-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every integration is proven.
    Green,
    /// Some probe stayed red.
    Red,
    /// Not over; it resumes by itself.
    Unfinished,
}

/// Reads one line. `None` for an empty line, for one that a power cut left half written, and
/// for an event this program is too old to know.
pub fn parse(line: &str) -> Option<Event> {
    serde_json::from_str(line.trim()).ok()
}

/// The events of a whole log, oldest first.
pub fn parse_all(text: &str) -> Vec<Event> {
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_agreed_words() {
        let cases = [
            (
                Event::SshHostKey {
                    key: "ssh-ed25519 AAAA".into(),
                },
                r#"{"event":"ssh-host-key","key":"ssh-ed25519 AAAA"}"#,
            ),
            (
                Event::SiteCa { pem: "P".into() },
                r#"{"event":"site-ca","pem":"P"}"#,
            ),
            (Event::Leads { term: 2 }, r#"{"event":"leads","term":2}"#),
            (
                Event::Dialogue {
                    console: "ttyS0".into(),
                },
                r#"{"event":"dialogue","console":"ttyS0"}"#,
            ),
            (
                Event::Phase {
                    name: "mail".into(),
                },
                r#"{"event":"phase","name":"mail"}"#,
            ),
            (
                Event::Task {
                    id: "office/slapd/database".into(),
                    moment: Moment::Applied,
                    message: String::new(),
                },
                r#"{"event":"task","id":"office/slapd/database","moment":"applied","message":""}"#,
            ),
            (
                Event::BringUp {
                    outcome: Outcome::Unfinished,
                    proven: 3,
                    total: 14,
                },
                r#"{"event":"bring-up","outcome":"unfinished","proven":3,"total":14}"#,
            ),
        ];
        for (event, line) in cases {
            assert_eq!(serde_json::to_string(&event).expect("serializes"), line);
            assert_eq!(parse(line), Some(event));
        }
    }

    #[test]
    fn half_a_line_and_unknown_events_are_passed_over() {
        let log = "{\"event\":\"phase\",\"name\":\"core\"}\n{\"event\":\"pha\n\
                   {\"event\":\"from-the-future\",\"x\":1}\n\
                   {\"event\":\"phase\",\"name\":\"mail\",\"extra\":true}\n";
        assert_eq!(
            parse_all(log),
            [
                Event::Phase {
                    name: "core".into()
                },
                Event::Phase {
                    name: "mail".into()
                }
            ]
        );
    }
}
