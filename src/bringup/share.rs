//! What the host of one role is told of a site: no secret and no password that none of its tasks
//! reads. Which those are is found by rendering all of them, as the host will.

use super::context::{Facts, Read};
use super::job::{Job, Work, jobs};
use super::render::{RenderError, Renderer};
use crate::site::Site;
use crate::site::secrets::SecretError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A site as one role needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The answers.
    pub site: Site,
    /// Name → secret.
    pub secrets: BTreeMap<String, String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// A secret cannot be drawn or read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A template of the role is wrong.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// The share of a role, from all that is known. Secrets that were never read are drawn.
pub fn share(all: &Facts, role: &str) -> Result<Share, ShareError> {
    let mut facts = Facts::new(
        all.stack.clone(),
        all.plan.clone(),
        all.site.clone(),
        role.to_owned(),
        all.image.clone(),
        all.places.clone(),
    )?;
    facts.addresses.clone_from(&all.addresses);
    let facts = Arc::new(facts);
    let renderer = Renderer::new(Arc::clone(&facts));
    for job in jobs(&facts) {
        render(&renderer, &job)?;
    }
    let Read {
        mut secrets,
        public,
        people,
    } = facts.has_read();
    secrets.extend(public);
    let mut site = all.site.clone();
    site.network.retain(|of, _| of == role);
    for person in &mut site.people {
        if !people.contains(&person.name) {
            person.password_hash.clear();
        }
    }
    Ok(Share { site, secrets })
}

fn render(renderer: &Arc<Renderer>, job: &Job) -> Result<(), RenderError> {
    match &job.work {
        Work::Authority => Ok(()),
        Work::Certificates(instance) => renderer.certificate_names(instance).map(drop),
        Work::Step(task) => renderer.step(task).map(drop),
        Work::Probe(task) => renderer.probe(task).map(drop),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::bringup) mod tests {
    use super::*;
    use crate::bringup::places::Places;
    use crate::plan::Plan;
    use crate::profile::{Action, Record, Secret, Source, Stack, Zones};
    use crate::site::{Network, Organisation, Person};
    use std::path::Path;

    /// `core` has a database and a directory, `edge` and `files` each use the database; `edge`
    /// probes as a person would.
    const SERVICES: [(&str, &str); 3] = [
        (
            "data",
            r#"
[[port]]
number = 5432
protocol = "tcp"
scope = "site"
purpose = "queries"
[secrets.own]
length = 20
[[step]]
id = "own"
file = "/etc/data"
content = "{{ secrets.own }}"
mode = "0600"
owner = "root:root"
[provides.database]
interface = "postgres"
[provides.database.secrets.password]
length = 20
[provides.database.values]
host = "{{ self.host }}"
port = "5432"
database = "{{ consumer.database }}"
user = "{{ consumer.database }}"
password = "{{ grant.secrets.password }}"
[[provides.database.step]]
id = "role"
file = "/etc/data-{{ consumer.role }}"
content = "{{ grant.secrets.password }}"
mode = "0600"
owner = "root:root"
[[probe]]
id = "port"
probe = "tcp"
host = "127.0.0.1"
port = 5432
"#,
        ),
        (
            "people",
            r#"
[[step]]
id = "people"
each = "{{ ([site.admin] + site.people) | tojson }}"
file = "/etc/people/{{ item.name }}"
content = "{{ item.password_hash }}"
mode = "0600"
owner = "root:root"
[[probe]]
id = "port"
probe = "tcp"
host = "127.0.0.1"
port = 389
"#,
        ),
        (
            "app",
            r#"
[secrets.session]
length = 20
[needs.database]
interface = "postgres"
database = "app_{{ self.role }}"
verify = [
    { probe = "postgres", id = "login", host = "{{ needs.database.host }}", port = "{{ needs.database.port }}", database = "{{ needs.database.database }}", user = "{{ needs.database.user }}", password = "{{ needs.database.password }}" },
]
[[step]]
id = "configure"
file = "/etc/app"
content = "{{ secrets.session }} {{ needs.database.password }} {{ site.people[0].full_name }}"
mode = "0600"
owner = "root:root"
"#,
        ),
    ];

    const STACK: &str = r#"
[stack]
name = "three"
summary = "Three hosts"
base = "debian-12"
[network]
hosts = "10.77.0.0/24"
[[role]]
name = "core"
address = 10
summary = "Data"
services = ["data", "people"]
[[role]]
name = "edge"
address = 11
summary = "An app"
services = ["app"]
[[role]]
name = "files"
address = 12
summary = "Another"
services = ["app"]
[[phase]]
name = "all"
title = "Everything"
services = ["data", "people", "app"]
"#;

    pub(in crate::bringup) fn three(home: &Path) -> Facts {
        std::fs::create_dir_all(home.join("stack/services")).unwrap();
        std::fs::write(home.join("stack/stack.toml"), STACK).unwrap();
        for (name, text) in SERVICES {
            let head =
                format!("[service]\nname = \"{name}\"\nsummary = \"{name}\"\nlogin = \"none\"\n");
            let path = home.join(format!("stack/services/{name}.toml"));
            std::fs::write(path, head + text).unwrap();
        }
        let name = home.join("stack").display().to_string();
        let stack = match Stack::load(&Source::new(None), &name, None) {
            Ok(stack) => stack,
            Err(error) => panic!("{error:?}"),
        };
        let person = |name: &str| Person {
            name: name.into(),
            full_name: format!("{name} O'Neil"),
            password_hash: format!("hash of {name}"),
            ssh_keys: Vec::new(),
        };
        let network = ["core", "edge", "files"];
        let site = Site {
            id: "0".repeat(32),
            organisations: vec![Organisation {
                id: "example".into(),
                name: "Example Company".into(),
                domain: "example.org".into(),
                base_dn: "dc=example,dc=org".into(),
                mail_domains: vec!["example.org".into()],
            }],
            timezone: "Etc/UTC".into(),
            keyboard: "us".into(),
            network: network.map(|role| (role.into(), Network::Dhcp {})).into(),
            admin: person("admin"),
            people: vec![person("staff")],
            disabled: Vec::new(),
            aliases: BTreeMap::new(),
        };
        let plan = Plan::new(&stack);
        let places = Places::below(home);
        Facts::new(stack, plan, site, "core".into(), "i".into(), places).unwrap()
    }

    fn names(share: &Share) -> Vec<&str> {
        share.secrets.keys().map(String::as_str).collect()
    }

    #[test]
    fn each_role_is_told_the_secrets_that_its_tasks_read_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let facts = three(home.path());
        let [core, edge, files] =
            ["core", "edge", "files"].map(|role| share(&facts, role).unwrap());
        assert_eq!(
            names(&core),
            [
                "core/data/database/edge.app.database/password",
                "core/data/database/files.app.database/password",
                "core/data/own",
            ]
        );
        assert_eq!(
            names(&edge),
            [
                "core/data/database/edge.app.database/password",
                "edge/app/session"
            ]
        );
        assert_eq!(
            names(&files),
            [
                "core/data/database/files.app.database/password",
                "files/app/session"
            ]
        );
        // Both ends of an edge have the same, and two edges never.
        let password = "core/data/database/edge.app.database/password";
        assert_eq!(core.secrets[password], edge.secrets[password]);
        let all: std::collections::BTreeSet<&String> = core.secrets.values().collect();
        assert_eq!(all.len(), 3);
        // Told again it is the same.
        assert_eq!(share(&facts, "edge").unwrap(), edge);
    }

    /// Each `app` signs with a key of its own, and `data` tells everybody which.
    pub(in crate::bringup) fn signing(home: &Path) -> Facts {
        let mut facts = three(home);
        let services = &mut facts.stack.services;
        let app = services.get_mut("app").unwrap();
        app.secrets.insert("signing".into(), Secret::Rsa);
        app.records.push(Record {
            of: Zones::Mail,
            name: "{{ self.role }}._domainkey".into(),
            kind: "TXT".into(),
            content: "p={{ secrets.signing_public }}".into(),
        });
        let Action::File { content, .. } = &mut app.steps[0].action else {
            panic!("a file");
        };
        *content = Some("{{ secrets.signing }}".into());
        let data = services.get_mut("data").unwrap();
        let Action::File { content, .. } = &mut data.steps[0].action else {
            panic!("a file");
        };
        *content = Some("{{ zones | tojson }}".into());
        facts.plan = Plan::new(&facts.stack);
        let number = |role: &str| match role {
            "core" => "10.77.0.10",
            "edge" => "10.77.0.11",
            _ => "10.77.0.12",
        };
        let hosts = facts.plan.hosts.iter();
        facts.addresses = hosts
            .map(|host| (host.role.clone(), number(&host.role).to_owned()))
            .collect();
        facts
    }

    #[test]
    fn who_publishes_keys_is_told_their_public_halves_alone() {
        let home = tempfile::tempdir().unwrap();
        let facts = signing(home.path());
        let core = share(&facts, "core").unwrap();
        let keys = names(&core);
        let keys = keys.iter().filter(|name| name.contains("signing"));
        assert_eq!(
            keys.collect::<Vec<_>>(),
            [&"edge/app/signing_public", &"files/app/signing_public"]
        );
        let edge = share(&facts, "edge").unwrap();
        let key = &edge.secrets["edge/app/signing"];
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
        assert!(!edge.secrets.contains_key("files/app/signing"));
        assert_ne!(
            core.secrets["edge/app/signing_public"],
            core.secrets["files/app/signing_public"]
        );
    }

    #[test]
    fn who_names_the_zones_alone_is_told_nothing_of_what_is_in_them() {
        let home = tempfile::tempdir().unwrap();
        let mut facts = signing(home.path());
        let data = facts.stack.services.get_mut("data").unwrap();
        let Action::File { content, .. } = &mut data.steps[0].action else {
            panic!("a file");
        };
        *content = Some("{{ domains | join(' ') }}".into());
        facts.plan = Plan::new(&facts.stack);
        let core = share(&facts, "core").unwrap();
        assert!(names(&core).iter().all(|name| !name.contains("signing")));
    }

    #[test]
    fn only_the_directory_is_told_the_passwords_of_people() {
        let home = tempfile::tempdir().unwrap();
        let facts = three(home.path());
        let hash = |role: &str| {
            share(&facts, role).unwrap().site.people[0]
                .password_hash
                .clone()
        };
        assert_eq!(hash("core"), "hash of staff");
        assert_eq!(hash("edge"), "");
        let edge = share(&facts, "edge").unwrap().site;
        assert_eq!(edge.people[0].full_name, "staff O'Neil");
        assert_eq!(edge.network.keys().collect::<Vec<_>>(), ["edge"]);
        // Its own account is on every host.
        assert_eq!(edge.admin.password_hash, "hash of admin");
    }

    #[test]
    fn what_is_switched_off_is_told_to_nobody() {
        let home = tempfile::tempdir().unwrap();
        let mut facts = three(home.path());
        facts.site.disabled = vec!["edge/app".into()];
        assert!(share(&facts, "edge").unwrap().secrets.is_empty());
        assert_eq!(
            names(&share(&facts, "core").unwrap()),
            [
                "core/data/database/files.app.database/password",
                "core/data/own"
            ]
        );
    }
}
