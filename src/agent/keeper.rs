//! What a lead does for its deputy: it seals all that makes it the lead whenever something of that
//! has changed, and sends it; and it finds out whether it was followed by the deputy while it was
//! away.

use super::herald::Herald;
use super::lead::Office;
use super::leadership::Leadership;
use super::mesh::{folder, runtime};
use super::{AgentError, Result, at, thread};
use crate::bringup::context::Facts;
use crate::bringup::run::Observer;
use crate::bringup::status::DeputyStatus;
use crate::mesh::identity::Identity;
use crate::mesh::join::lead::Lobby;
use crate::mesh::line::link::in_whose_place;
use crate::mesh::line::question::{Answered, Held, Question};
use crate::mesh::warrant::Warrant;
use crate::plan::MESH_PORT;
use crate::site::durable;
use crate::site::estate::{Estate, Trace};
use crate::site::recovery::{self, Words};
use crate::site::sealed::{FORMAT, Head, seal};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at whether something has changed.
const LOOK: Duration = Duration::from_secs(3);
/// How often a deputy is asked whether it still has its copy.
const ASK: Duration = Duration::from_secs(30);
/// How long it may take to write one.
const WRITING: Duration = Duration::from_secs(60);
/// How often a lead asks where its deputy is whether that has been promoted.
const DOUBT: Duration = Duration::from_secs(15);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The folder of the recovery words, below the agent's.
pub const RECOVERY: &str = "recovery";
/// The number of the last copy, in it.
const COUNTER: &str = "copies.json";

/// Counts the copies of this lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Counter {
    number: u64,
    /// Of what the last one was made of.
    digest: String,
}

/// How the deputy stands.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// Of the newest copy; 0 before anything was looked at.
    number: u64,
    held: Option<Held>,
    note: String,
    asked: Option<Instant>,
}

/// Keeps the deputy's copy current.
pub struct Keeper {
    state: PathBuf,
    site: String,
    lead: String,
    deputy: String,
    term: u64,
    words: Words,
    standing: Mutex<Standing>,
    /// Of the files as they were numbered last.
    seen: Mutex<Option<Trace>>,
}

impl Keeper {
    /// For the deputy of this leadership.
    pub fn new(state: &Path, site: &str, leadership: &Leadership, deputy: &str) -> Result<Keeper> {
        let words = Words::open_or_create(&state.join(RECOVERY)).map_err(AgentError::mesh)?;
        Ok(Keeper {
            state: state.to_owned(),
            site: site.to_owned(),
            lead: leadership.lead.clone(),
            deputy: deputy.to_owned(),
            term: leadership.term(),
            words,
            standing: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the deputy stands, for people.
    pub fn status(&self) -> DeputyStatus {
        let standing = self.standing().clone();
        let number = standing.number;
        let current = Some(self.held_as(number)) == standing.held && number > 0;
        DeputyStatus {
            role: self.deputy.clone(),
            copy: number,
            held: standing.held.map_or(0, |held| held.number),
            current,
            words_shown: recovery::is_shown(&self.state.join(RECOVERY)),
            note: standing.note,
        }
    }

    fn held_as(&self, number: u64) -> Held {
        Held {
            term: self.term,
            number,
        }
    }

    fn counter(&self) -> PathBuf {
        self.state.join(RECOVERY).join(COUNTER)
    }

    fn counted(&self) -> Result<Counter> {
        let path = self.counter();
        match std::fs::read(&path) {
            // Damaged, it counts from one again, and the deputy says that it knows better.
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Counter::default()),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Looks at what has changed, and sees to it that a deputy that is `up` has it; `ask` asks the
    /// deputy. What goes wrong is said in the status, and tried again.
    pub fn look(&self, up: bool, ask: impl Fn(Question, Duration) -> Answered) {
        let note = match self.see_to_it(up, ask) {
            Ok(()) => String::new(),
            Err(words) => words,
        };
        self.standing().note = note;
    }

    fn see_to_it(
        &self,
        up: bool,
        ask: impl Fn(Question, Duration) -> Answered,
    ) -> std::result::Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        // Looked at before it is read: what changes meanwhile is seen the next time.
        let trace = Trace::of(&self.state).map_err(|error| words(&error))?;
        let mut estate = None;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() != Some(&trace) {
            estate = Some(self.numbered()?);
            *seen = trace.is_settled().then_some(trace);
        }
        drop(seen);
        let (held, wanted, due) = {
            let mut standing = self.standing();
            if !up {
                // Whatever comes back may be another disk.
                standing.asked = None;
            }
            let due = standing.asked.is_none_or(|asked| asked.elapsed() >= ASK);
            (standing.held, self.held_as(standing.number), due)
        };
        if !up || (held == Some(wanted) && !due) {
            return Ok(());
        }
        let said = match held == Some(wanted) {
            true => ask(Question::Holds {}, PATIENCE),
            false => Err(String::new()),
        };
        let mut held: Option<Held> = said.ok().and_then(|said| serde_json::from_value(said).ok());
        if held != Some(wanted) {
            let estate = match estate {
                Some(estate) => estate,
                None => self.numbered()?,
            };
            let copy = self.sealed(&estate, self.standing().number)?;
            let said = ask(Question::Keep { copy }, WRITING)?;
            held = serde_json::from_value(said).map_err(|error| words(&error))?;
        }
        let mut standing = self.standing();
        standing.held = held;
        standing.asked = Some(Instant::now());
        Ok(())
    }

    /// All that is to be sent, when it has its number.
    fn numbered(&self) -> std::result::Result<Estate, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let estate = Estate::gather(&self.state).map_err(|error| words(&error))?;
        let digest = estate.digest().map_err(|error| words(&error))?;
        let mut counter = self.counted().map_err(|error| words(&error))?;
        if counter.digest != digest {
            counter = Counter {
                number: counter.number + 1,
                digest,
            };
            // Before it is sent: no two copies have one number.
            let path = self.counter();
            let text = serde_json::to_vec(&counter).map_err(|error| words(&error))?;
            durable::write(&path, &text, 0o600, None).map_err(|error| words(&at(&path)(error)))?;
        }
        self.standing().number = counter.number;
        Ok(estate)
    }

    fn sealed(&self, estate: &Estate, number: u64) -> std::result::Result<String, String> {
        let head = Head {
            format: FORMAT,
            site: self.site.clone(),
            lead: self.lead.clone(),
            term: self.term,
            number,
            written: crate::bringup::journal::now(),
        };
        let text = estate.text().map_err(|error| error.to_string())?;
        seal(&self.words, head, &text)
            .and_then(|sealed| sealed.text())
            .map_err(|error| error.to_string())
    }
}

/// Keeps the copy current for as long as the host is up.
pub fn attend(lobby: Arc<Lobby<Office>>, facts: Arc<Facts>, herald: Arc<Herald>) -> Result<()> {
    let Some(keeper) = lobby.hub().desk().keeper().cloned() else {
        return Ok(());
    };
    let identity = Identity::open_or_create(&folder(&facts.places)).map_err(AgentError::mesh)?;
    let runtime = runtime().map_err(AgentError::mesh)?;
    thread("deputy", move || {
        let mut doubted: Option<Instant> = None;
        let mut told = String::new();
        loop {
            let hosts = lobby.hub().hosts();
            let up = hosts.get(&keeper.deputy).is_some_and(|host| host.lines > 0);
            keeper.look(up, |question, limit| {
                lobby.hub().ask(&keeper.deputy, question, limit)
            });
            let note = keeper.standing().note.clone();
            if note != told && !note.is_empty() {
                let words = format!("{} has no current copy of the site: {note}", keeper.deputy);
                Observer::note(&*herald, &words);
            }
            told = note;
            // One that talks to this lead has not been promoted.
            let due = doubted.is_none_or(|at| at.elapsed() >= DOUBT);
            if !up && due && lobby.member(&keeper.deputy).is_some() {
                doubted = Some(Instant::now());
                let warrant = runtime.block_on(followed(&facts, &identity, &keeper.deputy));
                if let Some(warrant) = warrant
                    && step_down(&lobby, &facts, &herald, &warrant)
                {
                    // systemd starts the agent again, which knows that it does not lead.
                    std::process::exit(0);
                }
            }
            std::thread::sleep(LOOK);
        }
    })
}

/// What the host in the deputy's place says of who leads.
async fn followed(facts: &Facts, identity: &Identity, deputy: &str) -> Option<Warrant> {
    let address = SocketAddr::from((facts.plan.address(deputy)?, MESH_PORT));
    in_whose_place(address, identity, &facts.plan.digest, PATIENCE).await
}

/// Whether this lead was followed by another: it says so, and leads no more when this returns.
fn step_down(lobby: &Lobby<Office>, facts: &Facts, herald: &Herald, warrant: &Warrant) -> bool {
    let office = lobby.hub().desk();
    let Ok(ca) = office.ca() else {
        return false;
    };
    let known = crate::mesh::line::hub::Desk::warrant(office);
    if let Err(why) = warrant.check(&facts.site.id, &ca, known.as_ref()) {
        let role = &warrant.claim.role;
        let words = format!("{role} says that it leads this site, which is not believed: {why}");
        Observer::note(herald, &words);
        return false;
    }
    let claim = &warrant.claim;
    herald.call(&format!(
        "\n{} was promoted on {} and leads this site now. This host, {}, leads no more.\n",
        claim.role, claim.since, facts.role
    ));
    match warrant.keep(&folder(&facts.places)) {
        Ok(()) => true,
        Err(error) => {
            Observer::note(herald, &error.to_string());
            false
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::agent::deputy;
    use crate::bringup::places::Places;
    use std::cell::RefCell;

    fn put(state: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(state.join(name).parent().unwrap()).unwrap();
        std::fs::write(state.join(name), text).unwrap();
    }

    fn lead(state: &Path) -> Keeper {
        for name in ["site.json", "ca/ca.pem", "ca/ca.key"] {
            put(state, name, name);
        }
        put(state, "secrets/core/data/own", "zebra-of-core");
        let leadership = Leadership {
            lead: "core".into(),
            deputy: Some("edge".into()),
            warrant: None,
        };
        Keeper::new(state, "5", &leadership, "edge").unwrap()
    }

    /// The deputy, as it answers; what it was asked.
    fn answers(places: &Places, asked: &RefCell<Vec<String>>, question: Question) -> Answered {
        match question {
            Question::Keep { copy } => {
                asked.borrow_mut().push("keep".into());
                deputy::keep(places, "5", &copy).map(|held| serde_json::to_value(held).unwrap())
            }
            Question::Holds {} => {
                asked.borrow_mut().push("holds".into());
                Ok(serde_json::to_value(deputy::held(places)).unwrap())
            }
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_copy_is_sent_when_something_has_changed_and_only_then() {
        let (own, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (state, places) = (own.path(), Places::below(theirs.path()));
        let keeper = lead(state);
        let asked = RefCell::new(Vec::new());
        let look = |up| {
            asked.borrow_mut().clear();
            keeper.look(up, |question, _| answers(&places, &asked, question));
            (asked.borrow().join(" "), keeper.status())
        };
        // Before there is a deputy there is a number, and nobody has it.
        let (said, status) = look(false);
        assert_eq!((said.as_str(), status.copy, status.held), ("", 1, 0));
        assert!(!status.current && !status.words_shown);
        let (said, status) = look(true);
        assert_eq!(
            (said.as_str(), status.held, status.current),
            ("keep", 1, true)
        );
        assert_eq!(look(true).0, "", "nothing has changed");
        put(state, "mesh/members.json", "{}");
        let (said, status) = look(true);
        assert_eq!(
            (said.as_str(), status.held, status.current),
            ("keep", 2, true)
        );
        // What changes while it is away is old until it is back.
        put(state, "secrets/core/data/other", "x");
        let (_, status) = look(false);
        assert_eq!((status.copy, status.held, status.current), (3, 2, false));
        assert_eq!(look(true).0, "keep");
        // One that comes back is asked, and one with another disk is told all again.
        assert_eq!(look(false).0, "");
        assert_eq!(look(true).0, "holds");
        look(false);
        std::fs::remove_dir_all(theirs.path().join("state")).unwrap();
        let (said, status) = look(true);
        assert_eq!((said.as_str(), status.current), ("holds keep", true));
        // The number goes on after a restart.
        assert_eq!(lead(state).counted().unwrap().number, 3);
        // And nothing of it is readable where it is.
        let text = std::fs::read_to_string(theirs.path().join("state/deputy/copy")).unwrap();
        assert!(
            !text.contains("zebra") && !text.contains("secrets/"),
            "{text}"
        );
    }

    #[test]
    fn what_has_not_changed_is_not_read_again() {
        let own = tempfile::tempdir().unwrap();
        let keeper = lead(own.path());
        let look = || {
            keeper.look(false, |_, _| unreachable!("it is not up"));
            std::fs::remove_file(keeper.counter()).is_ok()
        };
        assert!(look() && look(), "it was written just now");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for name in Estate::gather(own.path()).unwrap().files.keys() {
            let file = std::fs::File::open(own.path().join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        assert!(look() && !look());
        put(own.path(), "secrets/core/data/own", "zebra-of-core, anew");
        assert!(look());
    }

    #[test]
    fn a_deputy_that_refuses_is_said_to_have_no_current_copy_and_why() {
        let own = tempfile::tempdir().unwrap();
        let keeper = lead(own.path());
        keeper.look(true, |_, _| Err("the disk is full".into()));
        let status = keeper.status();
        assert_eq!(status.note, "the disk is full");
        assert!(!status.current);
        std::fs::remove_file(own.path().join("ca/ca.key")).unwrap();
        keeper.look(true, |_, _| unreachable!("there is nothing to send"));
        assert_eq!(
            keeper.status().note,
            "ca/ca.key is missing: the lead had not come so far"
        );
    }
}
