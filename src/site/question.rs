//! The questions of first boot, as data: console, page, answers file and its check are
//! views of this one list.

use super::refusal::Refusal;
use super::rules::{domain, line, network, person, place, ssh_key};
use crate::profile::Stack;
use std::collections::{BTreeMap, BTreeSet};

/// Answers by question id, tidied: `yes` and `no` for switches, one key per line.
pub type Values = BTreeMap<String, String>;

/// Id of the question for the password; its answer is a crypt hash.
pub const PASSWORD: &str = "admin.password-hash";
/// Id of the question for the keyboard, which is applied before any password is typed.
pub const KEYBOARD: &str = "keyboard.layout";

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Key in the answers file, for example `organisation.name`.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// What a person reads when they answer `?`.
    pub help: String,
    /// What may be answered.
    pub kind: Kind,
    /// Taken when nothing is typed; an empty default makes the answer optional.
    pub default: Option<String>,
    /// Asked only when this other question has this answer.
    pub only: Option<(String, String)>,
}

/// What may be answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A line of text that keeps a rule.
    Line(Rule),
    /// One of these: value and what a person reads.
    Choice(Vec<(String, String)>),
    /// `yes` or `no`.
    YesNo,
    /// A password, typed twice and never shown; kept as a crypt hash.
    Password,
}

/// The rule a line of text keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Any text of one line.
    Text,
    /// A domain of the site's own.
    Domain,
    /// Address with prefix length.
    Address,
    /// A gateway that the address reaches.
    Gateway,
    /// Addresses of name servers.
    NameServers,
    /// An IANA time zone.
    TimeZone,
    /// A keyboard layout.
    Keyboard,
    /// A login name that is none of these.
    LoginName(BTreeSet<String>),
    /// A person's name.
    FullName,
    /// SSH public keys, one per line.
    SshKeys,
}

impl Question {
    /// Whether the answers so far make this question one to ask.
    pub fn applies(&self, given: &Values) -> bool {
        self.only
            .as_ref()
            .is_none_or(|(id, value)| given.get(id) == Some(value))
    }

    /// Checks an answer and tidies it. For a password this is its hash; what is typed is
    /// checked by [`person::password`].
    pub fn check(&self, answer: &str, given: &Values) -> Result<String, Refusal> {
        let answer = answer.trim();
        if answer.is_empty() && self.default.as_deref() == Some("") {
            return Ok(String::new());
        }
        match &self.kind {
            Kind::Line(rule) => rule.check(answer, given),
            Kind::Password => person::password_hash(answer),
            Kind::YesNo => match answer.to_lowercase().as_str() {
                "yes" | "y" | "true" | "on" => Ok("yes".into()),
                "no" | "n" | "false" | "off" => Ok("no".into()),
                _ => Err(Refusal::YesOrNo),
            },
            Kind::Choice(choices) => {
                let known = choices.iter().find(|(value, _)| value == answer);
                known
                    .map(|(value, _)| value.clone())
                    .ok_or_else(|| Refusal::NoSuchChoice {
                        value: answer.into(),
                        choices: choices
                            .iter()
                            .map(|(value, _)| value.as_str())
                            .collect::<Vec<_>>()
                            .join(", "),
                    })
            }
        }
    }
}

impl Rule {
    fn check(&self, text: &str, given: &Values) -> Result<String, Refusal> {
        match self {
            Rule::Text => line(text, 64),
            Rule::Domain => domain::domain(text),
            Rule::Address => network::address(text).map(|interface| interface.to_string()),
            Rule::Gateway => {
                let own = given
                    .get("network.address")
                    .and_then(|text| network::address(text).ok());
                let gateway = network::gateway(text, own)?;
                Ok(gateway
                    .map(|gateway| gateway.to_string())
                    .unwrap_or_default())
            }
            Rule::NameServers => {
                let servers = network::name_servers(text)?;
                Ok(servers
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "))
            }
            Rule::TimeZone => place::time_zone(text),
            Rule::Keyboard => place::keyboard(text),
            Rule::LoginName(reserved) => person::login_name(text, reserved),
            Rule::FullName => person::full_name(text),
            Rule::SshKeys => ssh_key::ssh_keys(text).map(|keys| keys.join("\n")),
        }
    }
}

/// Every question of a host, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// The list.
    pub list: Vec<Question>,
    /// Whether the stack is known, so that an unknown `services.…` is a mistake.
    pub stack_known: bool,
}

/// Groups of the bases that an account of the same name would clash with.
const GROUPS: &[&str] = &[
    "adm",
    "audio",
    "cdrom",
    "crontab",
    "dialout",
    "dip",
    "disk",
    "fax",
    "floppy",
    "input",
    "kmem",
    "kvm",
    "netdev",
    "operator",
    "plugdev",
    "render",
    "sasl",
    "sgx",
    "shadow",
    "src",
    "ssl-cert",
    "staff",
    "sudo",
    "systemd-journal",
    "tape",
    "tty",
    "users",
    "utmp",
    "video",
    "voice",
    "wheel",
];

impl Questions {
    /// The questions that every stack has.
    pub fn of_any_stack() -> Self {
        let list = questions(GROUPS.iter().map(|name| (*name).to_string()).collect());
        Questions {
            list,
            stack_known: false,
        }
    }

    /// The questions of the host of one role.
    pub fn of(stack: &Stack, role: &str) -> Self {
        let mut reserved: BTreeSet<String> =
            GROUPS.iter().map(|name| (*name).to_string()).collect();
        let accounts = stack.bases.values().flat_map(|base| &base.accounts);
        reserved.extend(accounts.map(|account| account.name.clone()));
        let mut list = questions(reserved);
        let role = stack.roles.iter().find(|known| known.name == role);
        for service in role
            .map(|role| role.optional.as_slice())
            .unwrap_or_default()
        {
            let summary = stack
                .services
                .get(service)
                .map(|service| service.summary.as_str());
            list.push(Question {
                id: format!("services.{service}"),
                text: match summary {
                    Some(summary) => format!("Run {service} ({summary})?"),
                    None => format!("Run {service}?"),
                },
                help: "What is switched off is not set up and not proven; its packages stay."
                    .into(),
                kind: Kind::YesNo,
                default: Some("yes".into()),
                only: None,
            });
        }
        Questions {
            list,
            stack_known: true,
        }
    }

    /// The question of this id.
    pub fn get(&self, id: &str) -> Option<&Question> {
        self.list.iter().find(|question| question.id == id)
    }
}

fn questions(reserved: BTreeSet<String>) -> Vec<Question> {
    let asked = |id: &str, text: &str, help: &str, kind: Kind, default: Option<&str>| Question {
        id: id.into(),
        text: text.into(),
        help: help.into(),
        kind,
        default: default.map(Into::into),
        only: None,
    };
    let when_static = |question: Question| Question {
        only: Some(("network.mode".into(), "static".into())),
        ..question
    };
    let line = Kind::Line;
    vec![
        asked(
            KEYBOARD,
            "Keyboard layout",
            "The layout of the keyboard at the screen, for example us, gb, de, fr, ch. It is \
             applied at once, before a password is typed.",
            line(Rule::Keyboard),
            Some("us"),
        ),
        asked(
            "organisation.name",
            "Name of the organisation",
            "As people write it, for example Example Ltd. It stands in certificates and in the \
             directory.",
            line(Rule::Text),
            None,
        ),
        asked(
            "organisation.domain",
            "Domain",
            "A domain that you own, or one below home.arpa. Hosts, mail addresses and the \
             directory are named after it, and changing it later is hard.",
            line(Rule::Domain),
            None,
        ),
        asked(
            "network.mode",
            "How does this host get its address?",
            "dhcp: from the network. static: you type it.",
            Kind::Choice(vec![
                ("dhcp".into(), "from the network (DHCP)".into()),
                ("static".into(), "typed in now".into()),
            ]),
            Some("dhcp"),
        ),
        when_static(asked(
            "network.address",
            "Address with prefix length",
            "For example 192.0.2.10/24 or 2001:db8::10/64.",
            line(Rule::Address),
            None,
        )),
        when_static(asked(
            "network.gateway",
            "Gateway (empty: none)",
            "The router's address in the same network.",
            line(Rule::Gateway),
            Some(""),
        )),
        when_static(asked(
            "network.dns",
            "Name servers (empty: none)",
            "Addresses, separated by spaces.",
            line(Rule::NameServers),
            Some(""),
        )),
        asked(
            "time.zone",
            "Time zone",
            "A name of the IANA database, for example Europe/Berlin or UTC.",
            line(Rule::TimeZone),
            Some("UTC"),
        ),
        asked(
            "admin.name",
            "Login name of the administrator",
            "An account with sudo on every host, and an entry of the directory. root is locked.",
            line(Rule::LoginName(reserved)),
            Some("admin"),
        ),
        asked(
            "admin.full-name",
            "Full name of the administrator",
            "As people write it.",
            line(Rule::FullName),
            Some("Administrator"),
        ),
        asked(
            PASSWORD,
            "Password of the administrator",
            "At least ten characters; several words are good. It is not shown while you type.",
            Kind::Password,
            None,
        ),
        asked(
            "admin.ssh-key",
            "SSH public key of the administrator (empty: none)",
            "The line in a .pub file, for example ssh-ed25519 AAAA... anna@laptop. With a key, \
             SSH takes no passwords.",
            line(Rule::SshKeys),
            Some(""),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyboard_is_asked_before_any_password_and_ids_are_unique() {
        let questions = Questions::of_any_stack();
        let place = |id| questions.list.iter().position(|question| question.id == id);
        assert!(place(KEYBOARD).expect("asked") < place(PASSWORD).expect("asked"));
        let ids: BTreeSet<&str> = questions.list.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), questions.list.len());
    }

    #[test]
    fn every_default_keeps_its_own_rule() {
        for question in Questions::of_any_stack().list {
            if let Some(default) = &question.default {
                let checked = question.check(default, &Values::new());
                assert_eq!(checked.as_ref(), Ok(default), "{}", question.id);
            }
        }
    }

    #[test]
    fn an_address_is_asked_only_when_it_is_static() {
        let questions = Questions::of_any_stack();
        let address = questions.get("network.address").expect("asked");
        let mode = |mode: &str| Values::from([("network.mode".into(), mode.into())]);
        assert!(address.applies(&mode("static")));
        assert!(!address.applies(&mode("dhcp")));
        assert!(!address.applies(&Values::new()));
    }

    #[test]
    fn choices_and_switches_refuse_what_they_do_not_offer() {
        let questions = Questions::of_any_stack();
        let mode = questions.get("network.mode").expect("asked");
        assert_eq!(
            mode.check("bootp", &Values::new())
                .expect_err("refused")
                .to_string(),
            "`bootp` is none of the choices: dhcp, static"
        );
    }
}
