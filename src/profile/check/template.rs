//! Templates parse and name only what there will be, before any host renders them.

use super::files::step_lists;
use crate::profile::interfaces;
use crate::profile::notes::Notes;
use crate::profile::problem::{Place, suggest};
use crate::profile::{Action, Probe, Secret, Service, Step};

/// Which names a template may use, beside those of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The consumer and the grant of this provide.
    pub grant: Option<&'a str>,
    /// The `item` of `each`.
    pub item: bool,
}

impl Scope<'_> {
    /// Only the service's own.
    pub const OWN: Scope<'static> = Scope {
        grant: None,
        item: false,
    };
}

/// One template of a service.
pub struct Template<'a> {
    /// Path of its place.
    pub place: String,
    /// Its text.
    pub text: &'a str,
    /// What it may name.
    pub scope: Scope<'a>,
}

/// Every template of a service.
pub fn templates_of(service: &Service) -> Vec<Template<'_>> {
    let name = &service.name;
    let mut all = Vec::new();
    let mut add = |place: String, text, scope| all.push(Template { place, text, scope });
    for (key, certificate) in &service.certificates {
        for (index, text) in certificate.names.iter().enumerate() {
            let place = format!("service/{name}/certificates/{key}/names/{index}");
            add(place, text.as_str(), Scope::OWN);
        }
    }
    for (index, record) in service.records.iter().enumerate() {
        let scope = Scope {
            item: true,
            ..Scope::OWN
        };
        for (key, text) in [("name", &record.name), ("content", &record.content)] {
            add(format!("service/{name}/record/{index}/{key}"), text, scope);
        }
    }
    for (need, wanted) in &service.needs {
        for (key, text) in &wanted.with {
            add(
                format!("service/{name}/needs/{need}/{key}"),
                text,
                Scope::OWN,
            );
        }
        for (index, probe) in wanted.verify.iter().enumerate() {
            let place = format!("service/{name}/needs/{need}/verify/{index}");
            probe_templates(&place, probe, Scope::OWN, &mut add);
        }
    }
    for (provide, offer) in &service.provides {
        for (key, text) in &offer.values {
            let place = format!("service/{name}/provides/{provide}/values/{key}");
            add(
                place,
                text,
                Scope {
                    grant: Some(provide),
                    item: false,
                },
            );
        }
    }
    for (index, probe) in service.probes.iter().enumerate() {
        probe_templates(
            &format!("service/{name}/probe/{index}"),
            probe,
            Scope::OWN,
            &mut add,
        );
    }
    for (path, steps, scope) in step_lists(service) {
        for (index, step) in steps.iter().enumerate() {
            step_templates(service, &format!("{path}/{index}"), step, scope, &mut add);
        }
    }
    all
}

fn probe_templates<'a>(
    place: &str,
    probe: &'a Probe,
    scope: Scope<'a>,
    add: &mut impl FnMut(String, &'a str, Scope<'a>),
) {
    for (key, text) in &probe.with {
        add(format!("{place}/{key}"), text, scope);
    }
}

fn step_templates<'a>(
    service: &'a Service,
    place: &str,
    step: &'a Step,
    scope: Scope<'a>,
    add: &mut impl FnMut(String, &'a str, Scope<'a>),
) {
    for (key, text) in [("when", &step.when), ("each", &step.each)] {
        if let Some(text) = text {
            add(format!("{place}/{key}"), text, scope);
        }
    }
    let scope = Scope {
        item: step.each.is_some(),
        ..scope
    };
    let mut one = |key: &str, text: &'a str| add(format!("{place}/{key}"), text, scope);
    match &step.action {
        Action::File {
            path,
            template,
            content,
            owner,
            ..
        } => {
            one("file", path);
            one("owner", owner);
            if let Some(content) = content {
                one("content", content);
            }
            if let Some(file) = template
                .as_ref()
                .and_then(|path| service.overlay.get_key_value(path))
            {
                add(
                    format!("overlay/{}{}", service.name, file.0),
                    &file.1.content,
                    scope,
                );
            }
        }
        Action::Directory { path, owner, .. } => {
            one("directory", path);
            one("owner", owner);
        }
        Action::Link { path, to } => {
            one("link", path);
            one("to", to);
        }
        Action::Absent { path } => one("absent", path),
        Action::Unit { unit, .. } => one("unit", unit),
        Action::Command {
            command,
            unless,
            user,
            stdin,
            environment,
            directory,
        } => {
            for (index, text) in command.iter().enumerate() {
                one(&format!("command/{index}"), text);
            }
            for (index, text) in unless.iter().enumerate() {
                one(&format!("unless/{index}"), text);
            }
            for (key, text) in [("user", user), ("stdin", stdin), ("directory", directory)] {
                if let Some(text) = text {
                    one(key, text);
                }
            }
            for (key, text) in environment {
                one(&format!("environment/{key}"), text);
            }
        }
        Action::Sql {
            database,
            sql,
            unless,
        } => {
            one("sql", sql);
            for (key, text) in [("database", database), ("unless", unless)] {
                if let Some(text) = text {
                    one(key, text);
                }
            }
        }
        Action::Ldap {
            dn,
            attributes,
            initial,
        } => {
            one("ldap", dn);
            for (table, values) in [("attributes", attributes), ("initial", initial)] {
                for (key, list) in values {
                    for (index, text) in list.iter().enumerate() {
                        one(&format!("{table}/{key}/{index}"), text);
                    }
                }
            }
        }
        Action::User { name, groups } => {
            one("user", name);
            for (index, text) in groups.iter().enumerate() {
                one(&format!("groups/{index}"), text);
            }
        }
        Action::Wait { probe } => probe_templates(&format!("{place}/wait"), probe, scope, add),
    }
}

/// Refuses a template that does not parse, or that names what will not be there.
pub fn check_template(service: &Service, template: &Template<'_>, notes: &Notes) {
    let environment = minijinja::Environment::new();
    match environment.template_from_str(template.text) {
        Ok(parsed) => {
            let mut names: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
            names.sort();
            for name in names {
                reference(service, template, &name, notes);
            }
        }
        Err(error) => {
            let mut lines = template.text.split('\n');
            let line = error
                .line()
                .and_then(|line| lines.nth(line.saturating_sub(1)));
            notes.problem_in(
                narrowed(
                    notes.place(&template.place),
                    line.unwrap_or_default().trim(),
                ),
                "the template does not parse".to_owned(),
                error.detail().unwrap_or("its syntax is wrong").to_owned(),
                None,
            );
        }
    }
}

/// The first occurrence of `words` in the place, or in the whole text of a place that is only
/// its beginning; the place itself where the words are written otherwise (escaped, say).
fn narrowed(place: Option<Place>, words: &str) -> Option<Place> {
    let mut place = place?;
    let whole = place.span.is_empty();
    let span = if whole {
        0..place.text.content.len()
    } else {
        place.span.clone()
    };
    let found = place
        .text
        .content
        .get(span.clone())
        .and_then(|text| text.find(words));
    if let (Some(found), false) = (found, words.is_empty()) {
        let start = span.start + found;
        place.span = start..start + words.len();
    }
    Some(place)
}

/// What every template may name first; functions among them.
const ROOTS: &[&str] = &[
    "aliases",
    "base",
    "certificates",
    "domains",
    "host",
    "hosts",
    "needs",
    "probe",
    "route",
    "secrets",
    "self",
    "settings",
    "sha512_crypt",
    "site",
    "zones",
];
const BUILT_IN: &[&str] = &["range", "dict", "namespace", "debug"];

fn reference(service: &Service, template: &Template<'_>, name: &str, notes: &Notes) {
    let parts: Vec<&str> = name.split('.').collect();
    let grant = template
        .scope
        .grant
        .and_then(|provide| service.provides.get(provide));
    let keys = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let (what, part, known): (&str, &str, Vec<String>) = match parts.as_slice() {
        ["settings", key, ..] => ("setting", key, service.settings.keys().cloned().collect()),
        ["secrets", key, ..] => ("secret", key, Secret::names(&service.secrets)),
        ["certificates", key] => (
            "certificate",
            key,
            service.certificates.keys().cloned().collect(),
        ),
        ["certificates", key, part, ..] if service.certificates.contains_key(*key) => (
            "part of a certificate",
            part,
            keys(vec!["certificate", "key", "chain"]),
        ),
        ["certificates", key, ..] => (
            "certificate",
            key,
            service.certificates.keys().cloned().collect(),
        ),
        ["needs", need] => ("need", need, service.needs.keys().cloned().collect()),
        // In a probe of an edge, a need of many is the one edge; elsewhere it is a list.
        ["needs", _, index, ..] if index.parse::<usize>().is_ok() => return,
        ["needs", need, value, ..] => match service.needs.get(*need) {
            None => ("need", need, service.needs.keys().cloned().collect()),
            Some(wanted) => {
                let Some(interface) = interfaces::find(&wanted.interface) else {
                    return;
                };
                let values = interface.values.iter().map(|field| field.name).collect();
                ("value of the need", value, keys(values))
            }
        },
        ["consumer", key, ..] if grant.is_some() => {
            let interface = grant.and_then(|grant| interfaces::find(&grant.interface));
            let parameters = interface.map(|i| i.parameters).unwrap_or_default();
            let mut known = vec!["service", "role", "host", "need"];
            known.extend(parameters.iter().map(|field| field.name));
            ("word about the consumer", key, keys(known))
        }
        ["grant", "secrets", key, ..] if grant.is_some() => {
            let secrets = grant.map(|grant| Secret::names(&grant.secrets));
            ("secret of the grant", key, secrets.unwrap_or_default())
        }
        [root, ..] => {
            if BUILT_IN.contains(root) {
                return;
            }
            let mut known = keys(ROOTS.to_vec());
            if template.scope.item {
                known.push("item".to_owned());
            }
            if grant.is_some() {
                known.extend(["consumer".to_owned(), "grant".to_owned()]);
            }
            ("name", root, known)
        }
        [] => return,
    };
    if known.iter().any(|candidate| candidate == part) {
        return;
    }
    notes.problem_in(
        narrowed(notes.place(&template.place), name),
        format!("the template names `{name}`, and there is no {what} `{part}`"),
        match known.is_empty() {
            true => format!("`{}` has none", service.name),
            false => format!("there are: {}", known.join(", ")),
        },
        suggest(part, known.iter().map(String::as_str)),
    );
}
