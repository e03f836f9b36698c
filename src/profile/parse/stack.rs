//! `stacks/<name>/stack.toml`.

use crate::profile::names::is_name;
use crate::profile::network::{Bond, BondMode, NetworkPlan, Subnet, VLANS};
use crate::profile::reader::{Table, choice};
use crate::profile::{Demo, Phase, Role, SettingValue};
use std::collections::BTreeMap;

/// A stack as written: names in it are not yet resolved.
pub struct Written {
    /// Name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Base of the roles that name none.
    pub base: Option<String>,
    /// Kernel of the roles that name none.
    pub kernel: Option<String>,
    /// The network between the hosts.
    pub network: Option<NetworkPlan>,
    /// Role of the deputy.
    pub deputy: Option<String>,
    /// Roles; `base` is empty where the role names none.
    pub roles: Vec<Role>,
    /// Phases.
    pub phases: Vec<Phase>,
    /// Bindings by hand.
    pub binds: Vec<Bind>,
    /// Demo answers.
    pub demo: Demo,
}

/// `[[bind]]`: a binding by hand.
pub struct Bind {
    /// `service` or `role/service`.
    pub consumer: String,
    /// Name of the need.
    pub need: String,
    /// `service` or `role/service`.
    pub provider: String,
    /// Name of the provide, where the provider has several of the interface.
    pub provide: Option<String>,
}

/// Reads a stack.
pub fn stack(top: &Table<'_>) -> Written {
    top.expects(&["stack", "network", "role", "phase", "bind", "demo"]);
    let mut written = Written {
        name: String::new(),
        summary: String::new(),
        base: None,
        kernel: None,
        network: top.table("network").as_ref().and_then(network),
        deputy: None,
        roles: top.tables("role").iter().map(role).collect(),
        phases: top.tables("phase").iter().map(phase).collect(),
        binds: top.tables("bind").iter().map(bind).collect(),
        demo: Demo::default(),
    };
    if let Some(table) = top.required_table("stack") {
        written.name = table.required_name("name");
        written.summary = table.required("summary");
        written.base = table.text("base");
        written.kernel = table.text("kernel");
        written.deputy = table.text("deputy");
        table.done();
    }
    if let Some(table) = top.table("demo") {
        written.demo.answers = table.scalars("answers");
        written.demo.people = table.texts("people");
        for person in &written.demo.people {
            if !is_name(person) {
                table.problem(
                    "people",
                    format!("`{person}` is not a login name"),
                    "lower-case letters, digits and dashes, beginning with a letter".into(),
                    None,
                );
            }
        }
        table.done();
    }
    written
}

fn network(table: &Table<'_>) -> Option<NetworkPlan> {
    let text = table.required("hosts");
    let vlan = table.number("vlan", *VLANS.start(), *VLANS.end());
    let vlan = vlan.and_then(|vlan| u16::try_from(vlan).ok());
    table.done();
    match Subnet::parse(&text) {
        Ok(hosts) => Some(NetworkPlan { hosts, vlan }),
        Err(error) => {
            if !text.is_empty() {
                table.problem(
                    "hosts",
                    error.to_string(),
                    "the hosts of the stack have their addresses in it".into(),
                    None,
                );
            }
            None
        }
    }
}

/// How many cards a bond may have; no server of the day has more in one network.
const BONDED: std::ops::RangeInclusive<u32> = 2..=8;

fn bond(table: &Table<'_>) -> Option<Bond> {
    let mode = table.required("mode");
    // What is missing has been said.
    let mode = match mode.is_empty() {
        true => None,
        false => choice(table, "mode", &mode, &BondMode::ALL),
    };
    let cards = table.number("cards", 0, u32::MAX);
    let cards = cards.unwrap_or(*BONDED.start());
    if !BONDED.contains(&cards) {
        let (what, hint) = match cards {
            0 => ("a bond of no card".to_owned(), None),
            1 => (
                "a bond of one card".to_owned(),
                Some("a host with one card needs no `bond`: leave it out".to_owned()),
            ),
            _ => (format!("a bond of {cards} cards"), None),
        };
        let (least, most) = (BONDED.start(), BONDED.end());
        table.problem(
            "cards",
            what,
            format!("it has {least} to {most} of them"),
            hint,
        );
    }
    table.done();
    let cards = u8::try_from(cards).ok()?;
    mode.map(|mode| Bond { mode, cards })
}

fn role(table: &Table<'_>) -> Role {
    table.expects(&[
        "name", "summary", "base", "memory", "cpus", "disk", "services",
    ]);
    let mut settings: BTreeMap<String, BTreeMap<String, SettingValue>> = BTreeMap::new();
    for (service, inner) in table.named("settings", is_name) {
        let values = settings.entry(service).or_default();
        for key in inner.rest() {
            if let Some(value) = inner.setting(&key) {
                values.insert(key, value);
            }
        }
    }
    let role = Role {
        name: table.required_name("name"),
        summary: table.required("summary"),
        base: table.text("base").unwrap_or_default(),
        kernel: table.text("kernel"),
        memory: table.number("memory", 64, 1 << 24).unwrap_or(1024),
        cpus: table.number("cpus", 1, 1024).unwrap_or(1),
        disk: table.number("disk", 512, 1 << 30).unwrap_or(8192),
        address: table.number("address", 1, u32::MAX),
        bond: table.table("bond").as_ref().and_then(bond),
        outside: table.flag("outside"),
        services: table.texts("services"),
        optional: table.texts("optional"),
        packages: table.texts("packages"),
        recommends: table.flag("recommends"),
        settings,
    };
    table.done();
    role
}

fn phase(table: &Table<'_>) -> Phase {
    let phase = Phase {
        name: table.required_name("name"),
        title: table.required("title"),
        services: table.texts("services"),
    };
    table.done();
    phase
}

fn bind(table: &Table<'_>) -> Bind {
    let bind = Bind {
        consumer: table.required("consumer"),
        need: table.required("need"),
        provider: table.required("provider"),
        provide: table.text("provide"),
    };
    table.done();
    bind
}
