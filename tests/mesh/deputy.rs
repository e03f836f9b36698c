//! A lead whose disk is gone, the deputy that takes its place, and another member that follows.

use super::line::until;
use super::{Host, PLAN, RHYTHM, Served, served};
use muster::agent::herald::Herald;
use muster::agent::keeper::{Keeper, RECOVERY};
use muster::agent::leadership::Leadership;
use muster::agent::{member, mesh, promotion};
use muster::bringup::places::Places;
use muster::console::events::Events;
use muster::mesh::code::Token;
use muster::mesh::identity::Identity;
use muster::mesh::join::lead::{Candidate, Facts, Lobby, Site};
use muster::mesh::join::member::Secret;
use muster::mesh::join::waiting::Word;
use muster::mesh::line::Orders;
use muster::mesh::line::hub::{Desk, Hub, Known};
use muster::mesh::line::link::{Call, Link, in_whose_place};
use muster::mesh::line::question::{Question, Reply};
use muster::mesh::members::{Members, Record};
use muster::mesh::warrant::Warrant;
use muster::plan::Plan;
use muster::profile::{Source, Stack};
use muster::site::authority::Authority;
use muster::site::recovery::Words;
use muster::site::{Site as Answers, durable};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

const ID: &str = "77777777777777777777777777777777";

/// `core` leads, `edge` is its deputy, `files` another member.
fn plan() -> Plan {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/profiles");
    let source = Source::new(Some(Path::new(fixtures)));
    let mut plan = Plan::new(&Stack::load(&source, "two", None).unwrap());
    let mut third = plan.hosts[1].clone();
    third.role = "files".into();
    plan.hosts[0].role = "core".into();
    plan.hosts[1].role = "edge".into();
    plan.hosts.push(third);
    plan.deputy = Some("edge".into());
    plan.digest = PLAN.into();
    plan
}

/// What a lead knows, from its disk.
struct Paper {
    places: Places,
    leadership: Leadership,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Site for Paper {
    async fn confirm(&self, _: &Candidate) -> Word {
        Word::Yes
    }

    fn certify(&self, role: &str, _: &[u8]) -> Result<(String, String), String> {
        let authority = Authority::open_or_create(&self.places.authority(), "Example");
        let authority = authority.map_err(|error| error.to_string())?;
        Ok((format!("certificate of {role}"), authority.pem().to_owned()))
    }
}

impl Desk for Paper {
    fn orders(&self, role: &str) -> Result<Orders, String> {
        let secret = (format!("{role}/app/own"), format!("secret-of-{role}"));
        Ok(Orders {
            site: Answers {
                id: ID.into(),
                ..Answers::nobodys(role)
            },
            addresses: Default::default(),
            secrets: [secret].into(),
        })
    }

    fn sign(&self, _: &str, _: &str, _: &str, _: &[u8]) -> Result<String, String> {
        Err("nothing is signed here".into())
    }

    fn answer(&self, _: &str, _: Question, _: Reply) {}

    fn stirred(&self, _: &str) {}

    fn note(&self, words: &str) {
        self.notes.lock().unwrap().push(words.to_owned());
    }

    fn warrant(&self) -> Option<Warrant> {
        self.leadership.warrant.clone()
    }
}

/// A lead that works from a disk.
struct Lead {
    lobby: Arc<Lobby<Paper>>,
    notes: Arc<Mutex<Vec<String>>>,
    served: Served,
}

impl Lead {
    async fn start(places: &Places, token: &Token, at: SocketAddr) -> Lead {
        let leadership = Leadership::of(&plan(), &places.state).unwrap();
        let identity = Identity::open_or_create(&mesh::folder(places)).unwrap();
        let members = Members::open(&mesh::folder(places)).unwrap();
        let roles = ["core", "edge", "files"].map(str::to_owned);
        let facts = Facts {
            site: ID.into(),
            lead: leadership.lead.clone(),
            roles: roles
                .into_iter()
                .filter(|role| *role != leadership.lead)
                .collect(),
            plan: PLAN.into(),
        };
        let notes: Arc<Mutex<Vec<String>>> = Arc::default();
        let paper = Paper {
            places: places.clone(),
            leadership,
            notes: Arc::clone(&notes),
        };
        let after = [
            vec![],
            vec!["edge/a".to_owned()],
            vec!["files/a".to_owned()],
        ];
        let known = [
            ("edge/a", "edge", &after[0]),
            ("files/a", "files", &after[1]),
            ("edge/b", "edge", &after[2]),
        ];
        let known = known.map(|(id, role, after)| Known { id, role, after });
        let hub = Hub::new(known.into_iter(), paper).with_rhythm(RHYTHM);
        let lobby = Lobby::new(facts, &identity, members, Some(token.clone()), hub).unwrap();
        let listener = TcpListener::bind(at).await.unwrap();
        Lead {
            served: served(listener, &lobby, identity),
            lobby,
            notes,
        }
    }

    fn stop(&mut self) {
        self.served.stop();
    }

    fn hears(&self, role: &str) -> bool {
        let hosts = self.lobby.hub().hosts();
        hosts.get(role).is_some_and(|host| host.lines > 0)
    }

    fn noted(&self, words: &str) -> bool {
        let notes = self.notes.lock().unwrap();
        notes.iter().any(|note| note.contains(words))
    }
}

/// A member as it is on a host, with its line.
struct Member {
    home: tempfile::TempDir,
    link: Arc<Link>,
    holding: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Joins with the token, and calls its lead there, or at `other`.
    async fn joins(role: &str, token: &Token, at: SocketAddr, other: Option<SocketAddr>) -> Member {
        let home = tempfile::tempdir().unwrap();
        let places = Places::below(home.path());
        let record = join(&places, role, token, at).await.unwrap();
        let leadership = Leadership::of(&plan(), &places.state).unwrap();
        let herald = Arc::new(Herald::new(Events::none()));
        let host = member::Member::new(&places, &herald, &record, &leadership);
        let link = Arc::new(Link::new());
        let call = Call {
            address: at,
            lead: leadership.key().unwrap_or(record.lead_key),
            other,
            plan: PLAN.into(),
            rhythm: RHYTHM,
        };
        let identity = Identity::open_or_create(&mesh::folder(&places)).unwrap();
        let own = Arc::clone(&link);
        let holding = tokio::spawn(async move { own.hold(&call, &identity, &*host).await });
        Member {
            home,
            link,
            holding,
        }
    }

    fn places(&self) -> Places {
        Places::below(self.home.path())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.holding.abort();
    }
}

/// Joins and keeps what the lead says.
async fn join(
    places: &Places,
    role: &str,
    token: &Token,
    at: SocketAddr,
) -> Result<Record, String> {
    let folder = mesh::folder(places);
    durable::make_directory(&folder, 0o700).unwrap();
    let identity = Identity::open_or_create(&folder).unwrap();
    let candidate = muster::mesh::join::member::Candidate {
        identity: &identity,
        role,
        plan: PLAN,
    };
    let secret = Secret::Token(token.clone());
    let joined = muster::mesh::join::member::join(at, &candidate, &secret).await;
    let record = joined.map_err(|error| error.to_string())?.record;
    let text = serde_json::to_string(&record).unwrap();
    std::fs::write(folder.join("record.json"), text).unwrap();
    Ok(record)
}

/// The disk of a lead that has made its site.
fn made(home: &Path) -> Places {
    let places = Places::below(home);
    std::fs::create_dir_all(places.state.join("secrets/core/data")).unwrap();
    std::fs::write(places.state.join("secrets/core/data/own"), "secret-of-core").unwrap();
    let site = Answers {
        id: ID.into(),
        ..Answers::nobodys("core")
    };
    let text = serde_json::to_string(&site).unwrap();
    std::fs::write(places.site(), text).unwrap();
    Authority::open_or_create(&places.authority(), "Example").unwrap();
    places
}

fn copied(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(done.unwrap().success());
}

/// A port that nobody listens at.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Whether a text stands in any file below a folder.
fn holds(folder: &Path, text: &str) -> bool {
    let found = std::process::Command::new("grep")
        .args(["-rqF", "--", text])
        .arg(folder)
        .status();
    found.unwrap().code() == Some(0)
}

#[tokio::test]
async fn a_deputy_takes_the_place_of_a_lead_whose_disk_is_gone() {
    let token = Token::draw().unwrap();
    let (disk, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (free().await, free().await);
    let places = made(disk.path());
    let mut core = Lead::start(&places, &token, first).await;
    let edge = Member::joins("edge", &token, first, None).await;
    let files = Member::joins("files", &token, first, Some(second)).await;
    until("both are heard", || {
        core.hears("edge") && core.hears("files")
    })
    .await;

    // The deputy has a current copy, and cannot read it.
    let leadership = Leadership::of(&plan(), &places.state).unwrap();
    let keeper = Keeper::new(&places.state, ID, &leadership, "edge").unwrap();
    let words = Words::open_or_create(&places.state.join(RECOVERY)).unwrap();
    let lobby = Arc::clone(&core.lobby);
    let status = tokio::task::spawn_blocking(move || {
        keeper.look(true, |question, limit| {
            lobby.hub().ask("edge", question, limit)
        });
        keeper.status()
    });
    let status = status.await.unwrap();
    assert!(status.current && status.held == 1, "{status:?}");
    assert!(edge.places().state.join("deputy/copy").exists());
    for secret in ["secret-of-core", "secret-of-files", &words.text()] {
        assert!(!holds(edge.home.path(), secret), "{secret}");
    }
    assert!(holds(edge.home.path(), "secret-of-edge"));

    // The disk is gone; a copy of it is kept for later.
    copied(&places.state, old.path());
    core.stop();
    std::fs::remove_dir_all(disk.path()).unwrap();
    until("the lines are down", || {
        !edge.link.is_up() && !files.link.is_up()
    })
    .await;
    edge.holding.abort();
    let own = edge.places();
    let promotion = promotion::prepare(&own, &plan(), "edge", &words).unwrap();
    promotion.decide().unwrap();
    assert!(promotion::finish(&own.state).unwrap());
    let mut lead = Lead::start(&own, &token, second).await;
    assert_eq!(lead.lobby.facts().lead, "edge");
    assert_eq!(lead.lobby.missing(), ["core"]);

    // The other member comes to it, goes on with its tasks, and reports.
    until("files is heard", || lead.hears("files")).await;
    let kept = Warrant::kept(&mesh::folder(&files.places()))
        .unwrap()
        .unwrap();
    assert_eq!(kept, promotion.warrant);
    files
        .link
        .tell(BTreeSet::from(["files/a".to_owned()]), true);
    let hub = lead.lobby.hub();
    let followed = hub.follow("edge", |done, _| !done.contains("files/a"));
    tokio::time::timeout(Duration::from_secs(20), followed)
        .await
        .unwrap();
    files.link.report(json!({"outcome": "green"}));
    until("files has reported", || {
        let hosts = lead.lobby.hub().hosts();
        hosts["files"].status.is_some()
    })
    .await;

    // The former lead comes back from a copy of its disk: it is told by name, and by a warrant.
    let back = Places {
        state: old.path().join("state"),
        ..Places::below(old.path())
    };
    let refused = join(&back, "core", &token, second).await.unwrap_err();
    let since = &promotion.warrant.claim.since;
    assert_eq!(
        refused,
        format!(
            "core led this site until edge was promoted on {since}, and its key is good for \
             nothing any more; start core from a fresh image, told that edge leads"
        )
    );
    let identity = Identity::open_or_create(&mesh::folder(&back)).unwrap();
    let told = in_whose_place(second, &identity, PLAN, Duration::from_secs(20)).await;
    assert_eq!(told.as_ref(), Some(&promotion.warrant));
    let ca = std::fs::read_to_string(back.authority().join("ca.pem")).unwrap();
    assert_eq!(promotion.warrant.check(ID, &ca, None), Ok(()));
    // Nobody else is told.
    let stranger = Host::new().identity();
    let told = in_whose_place(second, &stranger, PLAN, Duration::from_secs(20)).await;
    assert_eq!(told, None);

    // Even where it is all that answers, the other member does not listen to it.
    lead.stop();
    let former = Lead::start(&back, &token, first).await;
    until("files has called it", || {
        former.noted("the line to files is down")
    })
    .await;
    assert!(!files.link.is_up());
    drop(former);

    // A new host of its role is a member like any other.
    let mut lead = Lead::start(&own, &token, second).await;
    let core = Member::joins("core", &token, second, None).await;
    until("core is heard", || {
        lead.hears("core") && lead.hears("files")
    })
    .await;
    let leadership = Leadership::of(&plan(), &core.places().state).unwrap();
    assert_eq!(leadership.lead, "edge");
    assert_eq!(leadership.deputy.as_deref(), Some("core"));
    assert!(lead.lobby.missing().is_empty());
    lead.stop();
}

#[tokio::test]
async fn who_is_not_promoted_and_says_so_is_not_followed() {
    let token = Token::draw().unwrap();
    let (disk, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (free().await, free().await);
    let places = made(disk.path());
    let mut core = Lead::start(&places, &token, first).await;
    let files = Member::joins("files", &token, first, Some(second)).await;
    until("it is heard", || core.hears("files")).await;
    core.stop();
    // Another site's lead where the deputy should be, which even knows this member.
    let theirs = made(other.path());
    let members = mesh::folder(&places).join("members.json");
    std::fs::create_dir_all(mesh::folder(&theirs)).unwrap();
    std::fs::copy(members, mesh::folder(&theirs).join("members.json")).unwrap();
    let impostor = Lead::start(&theirs, &token, second).await;
    until("files has called it", || {
        impostor.noted("the line to files is down")
    })
    .await;
    assert!(!files.link.is_up());
    assert_eq!(Warrant::kept(&mesh::folder(&files.places())).unwrap(), None);
}
