//! The closure of a role: what `apt-get install` would pick on an empty system.
//!
//! As in apt, whatever was asked for is chosen first; then the dependencies of each choice
//! are followed depth first, an alternative that is already chosen wins, else the first one
//! that can be installed. When a choice made earlier stands in the way and had alternatives,
//! the search starts again without it. A recommendation never takes a choice back: there apt
//! goes further (it weighs both sides), which shows in whole desktops, not on servers.

use super::dependency::{self, Bearing, Group, Relation};
use super::index::{IndexError, Universe};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

/// How many choices may be taken back before the search gives up.
const RESTARTS: usize = 64;

/// Packages that may need one another in a row. The longest chain of a whole desktop has some
/// hundreds.
const DEPTH: usize = 5_000;

/// Choices that a search may make, those that are taken back included. A server needs some
/// hundreds; alternatives made to mislead double it with each further one.
const CHOICES: usize = 500_000;

const BARRED: &str = "which the archives that have it are told not to give";

/// Why no closure exists; reads on from "role office needs …".
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Unsatisfied {
    /// A package asked for by name does not exist.
    #[error("{name}, which no archive has{}", hint(.nearest.as_ref()))]
    Missing {
        /// The name.
        name: String,
        /// A name that does exist.
        nearest: Option<String>,
    },
    /// A package asked for by name is not wanted from where it can be had.
    #[error("{0}, {BARRED}")]
    Barred(String),
    /// Following the dependencies ends at something that does not exist or clashes.
    #[error("{}", words(.chain, .cause))]
    Chain {
        /// A requested package, then what it needs, and so on.
        chain: Vec<String>,
        /// What is wrong with the last of them.
        cause: Cause,
    },
    /// An index made to keep the search busy for ever.
    #[error("{name}, {what}")]
    Excess {
        /// A requested package.
        name: String,
        /// What is beyond all measure.
        what: String,
    },
    /// An index contradicts itself.
    #[error("packages whose index makes no sense: {0}")]
    Index(#[from] IndexErrorText),
}

/// An [`IndexError`] in words, so that it can be compared and cloned.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{0}")]
pub struct IndexErrorText(String);

/// What is wrong with the last package of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing has this name or provides it.
    Absent,
    /// Nothing else has this name, and no archive that has it may give it.
    Barred,
    /// The archives have another version.
    Version(String),
    /// It cannot stand beside a package chosen for another reason.
    Clash {
        /// The package that is in the way.
        with: String,
    },
    /// It is in the way of another choice (only seen inside a search).
    Avoided,
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn words(chain: &[String], cause: &Cause) -> String {
    let path = chain.join(", which needs ");
    match cause {
        Cause::Absent => format!("{path}, which no archive has"),
        Cause::Barred => format!("{path}, {BARRED}"),
        Cause::Version(version) => format!("{path}, but the archives have {version}"),
        Cause::Clash { with } => format!("{path}, which cannot be installed beside {with}"),
        Cause::Avoided => format!("{path}, which clashes with another choice"),
    }
}

/// What one failed branch of the search learned.
struct Failure {
    chain: Vec<String>,
    cause: Cause,
    /// A choice that was in the way.
    blame: Option<usize>,
}

/// The ids of all packages needed so that every essential package and every one of `names` is
/// installed, sorted.
pub fn resolve(
    universe: &Universe<'_>,
    names: &[String],
    recommends: bool,
) -> Result<BTreeSet<usize>, Unsatisfied> {
    let mut wanted: Vec<usize> = (0..universe.candidates.len())
        .filter(|id| universe.candidates[*id].essential)
        .collect();
    for name in names {
        let id = universe.find(name).ok_or_else(|| {
            if universe.is_barred(name) {
                return Unsatisfied::Barred(name.clone());
            }
            Unsatisfied::Missing {
                name: name.clone(),
                nearest: universe.nearest(name).map(str::to_owned),
            }
        })?;
        if !wanted.contains(&id) {
            wanted.push(id);
        }
    }
    let relations = Relations::default();
    let choices = Cell::new(0);
    let mut avoided = BTreeSet::new();
    let mut first = None;
    loop {
        let mut search = Search::new(universe, &relations, recommends, &avoided, &choices);
        match search.all(&wanted)? {
            Ok(()) => return Ok(search.trail.into_iter().collect()),
            Err(failure) => {
                let blame = failure.blame.filter(|id| {
                    avoided.len() < RESTARTS && !wanted.contains(id) && !avoided.contains(id)
                });
                let reported = first.get_or_insert(Unsatisfied::Chain {
                    chain: failure.chain,
                    cause: failure.cause,
                });
                match blame {
                    Some(id) => avoided.insert(id),
                    None => return Err(reported.clone()),
                };
            }
        }
    }
}

/// The relation fields of candidates, read when first needed.
#[derive(Default)]
struct Relations<'a> {
    read: RefCell<HashMap<usize, std::rc::Rc<Fields<'a>>>>,
}

/// The relations of one candidate.
struct Fields<'a> {
    needs: Vec<Group<'a>>,
    recommends: Vec<Group<'a>>,
    clashes: Vec<Relation<'a>>,
    provides: Vec<Relation<'a>>,
}

impl<'a> Relations<'a> {
    fn of(
        &self,
        universe: &Universe<'a>,
        id: usize,
    ) -> Result<std::rc::Rc<Fields<'a>>, IndexErrorText> {
        if let Some(known) = self.read.borrow().get(&id) {
            return Ok(known.clone());
        }
        let candidate = &universe.candidates[id];
        let read = |field: &'a str| {
            dependency::parse(field).map_err(|problem| {
                IndexErrorText(
                    IndexError::Relation {
                        package: candidate.name.to_owned(),
                        problem,
                    }
                    .to_string(),
                )
            })
        };
        let mut needs = read(candidate.pre_depends)?;
        needs.extend(read(candidate.depends)?);
        let mut clashes: Vec<Relation<'a>> =
            read(candidate.conflicts)?.into_iter().flatten().collect();
        clashes.extend(read(candidate.breaks)?.into_iter().flatten());
        let fields = std::rc::Rc::new(Fields {
            needs,
            recommends: read(candidate.recommends)?,
            clashes,
            provides: read(candidate.provides)?.into_iter().flatten().collect(),
        });
        self.read.borrow_mut().insert(id, fields.clone());
        Ok(fields)
    }
}

/// The result of a branch: outer errors end the search, inner ones try the next alternative.
type Branch = Result<Result<(), Failure>, Unsatisfied>;

struct Search<'u, 'a> {
    universe: &'u Universe<'a>,
    relations: &'u Relations<'a>,
    recommends: bool,
    avoided: &'u BTreeSet<usize>,
    /// How many there were, in this search and those before it.
    choices: &'u Cell<usize>,
    chosen: Vec<bool>,
    /// Choices in the order they were made, so that a branch can be taken back.
    trail: Vec<usize>,
    /// What chosen packages refuse: name → who refuses which versions.
    refusals: HashMap<&'a str, Vec<(usize, Relation<'a>)>>,
    /// The way from a requested package to the one being looked at.
    path: Vec<String>,
}

impl<'u, 'a> Search<'u, 'a> {
    fn new(
        universe: &'u Universe<'a>,
        relations: &'u Relations<'a>,
        recommends: bool,
        avoided: &'u BTreeSet<usize>,
        choices: &'u Cell<usize>,
    ) -> Self {
        Search {
            universe,
            relations,
            recommends,
            avoided,
            choices,
            chosen: vec![false; universe.candidates.len()],
            trail: Vec::new(),
            refusals: HashMap::new(),
            path: Vec::new(),
        }
    }

    fn all(&mut self, wanted: &[usize]) -> Branch {
        for id in wanted {
            self.path = vec![self.universe.candidates[*id].name.to_owned()];
            if let Err(failure) = self.choose(*id)? {
                return Ok(Err(failure));
            }
        }
        for id in wanted {
            self.path = vec![self.universe.candidates[*id].name.to_owned()];
            if let Err(failure) = self.follow(*id)? {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    fn failure(&self, cause: Cause, blame: Option<usize>) -> Failure {
        Failure {
            chain: self.path.clone(),
            cause,
            blame,
        }
    }

    /// Fails when the search has left all measure.
    fn measured(&self) -> Result<(), Unsatisfied> {
        self.choices.set(self.choices.get() + 1);
        let what = if self.path.len() > DEPTH {
            format!("whose needs form a chain of more than {DEPTH} packages")
        } else if self.choices.get() > CHOICES {
            format!("for whose needs {CHOICES} choices were tried")
        } else {
            return Ok(());
        };
        let name = self.path.first().cloned().unwrap_or_default();
        Err(Unsatisfied::Excess { name, what })
    }

    /// Marks a package chosen unless it clashes.
    fn choose(&mut self, id: usize) -> Branch {
        if self.chosen[id] {
            return Ok(Ok(()));
        }
        self.measured()?;
        if self.avoided.contains(&id) {
            return Ok(Err(self.failure(Cause::Avoided, None)));
        }
        let fields = self.relations.of(self.universe, id)?;
        if let Some(with) = self.clash(id, &fields) {
            let cause = Cause::Clash {
                with: self.universe.candidates[with].name.to_owned(),
            };
            return Ok(Err(self.failure(cause, Some(with))));
        }
        self.chosen[id] = true;
        self.trail.push(id);
        for relation in &fields.clashes {
            self.refusals
                .entry(relation.name)
                .or_default()
                .push((id, *relation));
        }
        Ok(Ok(()))
    }

    /// A chosen package that refuses `id` or that `id` refuses.
    fn clash(&self, id: usize, fields: &Fields<'a>) -> Option<usize> {
        let candidate = &self.universe.candidates[id];
        let own = fields
            .clashes
            .iter()
            .flat_map(|relation| self.matching(relation))
            .find(|other| *other != id && self.chosen[*other]);
        let refused = |name: &str, fits: &dyn Fn(&Relation<'a>) -> bool| {
            let list = self.refusals.get(name)?;
            list.iter()
                .find(|(owner, relation)| *owner != id && fits(relation))
                .map(|(owner, _)| *owner)
        };
        own.or_else(|| {
            refused(candidate.name, &|relation| {
                relation.accepts(candidate.version) && self.reaches(relation, id, Bearing::Own)
            })
        })
        .or_else(|| {
            fields.provides.iter().find_map(|provided| {
                let version = provided.version.map(|(_, version)| version);
                let bearing = Bearing::Provided(provided.qualifier);
                refused(provided.name, &|relation| {
                    relation.accepts_provided(version) && self.reaches(relation, id, bearing)
                })
            })
        })
    }

    /// Every package that fits a relation, by name or by what it provides.
    fn matching(&self, relation: &Relation<'a>) -> Vec<usize> {
        let mut fitting = Vec::new();
        if let Some(id) = self.universe.find(relation.name) {
            let candidate = &self.universe.candidates[id];
            if relation.accepts(candidate.version) && self.reaches(relation, id, Bearing::Own) {
                fitting.push(id);
            }
        }
        for provided in self.universe.providers(relation.name) {
            let bearing = Bearing::Provided(provided.qualifier);
            if relation.accepts_provided(provided.version)
                && self.reaches(relation, provided.id, bearing)
                && !fitting.contains(&provided.id)
            {
                fitting.push(provided.id);
            }
        }
        fitting
    }

    fn reaches(&self, relation: &Relation<'a>, id: usize, bearing: Bearing<'a>) -> bool {
        let candidate = &self.universe.candidates[id];
        let allowed = candidate.multi_arch == "allowed";
        relation.reaches(candidate.native, allowed, bearing)
    }

    /// Makes everything hold that `id` needs.
    fn follow(&mut self, id: usize) -> Branch {
        let fields = self.relations.of(self.universe, id)?;
        for group in &fields.needs {
            if let Err(failure) = self.satisfy(group)? {
                return Ok(Err(failure));
            }
        }
        if self.recommends {
            for group in &fields.recommends {
                let mark = self.trail.len();
                if self.satisfy(group)?.is_err() {
                    self.take_back(mark);
                }
            }
        }
        Ok(Ok(()))
    }

    fn satisfy(&mut self, group: &Group<'a>) -> Branch {
        let holds = |relation| self.matching(relation).iter().any(|id| self.chosen[*id]);
        if group.iter().any(holds) {
            return Ok(Ok(()));
        }
        let mut first: Option<Failure> = None;
        for relation in group {
            for id in self.preferred(relation) {
                let mark = self.trail.len();
                self.path.push(self.describe(relation, id));
                let mut result = self.choose(id)?;
                if result.is_ok() {
                    result = self.follow(id)?;
                }
                self.path.pop();
                match result {
                    Ok(()) => return Ok(Ok(())),
                    Err(failure) => {
                        self.take_back(mark);
                        first.get_or_insert(failure);
                    }
                }
            }
        }
        Ok(Err(first.unwrap_or_else(|| self.absent(group))))
    }

    /// Candidates for a relation in apt's order (`CompareProviders` in its depcache.cc): the
    /// package itself, then providers that are essential or protected, then by priority. apt
    /// breaks a tie by the package it heard of last.
    fn preferred(&self, relation: &Relation<'a>) -> Vec<usize> {
        let mut fitting = self.matching(relation);
        if fitting.len() < 2 {
            return fitting;
        }
        fitting.sort_by_cached_key(|id| {
            let candidate = &self.universe.candidates[*id];
            (
                candidate.name != relation.name,
                !candidate.essential,
                !candidate.protected,
                candidate.priority,
                std::cmp::Reverse(self.universe.heard(candidate.name)),
            )
        });
        fitting
    }

    fn describe(&self, relation: &Relation<'a>, id: usize) -> String {
        let name = self.universe.candidates[id].name;
        if name == relation.name {
            relation.to_string()
        } else {
            format!("{relation} (provided by {name})")
        }
    }

    /// Nothing fits any alternative: says so of the first.
    fn absent(&self, group: &Group<'a>) -> Failure {
        let mut chain = self.path.clone();
        let names: Vec<String> = group.iter().map(ToString::to_string).collect();
        chain.push(names.join(" or "));
        let other = group.iter().find_map(|relation| {
            let id = self.universe.find(relation.name)?;
            let candidate = &self.universe.candidates[id];
            Some(format!("{} {}", candidate.name, candidate.version))
        });
        let barred = || {
            let name = |relation: &Relation<'a>| self.universe.is_barred(relation.name);
            match group.iter().any(name) {
                true => Cause::Barred,
                false => Cause::Absent,
            }
        };
        Failure {
            chain,
            cause: other.map_or_else(barred, Cause::Version),
            blame: None,
        }
    }

    fn take_back(&mut self, mark: usize) {
        for id in self.trail.split_off(mark).into_iter().rev() {
            self.chosen[id] = false;
            for list in self.refusals.values_mut() {
                list.retain(|(owner, _)| *owner != id);
            }
        }
    }
}
