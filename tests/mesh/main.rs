//! Joins over loopback: a lead, members, and people in the middle.
#![allow(clippy::unwrap_used)]

mod between;
mod confirm;
mod deputy;
mod discover;
mod line;

use muster::mesh::code::{Code, Token};
use muster::mesh::identity::Identity;
use muster::mesh::join::JoinError;
use muster::mesh::join::lead::{Candidate as Waiting, Facts, Lobby, Site};
use muster::mesh::join::member::{Candidate, Joined, Secret, join};
use muster::mesh::join::waiting::{Waiting as People, Word};
use muster::mesh::line::hub::{Desk, Hub, Known};
use muster::mesh::line::question::{Question, Reply};
use muster::mesh::line::{Orders, Rhythm};
use muster::mesh::members::Members;
use muster::site::Site as Answers;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a host waits for a person.
const PATIENCE: Duration = Duration::from_secs(2);

const PLAN: &str = "0123456789abcdef0123456789abcdef";

/// Faster than on hosts: the tests wait for it.
const RHYTHM: Rhythm = Rhythm {
    pulse: Duration::from_millis(100),
    silence: Duration::from_secs(2),
};

/// What the lead was asked and said.
#[derive(Default)]
struct Log {
    notes: Mutex<Vec<String>>,
    asked: Mutex<Vec<Waiting>>,
    /// What the person at the lead answers.
    unwelcome: AtomicBool,
    /// Where the answer is waited for instead.
    people: Mutex<Option<Arc<People>>>,
    /// Whether making certificates fails.
    broken: AtomicBool,
    certified: AtomicU32,
    unanswered: Mutex<Vec<Reply>>,
    stirred: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Paper(Arc<Log>);

impl Site for Paper {
    async fn confirm(&self, candidate: &Waiting) -> Word {
        self.0.asked.lock().unwrap().push(candidate.clone());
        let people = self.0.people.lock().unwrap().clone();
        match people {
            Some(people) => people.ask(candidate, PATIENCE, || {}).await,
            None if self.0.unwelcome.load(Ordering::SeqCst) => Word::No,
            None => Word::Yes,
        }
    }

    fn certify(&self, role: &str, public_key: &[u8]) -> Result<(String, String), String> {
        if self.0.broken.load(Ordering::SeqCst) {
            return Err("no space left on the disk".into());
        }
        let number = self.0.certified.fetch_add(1, Ordering::SeqCst);
        let certificate = format!("certificate {number} of {role}: {} bytes", public_key.len());
        Ok((certificate, "the CA".into()))
    }
}

impl Desk for Paper {
    fn orders(&self, role: &str) -> Result<Orders, String> {
        let secret = (format!("{role}/secret"), format!("only for {role}"));
        Ok(Orders {
            site: Answers::nobodys(role),
            addresses: [("core".to_owned(), "127.0.0.1".to_owned())].into(),
            secrets: [secret].into(),
        })
    }

    fn sign(&self, role: &str, service: &str, name: &str, key: &[u8]) -> Result<String, String> {
        match service {
            "unknown" => Err(format!("{role} has no service {service}")),
            _ => Ok(format!("{role}/{service}/{name}: {}", hex::encode(key))),
        }
    }

    fn answer(&self, role: &str, question: Question, reply: Reply) {
        match question {
            Question::Status {} => reply.give(Ok(format!("the site for {role}").into())),
            Question::Journal { role, unit } => reply.give(Err(format!("{role} has no {unit}"))),
            // Nobody ever answers.
            _ => self.0.unanswered.lock().unwrap().push(reply),
        }
    }

    fn stirred(&self, role: &str) {
        self.0.stirred.lock().unwrap().push(role.to_owned());
    }

    fn note(&self, words: &str) {
        self.0.notes.lock().unwrap().push(words.to_owned());
    }
}

/// Tasks of three hosts: `edge` waits for `core`, `core` and `files` wait for `edge`.
fn tasks() -> Vec<(&'static str, &'static str, Vec<String>)> {
    vec![
        ("core/a", "core", vec![]),
        ("core/b", "core", vec!["core/a".into(), "edge/b".into()]),
        ("edge/a", "edge", vec!["core/a".into()]),
        ("edge/b", "edge", vec!["edge/a".into()]),
        ("files/a", "files", vec!["edge/b".into()]),
    ]
}

/// A lead at work, on a thread of its own.
struct Served {
    /// Dropping it ends the lead, and every connection with it.
    power: Option<tokio::sync::oneshot::Sender<()>>,
    running: Option<std::thread::JoinHandle<()>>,
}

fn served<S: Site + 'static>(
    listener: TcpListener,
    lobby: &Arc<Lobby<S>>,
    identity: Identity,
) -> Served {
    let (listener, lobby) = (listener.into_std().unwrap(), Arc::clone(lobby));
    let (power, cut) = tokio::sync::oneshot::channel();
    let running = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            tokio::select! {
                ended = lobby.serve(listener, &identity) => ended.unwrap(),
                _ = cut => {}
            }
        });
    });
    Served {
        power: Some(power),
        running: Some(running),
    }
}

impl Served {
    fn stop(&mut self) {
        drop(self.power.take());
        if let Some(running) = self.running.take() {
            running.join().unwrap();
        }
    }
}

/// A lead of the roles `core` (itself), `edge` and `files`.
struct Lead {
    folder: tempfile::TempDir,
    lobby: Arc<Lobby<Paper>>,
    log: Arc<Log>,
    address: SocketAddr,
    served: Served,
}

impl Lead {
    async fn start(token: Option<Token>) -> Lead {
        let anywhere = "127.0.0.1:0".parse().unwrap();
        Lead::begin(tempfile::tempdir().unwrap(), token, anywhere).await
    }

    async fn begin(folder: tempfile::TempDir, token: Option<Token>, at: SocketAddr) -> Lead {
        let identity = Identity::open_or_create(folder.path()).unwrap();
        let facts = Facts {
            site: "5".repeat(32),
            lead: "core".into(),
            roles: ["edge".to_owned(), "files".to_owned()].into(),
            plan: PLAN.into(),
        };
        let paper = Paper::default();
        let log = Arc::clone(&paper.0);
        let members = Members::open(folder.path()).unwrap();
        let tasks = tasks();
        let known = tasks
            .iter()
            .map(|(id, role, after)| Known { id, role, after });
        let hub = Hub::new(known, paper).with_rhythm(RHYTHM);
        let lobby = Lobby::new(facts, &identity, members, token, hub).unwrap();
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        Lead {
            served: served(listener, &lobby, identity),
            folder,
            lobby,
            log,
            address,
        }
    }

    fn stop(&mut self) {
        self.served.stop();
    }

    /// As after a power cut: the folder is all that is left.
    async fn again(mut self) -> Lead {
        self.stop();
        Lead::begin(self.folder, None, self.address).await
    }

    fn code(&self) -> Secret {
        Secret::Code(self.lobby.code().unwrap().0.unwrap())
    }

    fn notes(&self) -> Vec<String> {
        self.log.notes.lock().unwrap().clone()
    }
}

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        Host {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn identity(&self) -> Identity {
        Identity::open_or_create(self.folder.path()).unwrap()
    }

    async fn join(&self, at: SocketAddr, role: &str, secret: &Secret) -> Result<Joined, JoinError> {
        self.join_with(at, role, PLAN, secret).await
    }

    async fn join_with(
        &self,
        at: SocketAddr,
        role: &str,
        plan: &str,
        secret: &Secret,
    ) -> Result<Joined, JoinError> {
        let identity = self.identity();
        let candidate = Candidate {
            identity: &identity,
            role,
            plan,
        };
        join(at, &candidate, secret).await
    }

    /// The words of a refusal.
    async fn refused(&self, at: SocketAddr, role: &str, secret: &Secret) -> String {
        self.join(at, role, secret).await.unwrap_err().to_string()
    }
}

/// Another code than this one.
fn wrong(secret: &Secret) -> Secret {
    let Secret::Code(right) = secret else {
        unreachable!("a code");
    };
    let guess = Code::parse("zoo zoo zoo").unwrap();
    match *right == guess {
        true => Secret::Code(Code::parse("zoo zoo zebra").unwrap()),
        false => Secret::Code(guess),
    }
}

fn members(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("members.json")).unwrap_or_default()
}

#[tokio::test]
async fn a_host_that_knows_the_code_joins_when_a_person_wants_it() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    let joined = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    assert_eq!(joined.record.role, "edge");
    assert_eq!(joined.record.lead, "core");
    assert_eq!(joined.record.site, "5".repeat(32));
    assert!(
        joined
            .record
            .certificate
            .starts_with("certificate 0 of edge: 91 bytes")
    );
    assert_eq!(lead.lobby.missing(), ["files"]);
    let asked = lead.log.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].role, "edge");
    assert_eq!(asked[0].key, host.identity().print());
    assert_eq!(lead.notes(), ["edge has joined from 127.0.0.1"]);
    assert!(joined.time > 1_700_000_000);
}

#[tokio::test]
async fn a_token_needs_nobody() {
    let token = Token::draw().unwrap();
    let lead = Lead::start(Some(token.clone())).await;
    let host = Host::new();
    host.join(lead.address, "edge", &Secret::Token(token))
        .await
        .unwrap();
    assert!(lead.log.asked.lock().unwrap().is_empty());
    let other = Secret::Token(Token::draw().unwrap());
    assert_eq!(
        Host::new().refused(lead.address, "files", &other).await,
        "the join tokens of this host and of the lead differ: their answers were made apart"
    );
    let none = Lead::start(None).await;
    assert_eq!(
        Host::new().refused(none.address, "files", &other).await,
        "this host has a join token and the lead has none: their answers were made apart"
    );
}

#[tokio::test]
async fn whom_the_person_does_not_want_stays_outside() {
    let lead = Lead::start(None).await;
    lead.log.unwelcome.store(true, Ordering::SeqCst);
    let host = Host::new();
    let code = lead.code();
    assert_eq!(
        host.refused(lead.address, "edge", &code).await,
        "the person at the lead said no to edge"
    );
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    assert_eq!(members(lead.folder.path()), "");
}

#[tokio::test]
async fn wrong_codes_are_burnt_and_the_fifth_closes_the_lead() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    let mut seen = Vec::new();
    for left in (1..5).rev() {
        let code = lead.code();
        let error = host
            .join(lead.address, "edge", &wrong(&code))
            .await
            .unwrap_err();
        let JoinError::Refused { words, again } = error else {
            panic!("{error}");
        };
        assert_eq!(
            words,
            format!(
                "that is not the code; the lead shows a new one now ({left} more tries before it \
                 closes)"
            )
        );
        assert!(again);
        let Secret::Code(code) = code else {
            unreachable!("a code");
        };
        assert!(!seen.contains(&code.to_string()));
        seen.push(code.to_string());
    }
    let code = lead.code();
    assert_eq!(
        host.refused(lead.address, "edge", &wrong(&code)).await,
        "that is not the code, for the 5th time: the lead is closed to joining; open it there \
         again: sudo muster join --open"
    );
    assert_eq!(lead.lobby.code().unwrap(), (None, 0));
    // Not even with the right one.
    assert_eq!(
        host.refused(lead.address, "edge", &code).await,
        "5 wrong codes have closed the lead to joining; open it there again: sudo muster join --open"
    );
    lead.lobby.reopen().unwrap();
    host.join(lead.address, "edge", &lead.code()).await.unwrap();
}

#[tokio::test]
async fn a_lead_that_is_not_the_only_one_lets_nobody_in_before_a_person_says_so() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    let code = lead.code();
    lead.lobby.hold();
    assert!(lead.lobby.shown().unwrap().held);
    assert_eq!(lead.lobby.shown().unwrap().code, None);
    assert_eq!(
        host.refused(lead.address, "edge", &code).await,
        "another lead of the same stack is on the wire, and nobody has said which of the two is to \
         be joined: on that one, sudo muster join --open"
    );
    lead.lobby.reopen().unwrap();
    assert!(!lead.lobby.shown().unwrap().held);
    host.join(lead.address, "edge", &lead.code()).await.unwrap();
}

#[tokio::test]
async fn a_burnt_code_is_good_for_nothing() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    let code = lead.code();
    host.refused(lead.address, "edge", &wrong(&code)).await;
    assert!(
        host.refused(lead.address, "edge", &code)
            .await
            .starts_with("that is not the code")
    );
}

#[tokio::test]
async fn a_host_that_comes_again_is_told_the_same() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    let first = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    let lead = lead.again().await;
    let again = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    assert_eq!(again.record, first.record);
    assert!(lead.log.asked.lock().unwrap().is_empty(), "it is known");
    assert_eq!(lead.notes(), ["edge has joined again from 127.0.0.1"]);
    // Knowing the key is not enough: the lead must prove itself to the host too.
    let wrong = wrong(&lead.code());
    assert!(
        host.refused(lead.address, "edge", &wrong)
            .await
            .starts_with("that is not the code")
    );
}

#[tokio::test]
async fn a_role_is_taken_once_and_replaced_on_purpose() {
    let lead = Lead::start(None).await;
    let (first, second) = (Host::new(), Host::new());
    first
        .join(lead.address, "edge", &lead.code())
        .await
        .unwrap();
    let since = lead.lobby.member("edge").unwrap().joined;
    assert_eq!(
        second.refused(lead.address, "edge", &lead.code()).await,
        format!(
            "edge has joined already, on {since}; if that host is gone for good, on the lead: \
             sudo muster join --replace edge"
        )
    );
    lead.lobby.revoke("edge").unwrap().unwrap();
    second
        .join(lead.address, "edge", &lead.code())
        .await
        .unwrap();
    let lead = lead.again().await;
    assert_eq!(
        first.refused(lead.address, "edge", &lead.code()).await,
        "this host was replaced as edge and may not come back; start it from a fresh image"
    );
}

#[tokio::test]
async fn who_was_built_from_something_else_is_refused_by_name() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    let code = lead.code();
    let other = "f".repeat(32);
    let error = host.join_with(lead.address, "edge", &other, &code).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "edge and core were built from different plans (ffffffffffff and 0123456789ab): build all \
         images of the stack together: muster build"
    );
    assert_eq!(
        host.refused(lead.address, "phones", &code).await,
        "this site has no role phones"
    );
    assert_eq!(
        host.refused(lead.address, "core", &code).await,
        "core is the lead itself; two hosts were started from its image"
    );
    assert_eq!(lead.lobby.code().unwrap().1, 5, "none of it was a guess");
}

#[tokio::test]
async fn a_lead_that_cannot_write_lets_nobody_in_and_forgets_nobody() {
    let lead = Lead::start(None).await;
    let host = Host::new();
    lead.log.broken.store(true, Ordering::SeqCst);
    let code = lead.code();
    assert_eq!(
        host.refused(lead.address, "edge", &code).await,
        "the lead could not do its part; its log says why: journalctl -u muster"
    );
    assert_eq!(lead.notes()[0], "a join failed: no space left on the disk");
    lead.log.broken.store(false, Ordering::SeqCst);
    // The certificate is made, and the table cannot be written: as if the power failed between.
    let table = lead.folder.path().join(".members.json.new");
    std::fs::create_dir(&table).unwrap();
    host.refused(lead.address, "edge", &code).await;
    std::fs::remove_dir(&table).unwrap();
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    let lead = lead.again().await;
    host.join(lead.address, "edge", &lead.code()).await.unwrap();
    assert!(members(lead.folder.path()).contains("certificate 0 of edge"));
}

#[tokio::test]
async fn two_hosts_at_once_get_one_role_each() {
    let lead = Lead::start(None).await;
    let (first, second, third) = (Host::new(), Host::new(), Host::new());
    let code = lead.code();
    let (edge, files, late) = tokio::join!(
        first.join(lead.address, "edge", &code),
        second.join(lead.address, "files", &code),
        third.join(lead.address, "edge", &code),
    );
    files.unwrap();
    let taken = [edge, late].into_iter().filter(Result::is_ok).count();
    assert_eq!(taken, 1);
    assert!(lead.lobby.missing().is_empty());
}
