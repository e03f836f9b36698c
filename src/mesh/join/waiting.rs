//! Hosts that know the code and wait for a person's word at the lead.

use super::lead::Candidate;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a host waits before it is told to come again.
pub const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What became of the question whether a host may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It may.
    Yes,
    /// It may not.
    No,
    /// Nobody has answered in time.
    None,
    /// Another host waits to be let in as the same role.
    Another,
}

#[derive(Debug)]
struct Asked {
    candidate: Candidate,
    /// Tells it from one that the same host asked before.
    number: u64,
    answer: oneshot::Sender<bool>,
}

/// Who waits, by role.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<(u64, BTreeMap<String, Asked>)>);

/// Forgets a host that has gone away, or has its answer.
struct Until<'a> {
    waiting: &'a Waiting,
    role: &'a str,
    number: u64,
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        let hosts = &mut self.waiting.hosts().1;
        if hosts
            .get(self.role)
            .is_some_and(|asked| asked.number == self.number)
        {
            hosts.remove(self.role);
        }
    }
}

impl Waiting {
    fn hosts(&self) -> MutexGuard<'_, (u64, BTreeMap<String, Asked>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a person's word on this host; `tell` says so where people see it. A host that
    /// asks again, having lost its connection, takes its own place.
    pub async fn ask(
        &self,
        candidate: &Candidate,
        patience: Duration,
        tell: impl FnOnce() + Send,
    ) -> Word {
        let Some((until, answered)) = self.enter(candidate) else {
            return Word::Another;
        };
        tell();
        let word = match tokio::time::timeout(patience, answered).await {
            Ok(Ok(true)) => Word::Yes,
            Ok(Ok(false)) => Word::No,
            // Its place was taken by itself, or the time is over.
            Ok(Err(_)) | Err(_) => Word::None,
        };
        drop(until);
        word
    }

    fn enter<'a>(
        &'a self,
        candidate: &'a Candidate,
    ) -> Option<(Until<'a>, oneshot::Receiver<bool>)> {
        let (answer, answered) = oneshot::channel();
        let mut hosts = self.hosts();
        let other = hosts.1.get(&candidate.role);
        if other.is_some_and(|asked| asked.candidate.key != candidate.key) {
            return None;
        }
        hosts.0 += 1;
        let asked = Asked {
            candidate: candidate.clone(),
            number: hosts.0,
            answer,
        };
        let until = Until {
            waiting: self,
            role: &candidate.role,
            number: hosts.0,
        };
        hosts.1.insert(candidate.role.clone(), asked);
        Some((until, answered))
    }

    /// Who waits.
    pub fn list(&self) -> Vec<Candidate> {
        let hosts = self.hosts();
        let candidates = hosts.1.values().map(|asked| asked.candidate.clone());
        candidates.collect()
    }

    /// A person's word on the host that waits to be let in as this role; which it was.
    pub fn answer(&self, role: &str, yes: bool) -> Option<Candidate> {
        let asked = self.hosts().1.remove(role)?;
        // One that has gone away in this moment is not there to hear it.
        asked.answer.send(yes).ok()?;
        Some(asked.candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::identity::Print;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    fn candidate(key: u8) -> Candidate {
        Candidate {
            role: "edge".into(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            key: Print([key; 32]),
        }
    }

    fn asks(waiting: &Arc<Waiting>, key: u8) -> tokio::task::JoinHandle<Word> {
        let waiting = Arc::clone(waiting);
        tokio::spawn(async move { waiting.ask(&candidate(key), LONG, || {}).await })
    }

    async fn until_listed(waiting: &Waiting, count: usize) {
        while waiting.list().len() != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_host_waits_for_the_word_on_its_role_and_is_forgotten_then() {
        let waiting = Arc::new(Waiting::default());
        for (yes, word) in [(true, Word::Yes), (false, Word::No)] {
            let host = asks(&waiting, 1);
            until_listed(&waiting, 1).await;
            assert_eq!(waiting.answer("files", yes), None);
            assert_eq!(waiting.answer("edge", yes), Some(candidate(1)));
            assert_eq!(host.await.expect("it ends"), word);
            assert_eq!(waiting.list(), []);
            assert_eq!(waiting.answer("edge", yes), None);
        }
    }

    #[tokio::test]
    async fn nobodys_word_is_none_and_who_goes_away_waits_no_more() {
        let waiting = Arc::new(Waiting::default());
        let short = Duration::from_millis(10);
        assert_eq!(waiting.ask(&candidate(1), short, || {}).await, Word::None);
        assert_eq!(waiting.list(), []);
        let host = asks(&waiting, 1);
        until_listed(&waiting, 1).await;
        host.abort();
        until_listed(&waiting, 0).await;
    }

    #[tokio::test]
    async fn one_host_waits_for_each_role_and_may_come_again() {
        let waiting = Arc::new(Waiting::default());
        let first = asks(&waiting, 1);
        until_listed(&waiting, 1).await;
        let other = candidate(2);
        let another = waiting.ask(&other, LONG, || panic!("nobody is asked"));
        assert_eq!(another.await, Word::Another);
        assert_eq!(waiting.list(), [candidate(1)]);
        let again = asks(&waiting, 1);
        assert_eq!(first.await.expect("it ends"), Word::None);
        assert_eq!(waiting.list(), [candidate(1)]);
        assert_eq!(waiting.answer("edge", true), Some(candidate(1)));
        assert_eq!(again.await.expect("it ends"), Word::Yes);
    }
}
