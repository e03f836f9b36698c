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

/// What each package of the closure needs, within the closure.
struct Edges {
    all: BTreeMap<usize, Vec<usize>>,
    pre: BTreeMap<usize, Vec<usize>>,
}

/// Sorts a closure so that dependencies come first, and Pre-Depends even inside a cycle.
pub fn order(universe: &Universe<'_>, closure: &BTreeSet<usize>) -> Ordered {
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
    Ordered { essential, others }
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
        for relation in groups.iter().flatten() {
            let named = universe
                .find(relation.name)
                .filter(|other| relation.accepts(universe.candidates[*other].version));
            let provided = universe
                .providers(relation.name)
                .iter()
                .filter(|(_, version)| relation.accepts_provided(*version))
                .map(|(other, _)| *other);
            for other in named.into_iter().chain(provided) {
                if other != *id && closure.contains(&other) && !needs.contains(&other) {
                    needs.push(other);
                }
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
    found: Vec<Vec<usize>>,
}

impl Tarjan<'_> {
    fn visit(&mut self, id: usize) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(id, number);
        self.stack.push(id);
        let mut lowest = number;
        for need in self.edges.get(&id).into_iter().flatten() {
            if let Some(known) = self.numbers.get(need) {
                if self.stack.contains(need) {
                    lowest = lowest.min(*known);
                }
            } else {
                lowest = lowest.min(self.visit(*need));
            }
        }
        if lowest == number
            && let Some(at) = self.stack.iter().position(|other| *other == id)
        {
            let component = self.stack.split_off(at);
            self.found.push(component);
        }
        lowest
    }
}
