//! Hosts that know the code and wait for a person's word; and the clocks of those that join.

use super::{Host, Lead, People};
use muster::mesh::clock::{Clock, Corrected, correct};
use muster::mesh::join::member::{Candidate, Joined, join_by_a_person};
use muster::mesh::join::{JoinError, waiting};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

type Ended = Result<Joined, JoinError>;

impl Lead {
    /// A lead whose people take their time.
    async fn of_people() -> (Lead, Arc<People>) {
        let lead = Lead::start(None).await;
        let people = Arc::new(People::default());
        *lead.log.people.lock().unwrap() = Some(Arc::clone(&people));
        (lead, people)
    }
}

/// Joins as `edge` with the right code; counts how often it was told to wait.
fn joins(lead: &Lead, host: &Arc<Host>) -> (JoinHandle<Ended>, Arc<AtomicU32>) {
    let (at, code, host) = (lead.address, lead.code(), Arc::clone(host));
    let waits = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&waits);
    let joining = tokio::spawn(async move {
        let identity = host.identity();
        let candidate = Candidate {
            identity: &identity,
            role: "edge",
            plan: super::PLAN,
        };
        let count = || {
            told.fetch_add(1, Ordering::SeqCst);
        };
        join_by_a_person(at, &candidate, &code, count).await
    });
    (joining, waits)
}

async fn until_waiting(people: &People, count: usize) {
    for _ in 0..1000 {
        if people.list().len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{:?} wait, and not {count}", people.list());
}

#[tokio::test]
async fn a_host_that_knows_the_code_waits_until_a_person_lets_it_in() {
    let (lead, people) = Lead::of_people().await;
    let host = Arc::new(Host::new());
    let (joining, waits) = joins(&lead, &host);
    until_waiting(&people, 1).await;
    let candidate = people.list().remove(0);
    assert_eq!(candidate.role, "edge");
    assert_eq!(candidate.key, host.identity().print());
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    people.answer("edge", true).unwrap();
    assert_eq!(joining.await.unwrap().unwrap().record.role, "edge");
    assert_eq!(waits.load(Ordering::SeqCst), 1);
    assert_eq!(lead.lobby.missing(), ["files"]);
    // It is known from now on: nobody is asked again.
    let (joining, waits) = joins(&lead, &host);
    joining.await.unwrap().unwrap();
    assert_eq!(waits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_host_is_told_no_or_that_nobody_has_answered() {
    let (lead, people) = Lead::of_people().await;
    let host = Arc::new(Host::new());
    let (joining, _) = joins(&lead, &host);
    until_waiting(&people, 1).await;
    people.answer("edge", false).unwrap();
    let Err(JoinError::Refused { words, again }) = joining.await.unwrap() else {
        panic!("it joined");
    };
    assert_eq!(words, "the person at the lead said no to edge");
    assert!(!again);
    let Err(JoinError::Refused { words, again }) = joins(&lead, &host).0.await.unwrap() else {
        panic!("it joined");
    };
    assert_eq!(
        words,
        "nobody at the lead has said within 10 minutes whether edge may join; type the code again, \
         and while this host waits, on the lead: sudo muster join --confirm edge"
    );
    assert!(again);
    assert_eq!(waiting::PATIENCE, Duration::from_secs(600));
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    assert_eq!(lead.lobby.code().unwrap().1, 5, "none of it was a guess");
}

#[tokio::test]
async fn who_hangs_up_while_a_person_thinks_waits_no_more_and_has_not_joined() {
    let (lead, people) = Lead::of_people().await;
    let host = Arc::new(Host::new());
    let (joining, _) = joins(&lead, &host);
    until_waiting(&people, 1).await;
    joining.abort();
    until_waiting(&people, 0).await;
    assert_eq!(people.answer("edge", true), None);
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    let (joining, _) = joins(&lead, &host);
    until_waiting(&people, 1).await;
    people.answer("edge", true).unwrap();
    joining.await.unwrap().unwrap();
}

#[tokio::test]
async fn of_two_hosts_of_one_role_the_second_is_told_of_the_first() {
    let (lead, people) = Lead::of_people().await;
    let (first, second) = (Arc::new(Host::new()), Arc::new(Host::new()));
    let (joining, _) = joins(&lead, &first);
    until_waiting(&people, 1).await;
    assert_eq!(
        second.refused(lead.address, "edge", &lead.code()).await,
        "another host waits to be let in as edge; see on the lead which one is wanted: sudo muster \
         join"
    );
    people.answer("edge", true).unwrap();
    joining.await.unwrap().unwrap();
    assert_eq!(
        lead.lobby.member("edge").unwrap().key,
        first.identity().print()
    );
}

struct Watch(Mutex<SystemTime>);

impl Clock for Watch {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    fn set(&self, to: SystemTime) -> io::Result<()> {
        *self.0.lock().unwrap() = to;
        Ok(())
    }
}

#[tokio::test]
async fn a_clock_two_years_back_is_set_by_what_the_lead_says_in_the_join() {
    let two_years = Duration::from_secs(2 * 365 * 24 * 3600);
    let watch = Watch(Mutex::new(SystemTime::now() - two_years));
    let lead = Lead::start(None).await;
    let host = Host::new();
    let joined = host.join(lead.address, "edge", &lead.code()).await.unwrap();
    let corrected = correct(&watch, joined.time).unwrap();
    let Corrected::Behind(off) = corrected else {
        panic!("{corrected:?}");
    };
    assert!(off.abs_diff(two_years) < Duration::from_secs(10), "{off:?}");
    let apart = SystemTime::now().duration_since(watch.now()).unwrap();
    assert!(apart < Duration::from_secs(10), "{apart:?}");
    assert_eq!(correct(&watch, joined.time).unwrap(), Corrected::Right);
}
