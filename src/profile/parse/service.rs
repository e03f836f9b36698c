//! `services/<name>.toml`.

use super::artifact::{artifacts, images};
use super::probe::probes;
use super::step::{check_owner, steps};
use crate::profile::interfaces::{self, INTERFACES};
use crate::profile::names::{is_key, is_name};
use crate::profile::problem::suggest;
use crate::profile::reader::{Table, choice};
use crate::profile::{
    Certificate, Login, Need, Port, Provide, Record, Scope, Secret, Service, Setting, SettingValue,
    State, Zones,
};
use std::collections::BTreeMap;

/// Reads a service; its overlay is added by whoever reads files.
pub fn service(top: &Table<'_>) -> Service {
    top.expects(&[
        "service",
        "packages",
        "archive",
        "artifact",
        "oci",
        "settings",
        "secrets",
        "record",
        "certificates",
        "port",
        "provides",
        "needs",
        "step",
        "probe",
    ]);
    let mut service = Service {
        name: String::new(),
        summary: String::new(),
        login: Login::None,
        bases: Vec::new(),
        packages: Vec::new(),
        base_packages: BTreeMap::new(),
        preseed: Vec::new(),
        early: Vec::new(),
        artifacts: artifacts(&top.tables("artifact")),
        oci: images(&top.tables("oci")),
        state: Vec::new(),
        settings: BTreeMap::new(),
        secrets: secrets(top),
        records: records(top),
        certificates: certificates(top),
        ports: Vec::new(),
        provides: BTreeMap::new(),
        needs: BTreeMap::new(),
        steps: steps(&top.tables("step")),
        probes: probes(&top.tables("probe")),
        overlay: BTreeMap::new(),
    };
    if let Some(table) = top.required_table("service") {
        service.name = table.required_name("name");
        service.summary = table.required("summary");
        service.login = table
            .text("login")
            .and_then(|l| login(&table, &l))
            .unwrap_or(Login::None);
        service.bases = table.texts("bases");
        service.state = state(&table);
        table.done();
    }
    packages(top, &mut service);
    for (name, table) in top.named("settings", is_key) {
        let default = table.setting("default");
        let help = table.required("help");
        if !table.has("default") {
            table.required("default");
        }
        table.done();
        let default = default.unwrap_or(SettingValue::Bool(false));
        service.settings.insert(name, Setting { default, help });
    }
    for (name, table) in top.named("provides", is_name) {
        service.provides.insert(name, provide(&table));
    }
    service.ports = ports(top, &service.provides);
    for (name, table) in top.named("needs", is_name) {
        if service.provides.contains_key(&name) {
            table.problem(
                "interface",
                format!("`{name}` is both a need and a provide"),
                "their tasks could not be told apart".into(),
                Some("rename one of them".into()),
            );
        }
        service.needs.insert(name.clone(), need(&name, &table));
    }
    service
}

fn login(table: &Table<'_>, text: &str) -> Option<Login> {
    let choices = [
        ("none", Login::None),
        ("oidc", Login::Oidc),
        ("saml", Login::Saml),
        ("ldap", Login::Ldap),
        ("proxy", Login::Proxy),
        ("local", Login::Local),
    ];
    choice(table, "login", text, &choices)
}

/// `state = ["/var/lib/x"]`, in `[service]` and in `[base]`.
pub fn state(table: &Table<'_>) -> Vec<State> {
    let paths = table.texts("state");
    for path in &paths {
        let bad = path
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
        if !path.starts_with('/') || bad {
            table.problem(
                "state",
                format!("`{path}` is not a state path"),
                "an absolute path without a final slash, `.` or `..` is expected".into(),
                None,
            );
        }
    }
    paths.into_iter().map(|path| State { path }).collect()
}

/// debconf lines: `owner question type value`.
pub fn preseed(table: &Table<'_>) -> Vec<String> {
    let lines = table.texts("preseed");
    for line in &lines {
        if line.split_whitespace().count() < 3 {
            table.problem(
                "preseed",
                format!("`{line}` is not a debconf selection"),
                "`owner question type value` is expected".into(),
                None,
            );
        }
    }
    lines
}

fn packages(top: &Table<'_>, service: &mut Service) {
    let Some(table) = top.table("packages") else {
        return;
    };
    service.packages = table.texts("apt");
    service.preseed = preseed(&table);
    service.early = table.texts("early");
    for base in table.rest() {
        // A list here is a misspelt `apt`; `done` then says so.
        if !table.is_table(&base) {
            continue;
        }
        if let Some(inner) = table.table(&base) {
            service.base_packages.insert(base, inner.texts("apt"));
            inner.done();
        }
    }
    table.done();
}

fn secrets(outer: &Table<'_>) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for (name, table) in outer.named("secrets", is_key) {
        let kind = table.text("kind").unwrap_or_else(|| "password".into());
        let kinds = [("password", false), ("rsa", true)];
        let secret = match choice(&table, "kind", &kind, &kinds) {
            Some(true) => Secret::Rsa,
            _ => Secret::Password {
                length: table.number("length", 16, 1024).unwrap_or(32),
            },
        };
        table.done();
        secrets.insert(name, secret);
    }
    for (name, _) in secrets.iter().filter(|(_, secret)| **secret == Secret::Rsa) {
        let public = format!("{name}{}", Secret::PUBLIC);
        if secrets.contains_key(&public) {
            outer.problem(
                "secrets",
                format!("`{public}` is already the public half of `{name}`"),
                "templates could not tell them apart".into(),
                Some("give one of them another name".into()),
            );
        }
    }
    secrets
}

fn records(top: &Table<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    for table in top.tables("record") {
        let of = table.required("of");
        let zones = [("hosts", Zones::Hosts), ("mail", Zones::Mail)];
        let of = match of.is_empty() {
            true => None,
            false => choice(&table, "of", &of, &zones),
        };
        let kind = table.required("type");
        if !kind.is_empty() {
            choice(&table, "type", &kind, &Record::TYPES.map(|name| (name, ())));
        }
        let name = table.text("name").unwrap_or_else(|| "@".into());
        let content = table.required("content");
        table.done();
        records.push(Record {
            of: of.unwrap_or(Zones::Hosts),
            name,
            kind,
            content,
        });
    }
    records
}

fn certificates(top: &Table<'_>) -> BTreeMap<String, Certificate> {
    let mut certificates = BTreeMap::new();
    for (name, table) in top.named("certificates", is_key) {
        let names = table.texts("names");
        if names.is_empty() {
            table.problem(
                "names",
                format!("certificate `{name}` has no names"),
                "a certificate is for at least one DNS name".into(),
                Some("for example: names = [\"{{ self.host }}\"]".into()),
            );
        }
        let owner = table.text("owner").unwrap_or_else(|| "root:root".into());
        check_owner(&table, "owner", &owner);
        table.done();
        certificates.insert(name, Certificate { names, owner });
    }
    certificates
}

fn ports(top: &Table<'_>, offers: &BTreeMap<String, Provide>) -> Vec<Port> {
    let mut ports = Vec::new();
    for table in top.tables("port") {
        let number = table.number("number", 1, 65535);
        if !table.has("number") {
            table.required("number");
        }
        let protocol = table.text("protocol").unwrap_or_else(|| "tcp".into());
        choice(&table, "protocol", &protocol, &[("tcp", ()), ("udp", ())]);
        let scope = table.required("scope");
        let scopes = [
            ("local", Scope::Local),
            ("site", Scope::Site),
            ("public", Scope::Public),
        ];
        let scope = match scope.is_empty() {
            true => None,
            false => choice(&table, "scope", &scope, &scopes),
        };
        let purpose = table.required("purpose");
        let provides = table.texts("provides");
        for name in provides.iter().filter(|name| !offers.contains_key(*name)) {
            table.problem(
                "provides",
                format!("there is no [provides.{name}]"),
                "only consumers of what is named here may dial the port".into(),
                suggest(name, offers.keys().map(String::as_str)),
            );
        }
        table.done();
        ports.push(Port {
            number: number.and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            protocol,
            scope: scope.unwrap_or(Scope::Local),
            purpose,
            provides,
        });
    }
    ports
}

fn interface(table: &Table<'_>) -> (String, Option<&'static interfaces::Interface>) {
    let name = table.required("interface");
    let found = interfaces::find(&name);
    if found.is_none() && !name.is_empty() {
        let known = || INTERFACES.iter().map(|interface| interface.name);
        table.problem(
            "interface",
            format!("there is no interface `{name}`"),
            format!("interfaces: {}", known().collect::<Vec<_>>().join(", ")),
            suggest(&name, known()),
        );
    }
    (name, found)
}

fn provide(table: &Table<'_>) -> Provide {
    let (name, known) = interface(table);
    let values = table.scalars("values");
    if let Some(known) = known {
        for field in known.values.iter().filter(|field| field.required) {
            if !values.contains_key(field.name) {
                table.problem(
                    "values",
                    format!("a provider of `{name}` lacks the value `{}`", field.name),
                    format!("it is: {}", field.summary),
                    None,
                );
            }
        }
        for key in values.keys() {
            if !known.values.iter().any(|field| field.name == key) {
                let names = || known.values.iter().map(|field| field.name);
                table.problem(
                    "values",
                    format!("`{key}` is not a value of the interface `{name}`"),
                    format!("its values: {}", names().collect::<Vec<_>>().join(", ")),
                    suggest(key, names()),
                );
            }
        }
    }
    let secrets = secrets(table);
    let steps = steps(&table.tables("step"));
    table.done();
    Provide {
        interface: name,
        values,
        secrets,
        steps,
    }
}

fn need(name: &str, table: &Table<'_>) -> Need {
    let (interface, known) = interface(table);
    let many = table.flag("many");
    let optional = table.flag("optional");
    let verify = probes(&table.tables("verify"));
    if verify.is_empty() {
        table.problem(
            "interface",
            format!("the need `{name}` has no probe"),
            "an integration without a probe does not exist".into(),
            Some("add verify = [{ probe = \"…\", … }] that does what the service does".into()),
        );
    }
    let mut with = BTreeMap::new();
    match known {
        Some(known) => {
            for field in known.parameters {
                if field.required && !table.has(field.name) {
                    table.problem(
                        "interface",
                        format!("the need `{name}` lacks `{}`", field.name),
                        format!("the interface `{interface}` wants the {}", field.summary),
                        None,
                    );
                }
                if let Some(value) = table.scalar(field.name) {
                    with.insert(field.name.to_owned(), value);
                }
            }
        }
        None => {
            for key in table.rest() {
                table.scalar(&key);
            }
        }
    }
    table.done();
    Need {
        interface,
        many,
        optional,
        with,
        verify,
    }
}
