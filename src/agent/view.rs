//! How a site stands, as any of its hosts shows it: the lead puts it together from what all say,
//! a member asks the lead. Also what a host answers when another one asks.

use super::invite::another;
use super::mesh::Mesh;
use super::wake::{Wake, Why};
use crate::bringup::actions::unit::journal_tail;
use crate::bringup::board::TaskStand;
use crate::bringup::run::Executor;
use crate::bringup::status::site::{QUIET, Report, Seen, merge};
use crate::bringup::status::{Attention, DeputyStatus, Status};
use crate::mesh::discover::Rival;
use crate::mesh::join::lead::Lobby;
use crate::mesh::line::hub::Presence;
use crate::mesh::line::question::{Answered, Question, Reply};
use jiff::{SignedDuration, Timestamp, Unit};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lead::Office;

/// Lines of a unit's journal that are shown.
pub const TAIL: usize = 20;

/// How long all probes of a host may take.
const PROBING: Duration = Duration::from_secs(540);
/// How long the lead may take to say how the site stands.
const TELLING: Duration = Duration::from_secs(20);
/// How long the journal of another host may take.
const READING: Duration = Duration::from_secs(60);
/// The lead needs this much longer than those that it asks.
const MARGIN: Duration = Duration::from_secs(20);

/// Templates and TLS are shallow.
const STACK: usize = 1 << 20;

/// A host's view.
pub struct View {
    executor: Arc<Executor>,
    mesh: Mesh,
    /// On the lead the other roles, in plan order, and their parts while nothing is known.
    blanks: Vec<(String, Status)>,
    since: Instant,
    wake: Wake,
    /// Two rounds of probes at once prove no more than one.
    probing: Mutex<()>,
}

/// Grows or changes whenever a status would.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    board: u64,
    hub: u64,
    quiet: Vec<bool>,
    deputy: Option<DeputyStatus>,
    rivals: Option<BTreeSet<Rival>>,
}

impl View {
    /// The view of this host.
    pub fn new(executor: Arc<Executor>, mesh: Mesh) -> Arc<View> {
        let facts = executor.facts();
        let roles = facts.plan.hosts.iter().map(|host| &host.role);
        let others = roles.filter(|role| **role != facts.role && matches!(mesh, Mesh::Lead(_)));
        let blanks = others.map(|role| (role.clone(), Status::blank(facts, role)));
        Arc::new(View {
            blanks: blanks.collect(),
            since: Instant::now(),
            wake: Wake::default(),
            probing: Mutex::default(),
            executor,
            mesh,
        })
    }

    /// What is done on this host.
    pub fn executor(&self) -> &Arc<Executor> {
        &self.executor
    }

    /// Wakes who brings the host up.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Whether it shows more than this host.
    pub fn has_others(&self) -> bool {
        !self.blanks.is_empty()
    }

    /// As `status.json` has it: on the lead all hosts, on others this one.
    pub fn written(&self) -> Status {
        self.whole(self.part())
    }

    /// The same with what keeps this host's agent from its work.
    pub fn shown(&self) -> Status {
        self.whole(self.own())
    }

    fn part(&self) -> Status {
        let reports = self.executor.board().reports();
        Status::of(self.executor.facts(), self.executor.jobs(), &reports)
    }

    fn own(&self) -> Status {
        let part = self.part();
        let facts = self.executor.facts();
        // What a member says of itself is given its name where it is shown among others.
        let whose = matches!(self.mesh, Mesh::Lead(_)).then_some(&*facts.role);
        match std::fs::read_to_string(facts.places.trouble()) {
            Ok(reason) => part.troubled(&reason, whose),
            // There mostly is none.
            Err(_) => part,
        }
    }

    fn whole(&self, own: Status) -> Status {
        match &self.mesh {
            Mesh::Lead(lobby) => {
                let office = lobby.hub().desk();
                let mut own = own;
                let rivals = office.rivals().unwrap_or_default();
                own.attention.extend(rivals.iter().map(|rival| Attention {
                    task: format!("{}/muster-agent", self.executor.facts().role),
                    stand: TaskStand::Failed,
                    attempt: 0,
                    reason: another(rival),
                    output: String::new(),
                    unit: None,
                    next: "sudo muster join".into(),
                }));
                Status {
                    deputy: office.keeper().map(|keeper| keeper.status()),
                    ..merge(own, self.seen(lobby))
                }
            }
            _ => own,
        }
    }

    fn quiet(&self, presence: &Presence) -> Duration {
        presence.heard.unwrap_or(self.since).elapsed()
    }

    fn seen(&self, lobby: &Lobby<Office>) -> Vec<Seen> {
        let (hosts, missing) = (lobby.hub().hosts(), lobby.missing());
        let seen = self.blanks.iter().map(|(role, blank)| {
            let presence = hosts.get(role).cloned().unwrap_or_default();
            let quiet = self.quiet(&presence);
            Seen {
                role: role.clone(),
                blank: blank.clone(),
                joined: !missing.contains(role),
                up: presence.lines > 0,
                quiet,
                heard: presence.heard.map(|_| ago(quiet)).unwrap_or_default(),
                report: report(&presence),
            }
        });
        seen.collect()
    }

    /// Changes whenever what is written would, but for times.
    pub fn mark(&self) -> Mark {
        let (hub, quiet, deputy, rivals) = match &self.mesh {
            Mesh::Lead(lobby) => {
                let hosts = lobby.hub().hosts();
                let quiet = self.blanks.iter().map(|(role, _)| {
                    let presence = hosts.get(role).cloned().unwrap_or_default();
                    presence.lines == 0 && self.quiet(&presence) > QUIET
                });
                let office = lobby.hub().desk();
                let deputy = office.keeper().map(|keeper| keeper.status());
                let revision = lobby.hub().revision();
                (revision, quiet.collect(), deputy, office.rivals())
            }
            _ => (0, Vec::new(), None, None),
        };
        Mark {
            board: self.executor.board().reports().changes,
            hub,
            quiet,
            deputy,
            rivals,
        }
    }

    /// What a member tells its lead of itself.
    pub fn report(&self) -> Option<Value> {
        told(&self.own()).ok()
    }

    /// Tells the lead how this host stands, if there is a lead.
    pub fn tell(&self) {
        if let (Mesh::Member(link), Some(report)) = (&self.mesh, self.report()) {
            link.report(report);
        }
    }

    /// Makes every probe now: of this host, and on the lead of all that can be heard.
    pub fn probe(&self) {
        let own = || {
            let _one = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
            self.executor
                .prober()
                .probe_all(self.executor.jobs(), &|_, _| {});
        };
        let Mesh::Lead(lobby) = &self.mesh else {
            return own();
        };
        let hub = lobby.hub();
        let ask = |role: &str| match hub.ask(role, Question::Verify {}, PROBING) {
            Ok(status) => hub.report(role, status),
            // Its last report stays, and the status says since when it is silent.
            Err(reason) => eprintln!("{role} was not probed: {reason}"),
        };
        let hosts = hub.hosts();
        std::thread::scope(|scope| {
            for (role, _) in &self.blanks {
                if hosts.get(role).is_some_and(|host| host.lines > 0) {
                    let asking = std::thread::Builder::new().stack_size(STACK);
                    if let Err(error) = asking.spawn_scoped(scope, || ask(role)) {
                        eprintln!("{role} was not probed: {error}");
                    }
                }
            }
            own();
        });
    }

    /// Answers another host.
    pub fn answer(&self, question: &Question) -> Answered {
        match question {
            Question::Status {} => told(&self.shown()),
            Question::Verify {} => {
                self.probe();
                self.wake.ring(Why::Again);
                told(&self.shown())
            }
            Question::Journal { role, unit } => self.journal(role, unit).map(Value::String),
            Question::Sign { .. } => Err("only the lead signs certificates".into()),
            Question::Keep { .. } | Question::Holds {} => {
                Err("only a deputy keeps a copy of its site".into())
            }
        }
    }

    /// Answers on a thread of its own.
    pub fn answer_aside(self: &Arc<View>, question: Question, reply: Reply) {
        let view = Arc::clone(self);
        let work = move || {
            let answered = view.answer(&question);
            reply.give(answered);
        };
        let answering = std::thread::Builder::new().name("question".into());
        // What cannot be begun drops the reply, which tells the other side.
        if let Err(error) = answering.stack_size(STACK).spawn(work) {
            eprintln!("a question was not answered: {error}");
        }
    }

    /// Answers somebody on this host: how the site stands, and a word on what it is not.
    pub fn status_here(&self, verify: bool) -> (Status, String) {
        let (question, limit) = match verify {
            true => (Question::Verify {}, PROBING + MARGIN),
            false => (Question::Status {}, TELLING),
        };
        let mut note = String::new();
        if let Mesh::Member(link) = &self.mesh {
            match link.ask(question, limit).and_then(read) {
                Ok(status) => return (status, note),
                Err(reason) => note = alone(&reason, &self.executor.facts().role),
            }
        }
        if verify {
            self.probe();
            self.wake.ring(Why::Again);
        }
        (self.shown(), note)
    }

    /// Answers somebody on this host: the last lines of a unit of any.
    pub fn journal_here(&self, role: &str, unit: &str) -> Result<String, String> {
        match &self.mesh {
            Mesh::Member(link) if role != self.executor.facts().role => {
                let question = Question::Journal {
                    role: role.to_owned(),
                    unit: unit.to_owned(),
                };
                link.ask(question, READING + MARGIN).and_then(lines)
            }
            _ => self.journal(role, unit),
        }
    }

    fn journal(&self, role: &str, unit: &str) -> Result<String, String> {
        let facts = self.executor.facts();
        if role == facts.role {
            return match self.is_own(unit) {
                true => Ok(facts.redact(&journal_tail(unit, TAIL))),
                false => Err(format!("{unit} is no unit of a task of {role}")),
            };
        }
        match &self.mesh {
            Mesh::Lead(lobby) => {
                let question = Question::Journal {
                    role: role.to_owned(),
                    unit: unit.to_owned(),
                };
                lobby.hub().ask(role, question, READING).and_then(lines)
            }
            _ => Err(format!("{role} is another host")),
        }
    }

    /// Whether a finding of this host may be about a unit: only those are shown to others.
    fn is_own(&self, unit: &str) -> bool {
        let facts = self.executor.facts();
        let services = facts
            .plan
            .hosts
            .iter()
            .filter(|host| host.role == facts.role);
        let mut services = services.flat_map(|host| &host.services);
        let reports = self.executor.board().reports();
        let mut tasks = reports.tasks.values();
        unit == "muster-agent.service"
            || services.any(|service| unit.strip_suffix('*') == Some(service))
            || tasks.any(|task| task.unit.as_deref() == Some(unit))
    }
}

/// What a member says that shows its own part only.
pub fn alone(reason: &str, role: &str) -> String {
    format!("{reason}; this is how {role} stands by itself")
}

fn told(status: &Status) -> Answered {
    serde_json::to_value(status).map_err(|error| error.to_string())
}

fn read(status: Value) -> Result<Status, String> {
    serde_json::from_value(status)
        .map_err(|error| format!("what the lead says cannot be read: {error}"))
}

fn lines(answer: Value) -> Result<String, String> {
    match answer {
        Value::String(lines) => Ok(lines),
        _ => Err("what was answered is no journal".into()),
    }
}

fn report(presence: &Presence) -> Report {
    match presence.status.as_deref().map(Status::deserialize) {
        None => Report::Missing,
        Some(Ok(status)) => Report::Status(Box::new(status)),
        Some(Err(error)) => Report::Garbled(error.to_string()),
    }
}

/// So long ago, RFC 3339 in UTC.
fn ago(quiet: Duration) -> String {
    let now = Timestamp::now();
    let then = SignedDuration::try_from(quiet)
        .ok()
        .and_then(|quiet| now.checked_sub(quiet).ok())
        .unwrap_or(now);
    then.round(Unit::Second).unwrap_or(then).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bringup::run::Options;
    use crate::bringup::tests::executor;
    use crate::mesh::line::link::Link;
    use std::path::Path;

    const SERVICE: &str = "[[step]]\nid = \"serve\"\nunit = \"a.service\"\nstate = \"started\"\n";

    fn view(home: &Path, mesh: Mesh) -> Arc<View> {
        let (executor, _) = executor(home, &[("a", SERVICE)], "i", Options::default());
        View::new(Arc::new(executor), mesh)
    }

    fn journal(role: &str, unit: &str) -> Question {
        Question::Journal {
            role: role.into(),
            unit: unit.into(),
        }
    }

    #[test]
    fn a_member_whose_lead_is_away_shows_itself_and_says_so() {
        let home = tempfile::tempdir().unwrap();
        let member = view(home.path(), Mesh::Member(Arc::new(Link::new())));
        for verify in [false, true] {
            let (status, note) = member.status_here(verify);
            assert_eq!(
                note,
                "the lead cannot be reached; this is how office stands by itself"
            );
            assert_eq!(status.hosts.len(), 1);
        }
        assert_eq!(
            member.journal_here("core", "a.service"),
            Err("the lead cannot be reached".into())
        );
    }

    #[test]
    fn a_host_without_others_has_nothing_to_add() {
        let home = tempfile::tempdir().unwrap();
        let host = view(home.path(), Mesh::Alone);
        let (status, note) = host.status_here(false);
        assert_eq!(note, "");
        assert_eq!(status.hosts[0].role, "office");
        // What keeps its agent from its work is shown, and is not in the file.
        let trouble = host.executor().facts().places.trouble();
        std::fs::create_dir_all(trouble.parent().unwrap()).unwrap();
        std::fs::write(trouble, "the disk is full\n").unwrap();
        assert_eq!(host.shown().attention[0].reason, "the disk is full");
        assert!(host.written().attention.is_empty());
    }

    #[test]
    fn another_host_reads_the_journals_of_tasks_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let host = view(home.path(), Mesh::Member(Arc::new(Link::new())));
        for unit in ["a.service", "a*", "muster-agent.service"] {
            assert!(host.answer(&journal("office", unit)).is_ok(), "{unit}");
        }
        for (role, unit, words) in [
            (
                "office",
                "ssh.service",
                "ssh.service is no unit of a task of office",
            ),
            ("office", "*", "* is no unit of a task of office"),
            ("core", "a.service", "core is another host"),
        ] {
            assert_eq!(host.answer(&journal(role, unit)), Err(words.into()));
        }
        let sign = Question::Sign {
            service: "a".into(),
            name: "server".into(),
            public_key: String::new(),
        };
        assert_eq!(
            host.answer(&sign),
            Err("only the lead signs certificates".into())
        );
    }
}
