//! The checked stack: plain data that prints, serializes and compares.
//!
//! Everything here has passed `check`: names resolve, bindings are complete, parameters are
//! known. Strings marked *template* are minijinja source rendered on the host at bring-up;
//! what they may name is listed in [`crate::bringup::context`].

use super::artifact::{Artifact, OciImage};
use super::network::{Bond, NetworkPlan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole company's IT, resolved: no name in it is dangling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Name, also of its folder; `[a-z][a-z0-9-]*`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// In the order the stack lists them; the first is the lead.
    pub roles: Vec<Role>,
    /// The network between its hosts; a stack of one host needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPlan>,
    /// Role whose host keeps a sealed copy of the site, and can be promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputy: Option<String>,
    /// Every service some role runs, by name.
    pub services: BTreeMap<String, Service>,
    /// Every base some role is built on, by name.
    pub bases: BTreeMap<String, Base>,
    /// Named phases in order; every service stands in exactly one.
    pub phases: Vec<Phase>,
    /// Every need of every instance bound to its provider, sorted.
    pub bindings: Vec<Binding>,
    /// Answers that `up` uses when nobody is there to give them.
    pub demo: Demo,
}

/// One kind of host: one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Name, also the host name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Name of the base.
    pub base: String,
    /// Which of the base's other kernels it runs, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Memory of the machine `up` makes, MiB.
    pub memory: u32,
    /// Processors of the machine `up` makes.
    pub cpus: u32,
    /// Disk size of the image, MiB.
    pub disk: u32,
    /// Number of its host in the network of the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<u32>,
    /// The cards with which its host is in that network, where it is not one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
    /// Whether its host has a further card, towards everybody else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Services in start order as listed.
    pub services: Vec<String>,
    /// Services of this role a person may switch off when asked.
    pub optional: Vec<String>,
    /// Packages beyond those of the base and the services.
    pub packages: Vec<String>,
    /// Whether `Recommends` of this role's packages are followed.
    pub recommends: bool,
    /// Settings per service that differ from the service's defaults: service → key → value.
    pub settings: BTreeMap<String, BTreeMap<String, SettingValue>>,
}

impl Role {
    /// How many cards its host has in the network of the hosts, where there is one.
    pub fn cards(&self) -> u8 {
        self.bond.map_or(1, |bond| bond.cards)
    }
}

/// A service on a role, written `role/service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Name of the role.
    pub role: String,
    /// Name of the service.
    pub service: String,
}

impl std::fmt::Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.role, self.service)
    }
}

/// One edge of the graph: an integration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// Who needs.
    pub consumer: Instance,
    /// The name of the need in the consumer.
    pub need: String,
    /// Which interface.
    pub interface: String,
    /// Who provides.
    pub provider: Instance,
    /// The name of the provide in the provider.
    pub provide: String,
}

/// A named phase of bring-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Short name, `[a-z0-9-]+`.
    pub name: String,
    /// What a person reads.
    pub title: String,
    /// Services that come up in it.
    pub services: Vec<String>,
}

/// How a person logs in to a service: the real way, never the hoped-for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// Nobody logs in.
    None,
    /// OpenID Connect.
    Oidc,
    /// SAML 2.
    Saml,
    /// The directory's password.
    Ldap,
    /// A proxy in front decides.
    Proxy,
    /// Accounts of its own.
    Local,
}

/// A reusable definition of one piece of software.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Name, also of its file.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// How people log in.
    pub login: Login,
    /// Bases it can be built on; empty means every base of an apt family.
    pub bases: Vec<String>,
    /// Packages per family (`apt`).
    pub packages: Vec<String>,
    /// Further packages on one base: base → packages.
    pub base_packages: BTreeMap<String, Vec<String>>,
    /// debconf selections, `owner question type value`, set before packages configure.
    pub preseed: Vec<String>,
    /// Files of the overlay that scripts of packages look at: they are there before packages
    /// configure, and a change of them configures these anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<String>,
    /// Files of their publishers, put into the image in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Container images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oci: Vec<OciImage>,
    /// What survives a new root.
    pub state: Vec<State>,
    /// Typed settings with defaults.
    pub settings: BTreeMap<String, Setting>,
    /// Secrets made on the host.
    pub secrets: BTreeMap<String, Secret>,
    /// DNS records it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// Certificates issued by the site CA.
    pub certificates: BTreeMap<String, Certificate>,
    /// Ports it listens on.
    pub ports: Vec<Port>,
    /// What it offers, by name.
    pub provides: BTreeMap<String, Provide>,
    /// What it wants, by name.
    pub needs: BTreeMap<String, Need>,
    /// Bring-up steps in order.
    pub steps: Vec<Step>,
    /// Health probes of the service by itself.
    pub probes: Vec<Probe>,
    /// Files from the service's overlay: path in the image → content. `.j2` files keep their
    /// suffix, are not put into the root, and are rendered by the `file` step that names them.
    pub overlay: BTreeMap<String, OverlayFile>,
}

/// One file of an overlay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverlayFile {
    /// UTF-8 content.
    pub content: String,
    /// Permission bits, for example `0o644`.
    pub mode: u32,
}

/// A path that lives on the data partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Absolute path of a directory.
    pub path: String,
}

/// A setting of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Value when nobody says otherwise; its type is the setting's type.
    pub default: SettingValue,
    /// One line for people.
    pub help: String,
}

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

/// A secret, drawn on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Secret {
    /// Random characters of `[A-Za-z0-9]`.
    Password {
        /// Characters; 32 is about 190 bits.
        length: u32,
    },
    /// A private RSA key of 2,048 bits, PKCS #8 in PEM (RFC 5958, RFC 7468). Its public half is
    /// no secret and has a name of its own: `secrets.<name>_public`, the base64 of its
    /// SubjectPublicKeyInfo (RFC 5280, section 4.1).
    Rsa,
}

impl Secret {
    /// Behind the name of a key pair: its public half.
    pub const PUBLIC: &str = "_public";

    /// What templates may name, where these are declared.
    pub fn names(declared: &BTreeMap<String, Secret>) -> Vec<String> {
        let public = declared
            .iter()
            .filter(|(_, secret)| **secret == Secret::Rsa)
            .map(|(name, _)| format!("{name}{}", Secret::PUBLIC));
        declared.keys().cloned().chain(public).collect()
    }
}

/// A DNS record that a service wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In which zones.
    pub of: Zones,
    /// Name below the zone, `@` for the zone itself; a *template*.
    pub name: String,
    /// `A`, `TXT`, …: see [`Record::TYPES`].
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says; a *template*. The text itself for a TXT record, otherwise as in zone files
    /// (RFC 1035, section 5.1), where other names are whole and end with a dot.
    pub content: String,
}

impl Record {
    /// Types that can be asked for.
    pub const TYPES: [&str; 7] = ["A", "AAAA", "CAA", "CNAME", "MX", "SRV", "TXT"];
}

/// The zones a record is wanted in; templates of the record see each as `item`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zones {
    /// That of the first organisation's domain, where the hosts have their names.
    Hosts,
    /// Every domain that gets mail.
    Mail,
}

/// A leaf certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// DNS names, *templates*; empty ones are dropped.
    pub names: Vec<String>,
    /// Who may read the key, `user:group`.
    pub owner: String,
}

/// Who may reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Processes on the same host.
    Local,
    /// Hosts with an edge to this service in the graph.
    Site,
    /// Anybody.
    Public,
}

/// A listening port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Port number.
    pub number: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Who may reach it.
    pub scope: Scope,
    /// What for, one or two words.
    pub purpose: String,
    /// Of a port of the site: only consumers of these provides dial it; any, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
}

/// What a service offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provide {
    /// Interface name.
    pub interface: String,
    /// What the consumer receives as `needs.<need>.<key>`; *templates*.
    pub values: BTreeMap<String, String>,
    /// Secrets made once per consumer: `grant.secrets.<name>`.
    pub secrets: BTreeMap<String, Secret>,
    /// Steps done on the provider's host for each consumer, before the consumer's own.
    pub steps: Vec<Step>,
}

/// What a service wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Interface name.
    pub interface: String,
    /// `false`: exactly one provider; `true`: every provider in the stack, a list.
    pub many: bool,
    /// `true`: may stay unbound, or bound to a service that was switched off.
    pub optional: bool,
    /// Parameters of the interface, seen by the provider as `consumer.<key>`; *templates*.
    pub with: BTreeMap<String, String>,
    /// Probes that prove this edge. Never empty.
    pub verify: Vec<Probe>,
}

/// One bring-up step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its list.
    pub id: String,
    /// *Template*; the step is skipped when it renders to `false` or nothing.
    pub when: Option<String>,
    /// *Template* of a JSON list; the step is done once per item, seen as `item`.
    pub each: Option<String>,
    /// Where the effect lives.
    pub effect: Effect,
    /// What to do.
    pub action: Action,
}

/// Where a step's effect lives; decides whether it runs again in a new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// In the root partition: runs again in each new root.
    Root,
    /// In state on the data partition.
    State,
    /// On another host.
    Remote,
}

/// A typed, idempotent action. All strings are *templates* unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// A file with this content, written beside and renamed.
    File {
        /// Absolute path.
        path: String,
        /// Overlay path of the template (not itself a template), for example
        /// `/etc/nginx/nginx.conf.j2`; else `content`.
        template: Option<String>,
        /// Content given inline.
        content: Option<String>,
        /// Octal permission bits, four digits.
        mode: String,
        /// `user:group`.
        owner: String,
    },
    /// A directory, or with `link` a symbolic link.
    Directory {
        /// Absolute path.
        path: String,
        /// Octal permission bits, four digits.
        mode: String,
        /// `user:group`.
        owner: String,
    },
    /// A symbolic link.
    Link {
        /// Absolute path of the link.
        path: String,
        /// What it points at.
        to: String,
    },
    /// Nothing at this path (a packaged default site, for example).
    Absent {
        /// Absolute path of a file or link.
        path: String,
    },
    /// A systemd unit.
    Unit {
        /// Unit name with suffix.
        unit: String,
        /// Wanted state.
        state: UnitState,
        /// Step ids of the same list whose change restarts or reloads it.
        watch: Vec<String>,
    },
    /// A program. Secrets go by `stdin` or `environment`, never into `command`.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Done already when this exits 0.
        unless: Vec<String>,
        /// Local account to run both as; root when absent.
        user: Option<String>,
        /// Standard input of `command`.
        stdin: Option<String>,
        /// Environment of both.
        environment: BTreeMap<String, String>,
        /// Working directory; `/` when absent.
        directory: Option<String>,
    },
    /// SQL through the local server as its superuser (`psql` over the socket).
    Sql {
        /// Database to connect to; `postgres` when absent.
        database: Option<String>,
        /// Statements, on standard input.
        sql: String,
        /// Done already when this query gives a row.
        unless: Option<String>,
    },
    /// An LDAP entry through the local server as its superuser (`ldapi:///`, EXTERNAL).
    Ldap {
        /// Distinguished name.
        dn: String,
        /// Attributes and values the entry must have; others are left alone.
        attributes: BTreeMap<String, Vec<String>>,
        /// Attributes only given when the entry is created (a password a person may change).
        initial: BTreeMap<String, Vec<String>>,
    },
    /// A local system account.
    User {
        /// Login name.
        name: String,
        /// Supplementary groups.
        groups: Vec<String>,
    },
    /// Waits until a probe is green.
    Wait {
        /// The probe.
        probe: Probe,
    },
}

/// Wanted state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    /// Enabled and active; restarted when what it watches has changed.
    Started,
    /// As `started`, but reloaded when what it watches has changed.
    Reloaded,
    /// Stopped and disabled.
    Stopped,
    /// Cannot be started.
    Masked,
}

/// A probe: one real attempt at what a user or a consumer does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Unique in its list.
    pub id: String,
    /// Kind, a file in `bringup/probes/`.
    pub probe: String,
    /// Arguments, *templates*.
    pub with: BTreeMap<String, String>,
}

/// An operating system release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Name, for example `debian-12`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// `debian` or `ubuntu`: the `ID` of os-release(5).
    pub family: String,
    /// `VERSION_ID` of os-release(5).
    pub version: String,
    /// Codename, for example `bookworm`.
    pub codename: String,
    /// dpkg architecture.
    pub architecture: String,
    /// Archives in order of preference; those that services bring come last.
    pub archives: Vec<Archive>,
    /// Packages every image of this base has, beside all `Essential: yes` ones.
    pub packages: Vec<String>,
    /// Kernel package.
    pub kernel: String,
    /// Packages of other kernels, by the name that chooses them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kernels: BTreeMap<String, String>,
    /// Packages whose tools make the boot loader.
    pub boot: Vec<String>,
    /// debconf selections set before packages configure.
    pub preseed: Vec<String>,
    /// As [`Service::early`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<String>,
    /// Fixed ids of the system users and groups its packages create.
    pub accounts: Vec<Account>,
    /// Files from the base's overlay, as [`Service::overlay`].
    pub overlay: BTreeMap<String, OverlayFile>,
    /// Base state: directories on the data partition.
    pub state: Vec<State>,
    /// Files of packages that its images do without.
    #[serde(default, skip_serializing_if = "Exclude::is_empty")]
    pub exclude: Exclude,
}

/// A signed apt archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Archive {
    /// Name, unique in the base.
    pub name: String,
    /// URL when neither `--mirror`, the user's config nor the machine's apt names one.
    pub mirror: String,
    /// `Origin:` its Release files carry; also how the machine's apt lists are searched.
    pub origin: String,
    /// Suites in order; of an archive without `dists` its folders, each with a slash at its end.
    pub suites: Vec<String>,
    /// Components in order; none where there are no `dists`.
    pub components: Vec<String>,
    /// OpenPGP fingerprints of primary keys that may sign, upper-case hex.
    pub fingerprints: Vec<String>,
    /// ASCII-armoured certificates.
    pub keys: String,
    /// URL pattern of a service that keeps old files: `{moment}` becomes a time like
    /// `20260131T120000Z`, `{path}` the path below the mirror.
    pub snapshot: Option<String>,
    /// Patterns of package names: only these come from it. Empty means that all may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Patterns of package names that never come from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Pattern of package names → pattern of versions: of these only such versions come from it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
    /// How much apt prefers it (apt_preferences(5)); what its release files say when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// Services that bring it: it is for roles that run one of them. Empty means for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

impl Archive {
    /// Whether it says which of its packages are wanted, and how much.
    pub fn is_pinned(&self) -> bool {
        self.priority.is_some()
            || !self.packages.is_empty()
            || !self.never.is_empty()
            || !self.versions.is_empty()
    }

    /// Whether its packages lie in folders without `dists` and components (sources.list(5)).
    pub fn is_flat(&self) -> bool {
        self.suites.iter().all(|suite| suite.ends_with('/'))
    }

    /// Whether a role takes packages from it.
    pub fn is_for(&self, role: &Role) -> bool {
        let runs = |service| role.services.contains(service);
        self.services.is_empty() || self.services.iter().any(runs)
    }
}

/// Files that images of a base do without, as dpkg's `path-exclude` and `path-include`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclude {
    /// Patterns of absolute paths.
    pub paths: Vec<String>,
    /// What stays of them.
    pub keep: Vec<String>,
}

impl Exclude {
    /// Whether everything stays.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// A system account with its fixed ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// Login or group name.
    pub name: String,
    /// User id; absent for a mere group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group id (primary group of the user, or the group itself).
    pub gid: u32,
    /// Home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// GECOS field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gecos: Option<String>,
}

/// Answers for a demonstration; passwords are generated by `up`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Demo {
    /// Answers by question id, for example `organisation.name`.
    pub answers: BTreeMap<String, String>,
    /// Login names of further people in the directory, for example `staff`.
    pub people: Vec<String>,
}
