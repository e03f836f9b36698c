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
    /// Tasks of other hosts that must be done before.
    outside: Vec<String>,
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
    /// Task of another host → those here that wait for it.
    waits: BTreeMap<String, Vec<usize>>,
    /// Tasks of other hosts that are done.
    arrived: BTreeSet<String>,
}

impl Schedule {
    /// A schedule of tasks by id with the ids they wait for, some of them tasks of other hosts
    /// (`outside`). Ids that are neither (of what is switched off) hold nobody up.
    pub fn new<'a>(
        tasks: impl Iterator<Item = (&'a str, &'a [String])> + Clone,
        outside: &BTreeSet<String>,
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
                outside: after
                    .iter()
                    .filter(|id| outside.contains(*id))
                    .cloned()
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
        let mut waits: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, node) in nodes.iter().enumerate() {
            for id in &node.outside {
                waits.entry(id.clone()).or_default().push(number);
            }
        }
        let mut schedule = Schedule {
            nodes,
            ready: BTreeSet::new(),
            waits,
            arrived: BTreeSet::new(),
        };
        for number in 0..schedule.nodes.len() {
            schedule.consider(number, now);
        }
        schedule
    }

    fn consider(&mut self, number: usize, now: Instant) {
        let node = &self.nodes[number];
        let mut before = node.before.iter();
        let free = before.all(|before| self.nodes[*before].stand == Stand::Done)
            && node.outside.iter().all(|id| self.arrived.contains(id));
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

    /// Whether something can run, now or at its time.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A task is done: what waits only for it becomes ready.
    pub fn done(&mut self, number: usize, now: Instant) {
        self.nodes[number].stand = Stand::Done;
        for behind in self.nodes[number].behind.clone() {
            self.consider(behind, now);
        }
    }

    /// Tasks of other hosts are done, or are not any more: what has begun here goes on.
    pub fn others(&mut self, done: &BTreeSet<String>, undone: &BTreeSet<String>, now: Instant) {
        self.arrived.retain(|id| !undone.contains(id));
        for id in undone {
            for number in self.waits.get(id).cloned().unwrap_or_default() {
                if self.nodes[number].stand == Stand::Ready {
                    self.nodes[number].stand = Stand::Waiting;
                    self.ready.retain(|(_, ready)| *ready != number);
                }
            }
        }
        for id in done {
            let Some(waiting) = self.waits.get(id).cloned() else {
                continue;
            };
            self.arrived.insert(id.clone());
            for number in waiting {
                self.consider(number, now);
            }
        }
    }

    /// Tasks of other hosts that hold something up here.
    pub fn awaited(&self) -> BTreeSet<&str> {
        let waiting = |numbers: &Vec<usize>| {
            let mut numbers = numbers.iter();
            numbers.any(|number| self.nodes[*number].stand == Stand::Waiting)
        };
        let missing = self
            .waits
            .iter()
            .filter(|(id, numbers)| !self.arrived.contains(*id) && waiting(numbers));
        missing.map(|(id, _)| id.as_str()).collect()
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
            &BTreeSet::from(["there/a".to_string(), "there/b".to_string()]),
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
    fn a_task_of_another_host_holds_up_what_waits_for_it_until_it_is_told() {
        let now = Instant::now();
        let set = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let (none, a, both) = (set(&[]), set(&["there/a"]), set(&["there/a", "there/b"]));
        let mut schedule = schedule(
            &[
                ("x", &["there/a", "switched-off"]),
                ("y", &["x", "there/b"]),
                ("z", &[]),
            ],
            now,
        );
        assert_eq!(schedule.next(now), Next::Run(2));
        schedule.done(2, now);
        assert_eq!(schedule.next(now), Next::Over, "nothing here can go on");
        assert_eq!(schedule.awaited(), BTreeSet::from(["there/a", "there/b"]));
        schedule.others(&a, &none, now);
        assert_eq!(schedule.awaited(), BTreeSet::from(["there/b"]));
        // Made again there before it was begun here.
        schedule.others(&none, &a, now);
        assert_eq!(schedule.next(now), Next::Over);
        schedule.others(&both, &none, now);
        assert_eq!(schedule.next(now), Next::Run(0));
        // What has begun goes on.
        schedule.others(&none, &a, now);
        schedule.done(0, now);
        assert_eq!(schedule.next(now), Next::Run(1));
        assert!(schedule.failed(1).is_empty());
        assert_eq!(schedule.reopen(&BTreeSet::new(), now), 1);
        assert_eq!(schedule.next(now), Next::Run(1));
        schedule.done(1, now);
        assert!(schedule.awaited().is_empty());
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
