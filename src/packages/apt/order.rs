//! The order in which packages are unpacked: what a package needs stands before it.

use super::dependency;
use super::index::Universe;
use std::collections::{BTreeMap, BTreeSet};

/// A closure in unpack order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// `Essential: yes` and everything that leads to.
    pub essential: Vec<usize>,
    /// The rest.
    pub others: Vec<usize>,
}

/// Packages that each must be unpacked before the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no order of unpacking fits: {}", .0.join(", which must come after "))]
pub struct Cycle(
    /// Names; the last is the first again.
    pub Vec<String>,
);

/// What each package of the closure needs, within the closure.
struct Edges {
    all: BTreeMap<usize, Vec<usize>>,
    pre: BTreeMap<usize, Vec<usize>>,
}

/// Sorts a closure so that dependencies come first, and Pre-Depends even inside a cycle of
/// dependencies; a cycle of Pre-Depends alone has no order (Debian Policy §7.2).
pub fn order(universe: &Universe<'_>, closure: &BTreeSet<usize>) -> Result<Ordered, Cycle> {
    if let Some(cycle) = pre_depends_cycle(universe, closure) {
        let names = cycle.into_iter().map(|id| universe.candidates[id].name);
        return Err(Cycle(names.map(str::to_owned).collect()));
    }
    let edges = Edges {
        all: edges(universe, closure, true),
        pre: edges(universe, closure, false),
    };
    let mut sorted = Vec::with_capacity(closure.len());
    for mut cycle in cycles(closure, &edges.all) {
        cycle.sort_unstable();
        let inside: BTreeSet<usize> = cycle.iter().copied().collect();
        let mut seen = BTreeSet::new();
        for id in cycle {
            after(id, &edges.pre, &inside, &mut seen, &mut sorted);
        }
    }
    let mut essential = BTreeSet::new();
    let mut open: Vec<usize> = closure
        .iter()
        .copied()
        .filter(|id| universe.candidates[*id].essential)
        .collect();
    while let Some(id) = open.pop() {
        if essential.insert(id) {
            open.extend(edges.all.get(&id).into_iter().flatten());
        }
    }
    let (essential, others) = sorted.into_iter().partition(|id| essential.contains(id));
    Ok(Ordered { essential, others })
}

/// Members of the closure that wait for each other, the first of them again at the end.
fn pre_depends_cycle(universe: &Universe<'_>, closure: &BTreeSet<usize>) -> Option<Vec<usize>> {
    let mut waiting: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
    for id in closure {
        let field = universe.candidates[*id].pre_depends;
        let groups = dependency::parse(field).unwrap_or_default();
        // A package that stands for an alternative itself waits for nobody.
        let fitting = groups.iter().map(|group| fitting(universe, closure, group));
        let fitting: Vec<Vec<usize>> = fitting.filter(|ids| !ids.contains(id)).collect();
        if !fitting.is_empty() {
            waiting.insert(*id, fitting);
        }
    }
    loop {
        let ready: Vec<usize> = waiting
            .iter()
            .filter(|(_, groups)| {
                groups
                    .iter()
                    .all(|ids| first_waiting(&waiting, ids).is_none())
            })
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            break;
        }
        waiting.retain(|id, _| !ready.contains(id));
    }
    let mut walk = vec![*waiting.keys().next()?];
    loop {
        let groups = waiting.get(walk.last()?)?;
        let next = groups.iter().find_map(|ids| first_waiting(&waiting, ids))?;
        if let Some(start) = walk.iter().position(|id| *id == next) {
            let mut cycle = walk.split_off(start);
            cycle.push(next);
            return Some(cycle);
        }
        walk.push(next);
    }
}

/// The first that waits, when all alternatives do.
fn first_waiting(waiting: &BTreeMap<usize, Vec<Vec<usize>>>, ids: &[usize]) -> Option<usize> {
    let all = ids.iter().all(|id| waiting.contains_key(id));
    ids.first().filter(|_| all).copied()
}

/// Members of the closure that stand for one of these alternatives.
fn fitting(
    universe: &Universe<'_>,
    closure: &BTreeSet<usize>,
    group: &[dependency::Relation<'_>],
) -> Vec<usize> {
    let mut ids: Vec<usize> = Vec::new();
    for relation in group {
        let named = universe
            .find(relation.name)
            .filter(|other| relation.accepts(universe.candidates[*other].version));
        let provided = universe
            .providers(relation.name)
            .iter()
            .filter(|provided| relation.accepts_provided(provided.version))
            .map(|provided| provided.id);
        for other in named.into_iter().chain(provided) {
            if closure.contains(&other) && !ids.contains(&other) {
                ids.push(other);
            }
        }
    }
    ids
}

/// Which members of the closure each member needs: all that stand for an alternative.
fn edges(
    universe: &Universe<'_>,
    closure: &BTreeSet<usize>,
    with_depends: bool,
) -> BTreeMap<usize, Vec<usize>> {
    let mut edges = BTreeMap::new();
    for id in closure {
        let candidate = &universe.candidates[*id];
        // The resolver has read these fields before; what it accepted parses.
        let mut groups = dependency::parse(candidate.pre_depends).unwrap_or_default();
        if with_depends {
            groups.extend(dependency::parse(candidate.depends).unwrap_or_default());
        }
        let mut needs: Vec<usize> = Vec::new();
        for other in groups
            .iter()
            .flat_map(|group| fitting(universe, closure, group))
        {
            if other != *id && !needs.contains(&other) {
                needs.push(other);
            }
        }
        edges.insert(*id, needs);
    }
    edges
}

/// Appends `id` after what it reaches through `edges` inside the set.
fn after(
    id: usize,
    edges: &BTreeMap<usize, Vec<usize>>,
    inside: &BTreeSet<usize>,
    seen: &mut BTreeSet<usize>,
    sorted: &mut Vec<usize>,
) {
    if !inside.contains(&id) || !seen.insert(id) {
        return;
    }
    for need in edges.get(&id).into_iter().flatten() {
        after(*need, edges, inside, seen, sorted);
    }
    sorted.push(id);
}

/// Tarjan's strongly connected components; each comes after those it needs.
fn cycles(closure: &BTreeSet<usize>, edges: &BTreeMap<usize, Vec<usize>>) -> Vec<Vec<usize>> {
    let mut walk = Tarjan {
        edges,
        numbers: BTreeMap::new(),
        stack: Vec::new(),
        open: BTreeSet::new(),
        found: Vec::new(),
    };
    for id in closure {
        if !walk.numbers.contains_key(id) {
            walk.visit(*id);
        }
    }
    walk.found
}

struct Tarjan<'e> {
    edges: &'e BTreeMap<usize, Vec<usize>>,
    numbers: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    /// What is on the stack.
    open: BTreeSet<usize>,
    found: Vec<Vec<usize>>,
}

impl Tarjan<'_> {
    fn visit(&mut self, id: usize) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(id, number);
        self.stack.push(id);
        self.open.insert(id);
        let mut lowest = number;
        for need in self.edges.get(&id).into_iter().flatten() {
            if let Some(known) = self.numbers.get(need) {
                if self.open.contains(need) {
                    lowest = lowest.min(*known);
                }
            } else {
                lowest = lowest.min(self.visit(*need));
            }
        }
        if lowest == number
            && let Some(at) = self.stack.iter().rposition(|other| *other == id)
        {
            let component = self.stack.split_off(at);
            for member in &component {
                self.open.remove(member);
            }
            self.found.push(component);
        }
        lowest
    }
}
