//! What templates may name when a task is rendered on a host.
//!
//! | name | value |
//! |---|---|
//! | `site` | `id`, `organisation` (the first) and `organisations` {`id`, `name`, `domain`, `base_dn`, `mail_domain`, `mail_domains`}, `timezone`, `keyboard`, `admin` and `people` {`name`, `full_name`, `password_hash`}, `ca` (path of the CA certificate) |
//! | `host` | `name`, `role`, `fqdn`, `address`, `routes` (leftmost labels of the routes answered on it), `firewall` {`protocol`, `port`, `scope`, `from` (addresses), `why`} |
//! | `hosts` | of every host whose address is known: `role`, `fqdn`, `address` |
//! | `zones` | of DNS: `name` and `records` {`name`, `type`, `content`}: hosts and routes, what services ask for (`[[record]]`), and the zone of the addresses |
//! | `domains` | the names of the zones |
//! | `base` | `name`, `family`, `version`, `codename` |
//! | `self` | `name`, `role`, `host` (fqdn), `routes` (leftmost labels of the routes it serves or answers on), and with a route `url` of the first |
//! | `settings.<key>` | the role's, else the service's default |
//! | `secrets.<name>` | drawn when first read; of a key pair also `secrets.<name>_public` |
//! | `certificates.<name>` | `certificate`, `key`, `chain`: paths |
//! | `needs.<need>.<value>` | as the provider gives it; a list when the need is `many`; undefined when unbound |
//! | `consumer`, `grant` | in grants: `service`, `role`, `host`, `need` and the parameters; `grant.secrets.<name>` |
//! | `probe` | the site's low-privilege account: `name`, `mail`, `password` (only in probes and in steps of the directory) |
//! | `item` | inside `each` |
//!
//! Functions: `route(host)`, `aliases(host)`, `sha512_crypt(text, salt_seed)`. Filters:
//! `ldap_escape`, `sql_quote`, `tojson`.

mod edges;

use self::edges::{consumer, grant, needs};
use super::names::{Zone, known, zones};
use super::places::Places;
use super::render::Renderer;
use crate::plan::{Integration, Plan};
use crate::profile::{Instance, Scope, Secret, SettingValue, Stack};
use crate::site::{Organisation, Person, Site, secrets::Secrets};
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Name of the site's low-privilege directory account.
pub const PROBE_ACCOUNT: &str = "probe";

/// Needs that name needs that name needs: deeper than this is a circle.
const DEEPEST: u8 = 12;

/// Everything that is known on a host.
#[derive(Debug)]
pub struct Facts {
    /// The stack of the image.
    pub stack: Stack,
    /// Its plan.
    pub plan: Plan,
    /// The answers.
    pub site: Site,
    /// Role of this host.
    pub role: String,
    /// SHA-256 of the image this root was made from.
    pub image: String,
    /// Role → address of its host.
    pub addresses: BTreeMap<String, String>,
    /// Where things are.
    pub places: Places,
    /// The folder of secrets.
    pub secrets: Secrets,
    read: Mutex<Read>,
    tasks: OnceLock<HashSet<String>>,
}

/// What was read so far that is nobody else's business.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Name → secret.
    pub secrets: BTreeMap<String, String>,
    /// Name → public half of a key pair, which nobody needs to hide.
    pub public: BTreeMap<String, String>,
    /// Login names whose password hash was read.
    pub people: BTreeSet<String>,
}

/// Whose eyes a template is read with.
#[derive(Debug, Clone)]
pub struct View {
    /// Whose `self`, `settings`, `secrets`, `needs`.
    pub instance: Instance,
    /// In grants: index of the integration served.
    pub grant: Option<usize>,
    /// In probes of an edge: its index, so that the need it proves is this one provider even
    /// where the need is `many`.
    pub edge: Option<usize>,
    /// Whether `probe.password` may be read.
    pub probing: bool,
    /// The item of `each`.
    pub item: Option<Value>,
    pub(super) depth: u8,
}

impl View {
    /// The view of a service on its own behalf.
    pub fn of(instance: &Instance) -> View {
        View {
            instance: instance.clone(),
            grant: None,
            edge: None,
            probing: false,
            item: None,
            depth: 0,
        }
    }
}

impl Facts {
    /// Puts the facts together.
    pub fn new(
        stack: Stack,
        plan: Plan,
        site: Site,
        role: String,
        image: String,
        places: Places,
    ) -> Result<Facts, crate::site::secrets::SecretError> {
        let secrets = Secrets::open(places.secrets())?;
        Ok(Facts {
            stack,
            plan,
            site,
            role,
            image,
            addresses: BTreeMap::new(),
            places,
            secrets,
            read: Mutex::default(),
            tasks: OnceLock::new(),
        })
    }

    /// The first organisation: every site has one.
    pub fn domain(&self) -> &str {
        self.site
            .organisations
            .first()
            .map_or("", |organisation| &organisation.domain)
    }

    /// Full name of a role's host.
    pub fn fqdn(&self, role: &str) -> String {
        format!("{role}.{}", self.domain())
    }

    /// Address of a role's host, empty while unknown.
    pub fn address(&self, role: &str) -> &str {
        self.addresses.get(role).map_or("", String::as_str)
    }

    /// Whether a job is a task of the plan, which others may wait for: a host's own are nobody's.
    pub fn is_task(&self, id: &str) -> bool {
        let all = || self.plan.tasks.iter().map(|task| task.id.clone());
        self.tasks.get_or_init(|| all().collect()).contains(id)
    }

    /// Whether a person switched this service off.
    pub fn disabled(&self, instance: &Instance) -> bool {
        self.site
            .disabled
            .iter()
            .any(|name| *name == instance.to_string())
    }

    /// Whether an edge takes part: neither end is switched off.
    pub fn active(&self, integration: &Integration) -> bool {
        !self.disabled(&integration.consumer) && !self.disabled(&integration.provider)
    }

    /// A secret, drawn at the first call. Two tasks that read a new secret at once get the same: the
    /// folder sees to that. Who reads another does not wait for them.
    fn secret(&self, name: &str, spec: &Secret) -> Result<String, Error> {
        let secret = self
            .secrets
            .get_or_create(name, spec)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
        let mut read = self.reading();
        read.secrets.insert(name.to_owned(), secret.clone());
        Ok(secret)
    }

    /// The public half of a key pair, which is drawn at the first call.
    fn public(&self, name: &str) -> Result<String, Error> {
        let public = self
            .secrets
            .public(name)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
        let mut read = self.reading();
        read.public
            .insert(format!("{name}{}", Secret::PUBLIC), public.clone());
        Ok(public)
    }

    fn reading(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read so far.
    pub fn has_read(&self) -> Read {
        self.reading().clone()
    }

    /// The text without any secret that was read so far.
    pub fn redact(&self, text: &str) -> String {
        let read = self.reading();
        let mut text = text.to_string();
        for secret in read.secrets.values().filter(|secret| secret.len() >= 6) {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[secret]");
            }
        }
        text
    }
}

/// Makes the value of a key.
type Maker = dyn Fn(&str) -> Result<Value, Error> + Send + Sync;

/// A map whose values are made when they are asked for.
struct Lazy {
    keys: Vec<String>,
    make: Box<Maker>,
}

impl std::fmt::Debug for Lazy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(&self.keys).finish()
    }
}

impl Object for Lazy {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if !self.keys.iter().any(|known| known == key) {
            return None;
        }
        // An error becomes an invalid value: whoever uses it fails with its words.
        Some((self.make)(key).unwrap_or_else(Value::from))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.iter().map(Value::from).collect())
    }
}

fn lazy(
    keys: Vec<String>,
    make: impl Fn(&str) -> Result<Value, Error> + Send + Sync + 'static,
) -> Value {
    Value::from_object(Lazy {
        keys,
        make: Box::new(make),
    })
}

fn lost(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_string())
}

/// The root of what a template sees.
pub fn context(renderer: &Arc<Renderer>, view: &View) -> Value {
    let mut keys = vec![
        "site",
        "host",
        "hosts",
        "zones",
        "domains",
        "base",
        "self",
        "settings",
        "secrets",
        "certificates",
        "needs",
        "probe",
    ];
    if view.grant.is_some() {
        keys.extend(["consumer", "grant"]);
    }
    if view.item.is_some() {
        keys.push("item");
    }
    let renderer = Arc::clone(renderer);
    let view = view.clone();
    lazy(
        keys.into_iter().map(str::to_string).collect(),
        move |key| match key {
            "site" => Ok(site(&renderer.facts)),
            "host" => Ok(host(&renderer.facts, &view.instance.role)),
            "hosts" => Ok(hosts(&renderer.facts)),
            "zones" => match view.depth > DEEPEST {
                true => Err(lost("these records name each other in a circle")),
                false => zones(&renderer, view.depth).map(|zones| zones.iter().map(zone).collect()),
            },
            "domains" => Ok(known(&renderer.facts)
                .into_iter()
                .map(|zone| zone.name)
                .collect()),
            "base" => base(&renderer.facts, &view.instance.role),
            "self" => this(&renderer, &view),
            "settings" => settings(&renderer.facts, &view.instance),
            "secrets" => secrets(&renderer.facts, &view.instance),
            "certificates" => certificates(&renderer.facts, &view.instance),
            "needs" => needs(&renderer, &view),
            "probe" => Ok(probe(&renderer.facts, view.probing)),
            "consumer" => consumer(&renderer, &view),
            "grant" => grant(&renderer.facts, &view),
            _ => Ok(view.item.clone().unwrap_or_default()),
        },
    )
}

fn organisation(organisation: &Organisation) -> Value {
    let domains = &organisation.mail_domains;
    minijinja::context! {
        id => &organisation.id,
        name => &organisation.name,
        domain => &organisation.domain,
        base_dn => &organisation.base_dn,
        mail_domain => domains.first().unwrap_or(&organisation.domain),
        mail_domains => domains,
    }
}

/// Whose password hash is read is noted.
fn person(facts: &Arc<Facts>, person: &Person) -> Value {
    let (facts, person) = (Arc::clone(facts), person.clone());
    let keys = ["name", "full_name", "password_hash"];
    lazy(keys.map(str::to_string).to_vec(), move |key| {
        Ok(Value::from(match key {
            "name" => &person.name,
            "full_name" => &person.full_name,
            _ => {
                facts.reading().people.insert(person.name.clone());
                &person.password_hash
            }
        }))
    })
}

fn site(facts: &Arc<Facts>) -> Value {
    let site = &facts.site;
    let organisations: Vec<Value> = site.organisations.iter().map(organisation).collect();
    minijinja::context! {
        id => &site.id,
        organisation => organisations.first(),
        organisations => organisations,
        timezone => &site.timezone,
        keyboard => &site.keyboard,
        admin => person(facts, &site.admin),
        people => site.people.iter().map(|one| person(facts, one)).collect::<Vec<_>>(),
        ca => facts.places.ca.display().to_string(),
    }
}

fn host(facts: &Facts, role: &str) -> Value {
    let firewall: Vec<Value> = facts
        .plan
        .firewall
        .iter()
        .filter(|rule| rule.role == role)
        .map(|rule| {
            let from: Vec<String> = rule
                .from
                .iter()
                .map(|role| facts.address(role))
                .filter(|address| !address.is_empty())
                .map(str::to_string)
                .collect();
            minijinja::context! {
                protocol => &rule.protocol,
                port => rule.port,
                scope => match rule.scope {
                    Scope::Local => "local",
                    Scope::Site => "site",
                    Scope::Public => "public",
                },
                from => from,
                why => &rule.why,
            }
        })
        .collect();
    let routes: Vec<String> = facts
        .plan
        .hosts
        .iter()
        .filter(|host| host.role == role)
        .flat_map(|host| &host.routes)
        .filter(|route| !facts.disabled(&route.service))
        .map(|route| route.host.clone())
        .collect();
    minijinja::context! {
        name => role,
        role => role,
        routes => routes,
        fqdn => facts.fqdn(role),
        address => facts.address(role),
        firewall => firewall,
    }
}

fn zone(zone: &Zone) -> Value {
    let records = zone.records.iter().map(|record| {
        minijinja::context! {
            name => &record.name,
            type => &record.kind,
            content => &record.content,
        }
    });
    minijinja::context! {
        name => &zone.name,
        records => records.collect::<Value>(),
    }
}

/// Every host that has an address, in plan order.
fn hosts(facts: &Facts) -> Value {
    let known = facts.plan.hosts.iter().map(|host| host.role.as_str());
    let known = known.filter(|role| !facts.address(role).is_empty());
    let hosts = known.map(|role| {
        minijinja::context! {
            role => role,
            fqdn => facts.fqdn(role),
            address => facts.address(role),
        }
    });
    hosts.collect()
}

fn base(facts: &Facts, role: &str) -> Result<Value, Error> {
    let base = facts
        .stack
        .roles
        .iter()
        .find(|candidate| candidate.name == role)
        .and_then(|role| facts.stack.bases.get(&role.base))
        .ok_or_else(|| lost("the base of this role is not in the stack"))?;
    Ok(minijinja::context! {
        name => &base.name,
        family => &base.family,
        version => &base.version,
        codename => &base.codename,
    })
}

fn this(renderer: &Arc<Renderer>, view: &View) -> Result<Value, Error> {
    if view.depth > DEEPEST {
        return Err(lost("these routes name each other in a circle"));
    }
    let (facts, instance) = (&renderer.facts, &view.instance);
    let mut routes = Vec::new();
    for edge in &facts.plan.integrations {
        let mine = edge.provider == *instance || edge.consumer == *instance;
        if edge.interface != "route" || !mine || !facts.active(edge) {
            continue;
        }
        if let Some(label) = edge.with.get("host") {
            let inner = View {
                depth: view.depth + 1,
                ..View::of(&edge.consumer)
            };
            let label = renderer.text(&format!("{}: host", edge.id), label, &inner)?;
            if !routes.contains(&label) {
                routes.push(label);
            }
        }
    }
    let mut values = BTreeMap::from([
        ("name", Value::from(&instance.service)),
        ("role", Value::from(&instance.role)),
        ("host", Value::from(facts.fqdn(&instance.role))),
    ]);
    if let Some(route) = routes.first() {
        let url = format!("https://{route}.{}", facts.domain());
        values.insert("url", Value::from(url));
    }
    values.insert("routes", Value::from(routes));
    Ok(Value::from(values))
}

fn service<'a>(
    facts: &'a Facts,
    instance: &Instance,
) -> Result<&'a crate::profile::Service, Error> {
    facts
        .stack
        .services
        .get(&instance.service)
        .ok_or_else(|| lost(&format!("{instance} is not in the stack")))
}

fn settings(facts: &Facts, instance: &Instance) -> Result<Value, Error> {
    let own = facts
        .stack
        .roles
        .iter()
        .find(|role| role.name == instance.role)
        .and_then(|role| role.settings.get(&instance.service));
    let values: BTreeMap<String, Value> = service(facts, instance)?
        .settings
        .iter()
        .map(|(key, setting)| {
            let value = own.and_then(|own| own.get(key)).unwrap_or(&setting.default);
            let value = match value {
                SettingValue::Bool(value) => Value::from(*value),
                SettingValue::Integer(value) => Value::from(*value),
                SettingValue::Text(value) => Value::from(value),
            };
            (key.clone(), value)
        })
        .collect();
    Ok(Value::from(values))
}

fn secrets(facts: &Arc<Facts>, instance: &Instance) -> Result<Value, Error> {
    let specs = service(facts, instance)?.secrets.clone();
    let folder = format!("{}/{}", instance.role, instance.service);
    Ok(drawn(facts, specs, folder))
}

/// Secrets of a folder, each drawn when it is first read.
fn drawn(facts: &Arc<Facts>, specs: BTreeMap<String, Secret>, folder: String) -> Value {
    let facts = Arc::clone(facts);
    lazy(Secret::names(&specs), move |name| {
        if let Some(spec) = specs.get(name) {
            return facts
                .secret(&format!("{folder}/{name}"), spec)
                .map(Value::from);
        }
        let pair = name.strip_suffix(Secret::PUBLIC);
        let pair = pair.ok_or_else(|| lost("no such secret"))?;
        facts.public(&format!("{folder}/{pair}")).map(Value::from)
    })
}

fn certificates(facts: &Facts, instance: &Instance) -> Result<Value, Error> {
    let paths: BTreeMap<String, Value> = service(facts, instance)?
        .certificates
        .keys()
        .map(|name| {
            let directory = facts.places.certificate(&instance.service, name);
            let paths = minijinja::context! {
                certificate => directory.join("certificate.pem").display().to_string(),
                key => directory.join("key.pem").display().to_string(),
                chain => facts.places.ca.display().to_string(),
            };
            (name.clone(), paths)
        })
        .collect();
    Ok(Value::from(paths))
}

fn probe(facts: &Arc<Facts>, probing: bool) -> Value {
    let facts = Arc::clone(facts);
    let keys = ["name", "mail", "password"].map(str::to_string).to_vec();
    lazy(keys, move |key| match key {
        "name" => Ok(Value::from(PROBE_ACCOUNT)),
        "mail" => {
            let domain = facts
                .site
                .organisations
                .first()
                .and_then(|organisation| organisation.mail_domains.first())
                .map_or(facts.domain(), String::as_str);
            Ok(Value::from(format!("{PROBE_ACCOUNT}@{domain}")))
        }
        _ if probing => facts
            .secret("site/probe", &Secret::Password { length: 32 })
            .map(Value::from),
        _ => Err(lost(
            "probe.password is only for probes and for the steps of the directory",
        )),
    })
}

#[cfg(test)]
mod tests;
