//! Lines between a lead and its members.

use super::{Host, Lead, PLAN, RHYTHM};
use muster::mesh::clock;
use muster::mesh::identity::Print;
use muster::mesh::line::Orders;
use muster::mesh::line::link::{self, Call, Link};
use muster::mesh::line::question::{Question, Reply};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// What a member knows and has heard.
#[derive(Default)]
struct Agent {
    done: Mutex<BTreeSet<String>>,
    others: Mutex<BTreeSet<String>>,
    orders: Mutex<Vec<Orders>>,
    notes: Mutex<Vec<String>>,
    /// What it says of itself on each new line.
    status: Mutex<Option<Value>>,
    asked: Mutex<Vec<Question>>,
    unanswered: Mutex<Vec<Reply>>,
    times: Mutex<Vec<u64>>,
}

impl link::Host for Agent {
    fn done(&self) -> BTreeSet<String> {
        self.done.lock().unwrap().clone()
    }

    fn time(&self, lead: u64) {
        let mut times = self.times.lock().unwrap();
        times.push(lead);
        // Before the orders, each time: those bear certificates.
        assert_eq!(times.len(), self.orders.lock().unwrap().len() + 1);
    }

    fn orders(&self, orders: Orders) {
        self.orders.lock().unwrap().push(orders);
    }

    fn others(&self, done: BTreeSet<String>, undone: BTreeSet<String>) {
        let mut others = self.others.lock().unwrap();
        others.extend(done);
        others.retain(|task| !undone.contains(task));
    }

    fn status(&self) -> Option<Value> {
        self.status.lock().unwrap().clone()
    }

    fn answer(&self, question: Question, reply: Reply) {
        self.asked.lock().unwrap().push(question.clone());
        match question {
            Question::Verify {} => reply.give(Ok(json!({"outcome": "red"}))),
            Question::Journal { unit, .. } => reply.give(Err(format!("there is no {unit}"))),
            // It crashes over this one.
            Question::Sign { .. } => drop(reply),
            Question::Status {} => self.unanswered.lock().unwrap().push(reply),
            Question::Keep { copy } => reply.give(Ok(json!({"kept": copy}))),
            Question::Holds {} => reply.give(Ok(Value::Null)),
        }
    }

    fn note(&self, words: &str) {
        self.notes.lock().unwrap().push(words.to_owned());
    }
}

/// A member with its line.
struct Member {
    host: Host,
    agent: Arc<Agent>,
    link: Arc<Link>,
    holding: tokio::task::JoinHandle<()>,
}

fn set(tasks: &[&str]) -> BTreeSet<String> {
    tasks.iter().map(|task| (*task).to_owned()).collect()
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

impl Member {
    /// Joins and dials.
    async fn of(lead: &Lead, role: &str) -> Member {
        let host = Host::new();
        let joined = host.join(lead.address, role, &lead.code()).await.unwrap();
        Member::dial(host, lead.address, joined.record.lead_key, PLAN)
    }

    fn dial(host: Host, address: SocketAddr, lead: Print, plan: &str) -> Member {
        let (agent, link) = (Arc::new(Agent::default()), Arc::new(Link::new()));
        let call = Call {
            address,
            lead,
            other: None,
            plan: plan.to_owned(),
            rhythm: RHYTHM,
        };
        let (own, line, identity) = (Arc::clone(&agent), Arc::clone(&link), host.identity());
        let holding = tokio::spawn(async move { line.hold(&call, &identity, &*own).await });
        Member {
            host,
            agent,
            link,
            holding,
        }
    }

    /// Does a task.
    fn does(&self, task: &str) {
        self.agent.done.lock().unwrap().insert(task.to_owned());
        self.link.tell(set(&[task]), true);
    }

    async fn hears(&self, tasks: &[&str]) {
        let wanted = set(tasks);
        until(&format!("{wanted:?} are heard of"), || {
            *self.agent.others.lock().unwrap() == wanted
        })
        .await;
    }

    async fn notes(&self, wanted: &str) {
        until(wanted, || {
            let notes = self.agent.notes.lock().unwrap();
            notes.iter().any(|note| note.contains(wanted))
        })
        .await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.holding.abort();
    }
}

#[tokio::test]
async fn each_hears_what_its_tasks_wait_for_and_nothing_else() {
    let lead = Lead::start(None).await;
    let (edge, files) = (
        Member::of(&lead, "edge").await,
        Member::of(&lead, "files").await,
    );
    lead.lobby.hub().tell("core", &set(&["core/a"]), true);
    edge.hears(&["core/a"]).await;
    edge.does("edge/a");
    edge.does("edge/b");
    files.hears(&["edge/b"]).await;
    assert_eq!(*edge.agent.others.lock().unwrap(), set(&["core/a"]));
    // What is done again is not done until it is.
    edge.link.tell(set(&["edge/b"]), false);
    files.hears(&[]).await;
    edge.does("edge/b");
    files.hears(&["edge/b"]).await;
}

#[tokio::test]
async fn each_is_told_its_own_secrets() {
    let lead = Lead::start(None).await;
    let (edge, files) = (
        Member::of(&lead, "edge").await,
        Member::of(&lead, "files").await,
    );
    for (member, role) in [(&edge, "edge"), (&files, "files")] {
        until("there are orders", || {
            !member.agent.orders.lock().unwrap().is_empty()
        })
        .await;
        let orders = member.agent.orders.lock().unwrap()[0].clone();
        let time = member.agent.times.lock().unwrap()[0];
        assert!(time.abs_diff(clock::seconds()) < 60, "{time}");
        let all = serde_json::to_string(&orders).unwrap();
        assert_eq!(all.matches("only for ").count(), 1);
        assert_eq!(
            orders.secrets[&format!("{role}/secret")],
            format!("only for {role}")
        );
    }
}

#[tokio::test]
async fn a_member_works_on_without_its_lead_and_reports_when_it_is_back() {
    let lead = Lead::start(None).await;
    let (edge, files) = (
        Member::of(&lead, "edge").await,
        Member::of(&lead, "files").await,
    );
    until("both are up", || edge.link.is_up() && files.link.is_up()).await;
    let mut lead = lead;
    lead.stop();
    until("the lines are down", || {
        !edge.link.is_up() && !files.link.is_up()
    })
    .await;
    edge.does("edge/a");
    edge.does("edge/b");
    assert!(files.agent.others.lock().unwrap().is_empty());
    let mut lead = lead.again().await;
    files.hears(&["edge/b"]).await;
    // What was done stays so while its host is not heard of, and not when it says otherwise.
    lead.stop();
    until("the lines are down", || {
        !edge.link.is_up() && !files.link.is_up()
    })
    .await;
    edge.agent.done.lock().unwrap().remove("edge/b");
    assert_eq!(*files.agent.others.lock().unwrap(), set(&["edge/b"]));
    let lead = lead.again().await;
    files.hears(&[]).await;
    edge.does("edge/b");
    files.hears(&["edge/b"]).await;
    lead.lobby.hub().tell("core", &set(&["core/a"]), true);
    edge.hears(&["core/a"]).await;
    for member in [&edge, &files] {
        assert_eq!(
            member.agent.orders.lock().unwrap().len(),
            3,
            "told each time"
        );
        let notes = member.agent.notes.lock().unwrap();
        assert!(
            notes.iter().any(|note| note.contains("the lead at")),
            "{notes:?}"
        );
    }
}

#[tokio::test]
async fn a_cut_line_is_dialled_again_and_nothing_is_lost() {
    let lead = Lead::start(None).await;
    let cable = Cable::to(lead.address).await;
    let host = Host::new();
    let joined = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    let edge = Member::dial(host, cable.address, joined.record.lead_key, PLAN);
    let files = Member::of(&lead, "files").await;
    until("it is up", || edge.link.is_up()).await;
    cable.cut();
    until("it is down", || !edge.link.is_up()).await;
    edge.does("edge/b");
    lead.lobby.hub().tell("core", &set(&["core/a"]), true);
    cable.mend();
    files.hears(&["edge/b"]).await;
    edge.hears(&["core/a"]).await;
    // A task of the lead's that is made again meanwhile is not done,
    cable.cut();
    until("it is down", || !edge.link.is_up()).await;
    lead.lobby.hub().tell("core", &set(&["core/a"]), false);
    cable.mend();
    edge.hears(&[]).await;
    // nor one of which the lead hears nothing after a break: the disk was put back.
    cable.cut();
    until("it is down", || !edge.link.is_up()).await;
    edge.agent.done.lock().unwrap().clear();
    cable.mend();
    files.hears(&[]).await;
}

#[tokio::test]
async fn one_that_falls_silent_without_a_word_is_noticed_by_the_other() {
    let lead = Lead::start(None).await;
    let cable = Cable::to(lead.address).await;
    let host = Host::new();
    let joined = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    let edge = Member::dial(host, cable.address, joined.record.lead_key, PLAN);
    until("it is up", || edge.link.is_up()).await;
    // Nothing is said but the pulse, and that is enough.
    tokio::time::sleep(RHYTHM.silence * 2).await;
    assert!(edge.link.is_up());
    let lines = || lead.lobby.hub().hosts()["edge"].lines;
    assert_eq!(lines(), 1);
    assert_eq!(*edge.agent.notes.lock().unwrap(), [""; 0]);
    // As if the power had failed: no end is told to anybody.
    cable.freeze();
    edge.notes("silent for 2 s").await;
    until("the lead knows it", || lines() == 0).await;
    cable.mend();
    until("it is up again", || edge.link.is_up()).await;
}

#[tokio::test]
async fn a_member_speaks_for_itself_alone() {
    let lead = Lead::start(None).await;
    let (edge, files) = (
        Member::of(&lead, "edge").await,
        Member::of(&lead, "files").await,
    );
    until("both are up", || edge.link.is_up() && files.link.is_up()).await;
    files.does("edge/b");
    files.does("no/such/task");
    until("it is noted", || {
        let notes = lead.notes();
        let strange = notes
            .iter()
            .filter(|note| note.starts_with("files speaks of 1 tasks"));
        strange.count() == 2
    })
    .await;
    assert!(files.agent.others.lock().unwrap().is_empty());
    edge.does("edge/b");
    files.hears(&["edge/b"]).await;
}

#[tokio::test]
async fn certificates_are_signed_for_who_asks_and_for_no_other() {
    let lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    let sign = |service: &'static str| {
        let link = Arc::clone(&edge.link);
        tokio::task::spawn_blocking(move || link.sign(service, "server", &[1, 2, 3]))
    };
    assert_eq!(
        sign("nginx").await.unwrap(),
        Ok("edge/nginx/server: 010203".into())
    );
    assert_eq!(
        sign("unknown").await.unwrap(),
        Err("edge has no service unknown".into())
    );
    let notes = lead.notes();
    let refused = "edge: no certificate unknown/server: edge has no service unknown";
    assert!(notes.iter().any(|note| note == refused), "{notes:?}");
    edge.holding.abort();
    drop(lead);
}

#[tokio::test]
async fn who_is_no_member_or_was_built_from_something_else_gets_nothing() {
    let lead = Lead::start(None).await;
    let own = muster::mesh::identity::Identity::open_or_create(lead.folder.path()).unwrap();
    let stranger = Member::dial(Host::new(), lead.address, own.print(), PLAN);
    stranger
        .notes("this host is not a member of this site (any more)")
        .await;
    assert!(stranger.agent.orders.lock().unwrap().is_empty());

    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    edge.holding.abort();
    let other = Host {
        folder: tempfile::tempdir().unwrap(),
    };
    std::fs::copy(
        edge.host.folder.path().join("host.key"),
        other.folder.path().join("host.key"),
    )
    .unwrap();
    let newer = Member::dial(other, lead.address, own.print(), &"f".repeat(32));
    newer
        .notes("edge and core were built from different plans")
        .await;
    assert!(newer.agent.orders.lock().unwrap().is_empty());

    let false_lead = Lead::start(None).await;
    let fooled = Member::dial(Host::new(), false_lead.address, own.print(), PLAN);
    fooled
        .notes("what answers there is not the lead of this site")
        .await;
}

#[tokio::test]
async fn a_host_that_was_replaced_is_refused_when_it_dials_again() {
    let lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    lead.lobby.revoke("edge").unwrap();
    until("it is down", || !edge.link.is_up()).await;
    edge.notes("this host is not a member of this site (any more)")
        .await;
}

#[tokio::test]
async fn the_lead_knows_how_its_hosts_stand() {
    let lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    edge.link.report(json!({"outcome": "green"}));
    let status = || {
        lead.lobby
            .hub()
            .hosts()
            .get("edge")
            .and_then(|host| host.status.clone())
    };
    until("there is a report", || status().is_some()).await;
    assert_eq!(status().unwrap()["outcome"], "green");
    assert_eq!(lead.lobby.hub().hosts()["edge"].lines, 1);
    edge.holding.abort();
    until("its line is down", || {
        lead.lobby.hub().hosts()["edge"].lines == 0
    })
    .await;
    assert!(status().is_some(), "its last word stays");
}

#[tokio::test]
async fn a_member_says_again_how_it_stands_when_it_has_dialled_again() {
    let lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    let outcome = || {
        let host = lead.lobby.hub().hosts().remove("edge")?;
        Some(host.status?["outcome"].clone())
    };
    assert_eq!(outcome(), None);
    let before = lead.lobby.hub().revision();
    *edge.agent.status.lock().unwrap() = Some(json!({"outcome": "green"}));
    edge.link.redial();
    until("there is a report", || outcome() == Some("green".into())).await;
    assert!(lead.lobby.hub().revision() > before);
    assert!(!lead.log.stirred.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_member_says_of_others_is_its_own_word_and_not_theirs() {
    let lead = Lead::start(None).await;
    let (edge, files) = (
        Member::of(&lead, "edge").await,
        Member::of(&lead, "files").await,
    );
    until("both are up", || edge.link.is_up() && files.link.is_up()).await;
    let status = |role: &str| lead.lobby.hub().hosts()[role].status.clone();
    files.link.report(json!({"hosts": [{"role": "files"}]}));
    until("files has reported", || status("files").is_some()).await;
    // Which host speaks is known by its key, whatever it writes.
    edge.link
        .report(json!({"hosts": [{"role": "files", "done": 9}]}));
    until("edge has reported", || status("edge").is_some()).await;
    let own = status("files").unwrap();
    assert_eq!(*own, json!({"hosts": [{"role": "files"}]}));
}

/// Asks from a thread, as whoever probes does.
async fn asks(
    ask: impl FnOnce() -> Result<Value, String> + Send + 'static,
) -> Result<Value, String> {
    tokio::task::spawn_blocking(ask).await.unwrap()
}

const LIMIT: Duration = Duration::from_secs(20);

fn journal() -> Question {
    Question::Journal {
        role: "edge".into(),
        unit: "nginx*".into(),
    }
}

#[tokio::test]
async fn the_lead_asks_its_members() {
    let lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    let ask = |role: &'static str, question, limit| {
        let lobby = Arc::clone(&lead.lobby);
        asks(move || lobby.hub().ask(role, question, limit))
    };
    let sign = Question::Sign {
        service: "nginx".into(),
        name: "server".into(),
        public_key: String::new(),
    };
    let (verify, second) = (Question::Verify {}, Duration::from_secs(1));
    assert_eq!(
        ask("edge", verify.clone(), LIMIT).await,
        Ok(json!({"outcome": "red"}))
    );
    for (role, question, limit, words) in [
        ("edge", journal(), LIMIT, "there is no nginx*"),
        (
            "edge",
            sign,
            LIMIT,
            "the other host could not answer; its log says why",
        ),
        (
            "edge",
            Question::Status {},
            second,
            "edge has not answered within 1 s",
        ),
        ("files", verify, LIMIT, "files cannot be reached"),
    ] {
        let answered = ask(role, question, limit).await;
        assert_eq!(answered, Err(words.to_owned()));
    }
    assert_eq!(edge.agent.asked.lock().unwrap().len(), 4);
    let waiting = ask("edge", Question::Status {}, LIMIT);
    let broken = async {
        until("it is asked", || {
            edge.agent.asked.lock().unwrap().len() == 5
        })
        .await;
        edge.link.redial();
    };
    let (answered, ()) = tokio::join!(waiting, broken);
    let words = "the line to edge broke before it answered";
    assert_eq!(answered, Err(words.to_owned()));
    until("it is up again", || {
        edge.link.is_up() && lead.lobby.hub().hosts()["edge"].lines == 1
    })
    .await;
    // What is answered on a line that is down is nobody's.
    for reply in edge.agent.unanswered.lock().unwrap().drain(..) {
        reply.give(Ok(json!("late")));
    }
    let answered = ask("edge", Question::Verify {}, LIMIT).await;
    assert_eq!(answered, Ok(json!({"outcome": "red"})));
    lead.lobby.revoke("edge").unwrap();
    assert_eq!(
        ask("edge", Question::Verify {}, LIMIT).await,
        Err("edge cannot be reached".to_owned())
    );
}

#[tokio::test]
async fn members_ask_their_lead() {
    let mut lead = Lead::start(None).await;
    let edge = Member::of(&lead, "edge").await;
    until("it is up", || edge.link.is_up()).await;
    let ask = |question, limit| {
        let link = Arc::clone(&edge.link);
        asks(move || link.ask(question, limit))
    };
    assert_eq!(
        ask(Question::Status {}, LIMIT).await,
        Ok(json!("the site for edge"))
    );
    assert_eq!(
        ask(journal(), LIMIT).await,
        Err("edge has no nginx*".to_owned())
    );
    // However many wait for their answers: the rest is heard all the same.
    let waiting: Vec<_> = (0..15)
        .map(|_| tokio::spawn(ask(Question::Verify {}, LIMIT)))
        .collect();
    until("all are asked", || {
        lead.log.unanswered.lock().unwrap().len() == 15
    })
    .await;
    assert_eq!(
        ask(Question::Status {}, LIMIT).await,
        Ok(json!("the site for edge"))
    );
    lead.stop();
    for answered in waiting {
        let words = "the line to the lead broke before it answered";
        assert_eq!(answered.await.unwrap(), Err(words.to_owned()));
    }
    assert_eq!(
        ask(Question::Status {}, LIMIT).await,
        Err("the lead cannot be reached".to_owned())
    );
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Whole,
    /// What was said through it ends.
    Cut,
    /// Nothing comes through, and nothing ends.
    Frozen,
}

/// A cable to a lead.
struct Cable {
    address: SocketAddr,
    state: tokio::sync::watch::Sender<State>,
}

impl Cable {
    async fn to(lead: SocketAddr) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = tokio::sync::watch::channel(State::Whole);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut seen = seen.clone();
                if *seen.borrow_and_update() != State::Whole {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(lead).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = seen.changed() => {}
                    }
                    // Held open for as long as the cable is frozen.
                    while *seen.borrow_and_update() == State::Frozen {
                        if seen.changed().await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Cable { address, state }
    }

    fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}
