//! Which task may run now: pure bookkeeping over the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Something before it is not done.
    Waiting,
    /// It may run, at once or at its time.
    Ready,
    /// Somebody runs it.
    Running,
    /// It is done.
    Done,
    /// It has failed for good.
    Failed,
    /// Something before it has failed for good.
    Blocked,
}

#[derive(Debug)]
struct Node {
    before: BTreeSet<usize>,
    behind: Vec<usize>,
    stand: Stand,
}

/// What a worker should do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Run this task.
    Run(usize),
    /// Nothing for so long, or until another worker reports.
    Wait(Option<Duration>),
    /// All is done, failed or blocked.
    Over,
}

/// The state of every task.
#[derive(Debug)]
pub struct Schedule {
    nodes: Vec<Node>,
    ready: BTreeSet<(Instant, usize)>,
}

impl Schedule {
    /// A schedule of tasks by id with the ids they wait for. Ids that are not among the
    /// tasks (another host's, or switched off) hold nobody up.
    pub fn new<'a>(
        tasks: impl Iterator<Item = (&'a str, &'a [String])> + Clone,
        now: Instant,
    ) -> Schedule {
        let index: BTreeMap<&str, usize> = tasks
            .clone()
            .enumerate()
            .map(|(number, (id, _))| (id, number))
            .collect();
        let mut nodes: Vec<Node> = tasks
            .map(|(_, after)| Node {
                before: after
                    .iter()
                    .filter_map(|id| index.get(id.as_str()).copied())
                    .collect(),
                behind: Vec::new(),
                stand: Stand::Waiting,
            })
            .collect();
        for number in 0..nodes.len() {
            for before in nodes[number].before.clone() {
                nodes[before].behind.push(number);
            }
        }
        let mut schedule = Schedule {
            nodes,
            ready: BTreeSet::new(),
        };
        for number in 0..schedule.nodes.len() {
            schedule.consider(number, now);
        }
        schedule
    }

    fn consider(&mut self, number: usize, now: Instant) {
        let free = self.nodes[number]
            .before
            .iter()
            .all(|before| self.nodes[*before].stand == Stand::Done);
        if free && self.nodes[number].stand == Stand::Waiting {
            self.nodes[number].stand = Stand::Ready;
            self.ready.insert((now, number));
        }
    }

    /// How far a task is.
    pub fn stand(&self, number: usize) -> Stand {
        self.nodes[number].stand
    }

    /// Gives a worker its next task.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.ready.first().copied() {
            Some((at, number)) if at <= now => {
                self.ready.remove(&(at, number));
                self.nodes[number].stand = Stand::Running;
                Next::Run(number)
            }
            Some((at, _)) => Next::Wait(Some(at - now)),
            None if self.nodes.iter().any(|node| node.stand == Stand::Running) => Next::Wait(None),
            None => Next::Over,
        }
    }

    /// A task is done: what waits only for it becomes ready.
    pub fn done(&mut self, number: usize, now: Instant) {
        self.nodes[number].stand = Stand::Done;
        for behind in self.nodes[number].behind.clone() {
            self.consider(behind, now);
        }
    }

    /// A task runs again at its time.
    pub fn again(&mut self, number: usize, at: Instant) {
        self.nodes[number].stand = Stand::Ready;
        self.ready.insert((at, number));
    }

    /// A task has failed for good: stops its dependants, and nothing else. Gives them.
    pub fn failed(&mut self, number: usize) -> Vec<usize> {
        self.nodes[number].stand = Stand::Failed;
        let mut blocked = Vec::new();
        let mut reach = self.nodes[number].behind.clone();
        while let Some(behind) = reach.pop() {
            if self.nodes[behind].stand == Stand::Waiting {
                self.nodes[behind].stand = Stand::Blocked;
                blocked.push(behind);
                reach.extend(self.nodes[behind].behind.clone());
            }
        }
        blocked.sort_unstable();
        blocked
    }

    /// Opens tasks again that have failed, are blocked, or are done and named; gives how many.
    pub fn reopen(&mut self, named: &BTreeSet<usize>, now: Instant) -> usize {
        let mut count = 0;
        for number in 0..self.nodes.len() {
            let stand = self.nodes[number].stand;
            let closed = matches!(stand, Stand::Failed | Stand::Blocked);
            if closed || (stand == Stand::Done && named.contains(&number)) {
                self.nodes[number].stand = Stand::Waiting;
                count += 1;
            }
        }
        for number in 0..self.nodes.len() {
            self.consider(number, now);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(tasks: &[(&str, &[&str])], now: Instant) -> Schedule {
        let owned: Vec<(String, Vec<String>)> = tasks
            .iter()
            .map(|(id, after)| {
                (
                    id.to_string(),
                    after.iter().map(ToString::to_string).collect(),
                )
            })
            .collect();
        Schedule::new(
            owned
                .iter()
                .map(|(id, after)| (id.as_str(), after.as_slice())),
            now,
        )
    }

    #[test]
    fn independent_tasks_run_side_by_side_in_plan_order() {
        let now = Instant::now();
        let mut schedule = schedule(
            &[("a", &[]), ("b", &[]), ("c", &["a", "b", "another-host"])],
            now,
        );
        assert_eq!(schedule.next(now), Next::Run(0));
        assert_eq!(schedule.next(now), Next::Run(1));
        assert_eq!(schedule.next(now), Next::Wait(None));
        schedule.done(1, now);
        assert_eq!(schedule.next(now), Next::Wait(None));
        schedule.done(0, now);
        assert_eq!(schedule.next(now), Next::Run(2));
        schedule.done(2, now);
        assert_eq!(schedule.next(now), Next::Over);
    }

    #[test]
    fn a_failure_stops_its_dependants_only() {
        let now = Instant::now();
        let mut schedule = schedule(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])], now);
        assert_eq!(schedule.next(now), Next::Run(0));
        assert_eq!(schedule.failed(0), [1, 2]);
        assert_eq!(schedule.next(now), Next::Run(3));
        schedule.done(3, now);
        assert_eq!(schedule.next(now), Next::Over);
        assert_eq!(schedule.stand(2), Stand::Blocked);
        assert_eq!(schedule.reopen(&BTreeSet::new(), now), 3);
        assert_eq!(schedule.next(now), Next::Run(0));
        assert_eq!(schedule.stand(3), Stand::Done);
    }

    #[test]
    fn a_task_that_waits_for_its_time_holds_nobody_up() {
        let now = Instant::now();
        let mut schedule = schedule(&[("a", &[]), ("b", &[])], now);
        assert_eq!(schedule.next(now), Next::Run(0));
        schedule.again(0, now + Duration::from_secs(5));
        assert_eq!(schedule.next(now), Next::Run(1));
        schedule.done(1, now);
        assert_eq!(schedule.next(now), Next::Wait(Some(Duration::from_secs(5))));
        assert_eq!(schedule.next(now + Duration::from_secs(5)), Next::Run(0));
    }
}
