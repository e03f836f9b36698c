//! Who leads the site of this host: the one place that answers it. The plan says who makes the
//! site; whom a host has joined, and who was promoted since, is known from then on.

use super::mesh::FOLDER;
use super::{AgentError, Result, at, member};
use crate::mesh::identity::Print;
use crate::mesh::warrant::{FIRST, Warrant};
use crate::plan::Plan;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

/// Role of the lead as the answers of this host name it, below the agent's folder.
pub(super) const TOLD: &str = "mesh/leader";

/// Who leads, and who would next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Role of the lead.
    pub lead: String,
    /// Role of the deputy: of the pair that the plan names, the one that does not lead.
    pub deputy: Option<String>,
    /// By which the lead leads; none of the host that made the site.
    pub warrant: Option<Warrant>,
}

impl Leadership {
    /// As the host with this agent's folder knows it.
    pub fn of(plan: &Plan, state: &Path) -> Result<Leadership> {
        let warrant = Warrant::kept(&state.join(FOLDER)).map_err(AgentError::mesh)?;
        let first = plan.hosts.first().map_or("", |host| &host.role);
        let lead = match &warrant {
            Some(warrant) => warrant.claim.role.clone(),
            None => match member::record_in(state)? {
                Some(record) => record.lead,
                None => told(plan, state)?.unwrap_or_else(|| first.to_owned()),
            },
        };
        let deputy = match &plan.deputy {
            Some(deputy) if *deputy == lead => Some(first.to_owned()),
            deputy => deputy.clone(),
        };
        Ok(Leadership {
            lead,
            deputy,
            warrant,
        })
    }

    /// Whether the host of this role leads.
    pub fn is_lead(&self, role: &str) -> bool {
        self.lead == role
    }

    /// Whether it is the deputy.
    pub fn is_deputy(&self, role: &str) -> bool {
        self.deputy.as_deref() == Some(role)
    }

    /// How many leads the site has had.
    pub fn term(&self) -> u64 {
        self.warrant
            .as_ref()
            .map_or(FIRST, |warrant| warrant.claim.term)
    }

    /// The lead's key, where a warrant tells it.
    pub fn key(&self) -> Option<Print> {
        self.warrant.as_ref().map(|warrant| warrant.claim.key)
    }

    /// Where the host of this role finds who may come to lead in the lead's place.
    pub fn other(&self, plan: &Plan, role: &str) -> Option<IpAddr> {
        let deputy = self.deputy.as_deref().filter(|deputy| *deputy != role)?;
        plan.address(deputy)
    }

    /// What a host says that has led this site and was followed by another, if it is one.
    pub fn deposed(&self, role: &str, state: &Path) -> Option<String> {
        let claim = &self.warrant.as_ref()?.claim;
        let led = claim.role != role && state.join(crate::site::estate::CA_KEY).exists();
        led.then(|| {
            format!(
                "{0} leads this site since {1}: it was promoted in place of this host, {role}, \
                 and no host of the site listens to this one any more; start {role} from a \
                 fresh image, told that {0} leads: muster up STACK --lead {0}, or [join] lead = \
                 \"{0}\" in its answers",
                claim.role, claim.since
            )
        })
    }
}

/// The lead by the answers of this host.
fn told(plan: &Plan, state: &Path) -> Result<Option<String>> {
    let path = state.join(TOLD);
    let role = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path)(error)),
    };
    let roles: Vec<&str> = plan.hosts.iter().map(|host| host.role.as_str()).collect();
    match roles.contains(&role.as_str()) {
        true => Ok(Some(role)),
        false => Err(AgentError::mesh(format!(
            "join.lead of this host's answers is {role}, and the stack {} has no such role; it \
             has: {}",
            plan.stack,
            roles.join(", ")
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::agent) mod tests {
    use super::*;
    use crate::mesh::members::Record;
    use crate::mesh::warrant::{Claim, Former};
    use crate::profile::{Source, Stack};
    use crate::site::authority::Authority;

    /// `front` leads, `back` is its deputy.
    pub(in crate::agent) fn plan() -> Plan {
        let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/profiles");
        let source = Source::new(Some(Path::new(profiles)));
        let mut stack = Stack::load(&source, "two", None).unwrap();
        stack.deputy = Some("back".into());
        Plan::new(&stack)
    }

    fn warrant(state: &Path, role: &str, term: u64) -> Warrant {
        let authority = Authority::open_or_create(&state.join("authority"), "Example").unwrap();
        let claim = Claim {
            site: "5".into(),
            role: role.into(),
            key: Print([2; 32]),
            term,
            former: Former {
                role: "front".into(),
                key: Print([1; 32]),
            },
            since: "2026-01-01T00:00:00Z".into(),
        };
        Warrant::sign(&authority, claim).unwrap()
    }

    fn put(state: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(state.join(name).parent().unwrap()).unwrap();
        std::fs::write(state.join(name), text).unwrap();
    }

    #[test]
    fn the_plan_says_who_leads_until_something_newer_does() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, state) = (plan(), folder.path());
        let pair = || {
            let leadership = Leadership::of(&plan, state).unwrap();
            (leadership.lead, leadership.deputy.unwrap())
        };
        assert_eq!(pair(), ("front".into(), "back".into()));
        // A new host is told in its answers, one that has joined knows better, and the authority
        // has the last word.
        put(state, TOLD, "back");
        assert_eq!(pair(), ("back".into(), "front".into()));
        let record = Record {
            site: "5".into(),
            role: "third".into(),
            lead: "front".into(),
            lead_key: Print([1; 32]),
            ca: String::new(),
            certificate: String::new(),
        };
        let text = serde_json::to_string(&record).unwrap();
        put(state, "mesh/record.json", &text);
        assert_eq!(pair(), ("front".into(), "back".into()));
        warrant(state, "back", 2).keep(&state.join(FOLDER)).unwrap();
        assert_eq!(pair(), ("back".into(), "front".into()));
        let leadership = Leadership::of(&plan, state).unwrap();
        assert_eq!(
            (leadership.term(), leadership.key()),
            (2, Some(Print([2; 32])))
        );
        assert!(leadership.is_lead("back") && leadership.is_deputy("front"));
        // Everybody but the deputy looks for it.
        assert_eq!(leadership.other(&plan, "third"), plan.address("front"));
        assert_eq!(leadership.other(&plan, "front"), None);
    }

    #[test]
    fn a_lead_that_is_not_of_the_stack_is_named_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), TOLD, "phones");
        assert_eq!(
            Leadership::of(&plan(), folder.path())
                .unwrap_err()
                .to_string(),
            "join.lead of this host's answers is phones, and the stack two has no such role; it \
             has: front, back"
        );
    }

    #[test]
    fn a_host_that_has_led_says_who_does_and_how_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, state) = (plan(), folder.path());
        let deposed = |role: &str| {
            let leadership = Leadership::of(&plan, state).unwrap();
            leadership.deposed(role, state)
        };
        put(state, "ca/ca.key", "key");
        assert_eq!(deposed("front"), None, "it leads");
        std::fs::create_dir_all(state.join(FOLDER)).unwrap();
        warrant(state, "back", 2).keep(&state.join(FOLDER)).unwrap();
        assert_eq!(deposed("back"), None, "it leads");
        assert_eq!(
            deposed("front").unwrap(),
            "back leads this site since 2026-01-01T00:00:00Z: it was promoted in place of this \
             host, front, and no host of the site listens to this one any more; start front from a \
             fresh image, told that back leads: muster up STACK --lead back, or [join] lead \
             = \"back\" in its answers"
        );
        // A member has no authority.
        std::fs::remove_file(state.join("ca/ca.key")).unwrap();
        assert_eq!(deposed("front"), None);
    }
}
