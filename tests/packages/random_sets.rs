//! The closures of random packages of the real archive are those of apt: 10 sets of one to eight
//! packages, or as many as MUSTER_SOAK says. The seed is printed; MUSTER_SEED gives it back.

use crate::apt::Apt;
use muster::packages::apt::archive::Reader;
use muster::packages::apt::index::{self, Universe};
use muster::packages::apt::resolver::resolve;
use muster::packages::cache::Cache;
use muster::packages::{Mirrors, Preferences};
use muster::profile::{Source, Stack};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn closures_of_random_packages_are_those_of_apt() {
    if Apt::is_missing() {
        return;
    }
    let sets = number("MUSTER_SOAK").unwrap_or(10);
    let seed = number("MUSTER_SEED").unwrap_or_else(|| match sets {
        10 => 1,
        _ => jiff::Timestamp::now().as_second() as u64,
    });
    println!("{sets} sets, MUSTER_SEED={seed}");
    let stack = Stack::load(&Source::new(None), "starter", Some("debian-12")).unwrap();
    let base = &stack.bases["debian-12"];
    let mirrors = Mirrors::choose(stack.bases.values(), &Preferences::read(&[]).unwrap());
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), base, &mirrors);
    let texts = indexes(base, &mirrors);
    let stanzas = texts
        .iter()
        .enumerate()
        .flat_map(|(origin, text)| index::parse(text, origin, &base.architecture).unwrap());
    let universe = Universe::new(stanzas.collect(), &BTreeMap::new()).unwrap();
    assert!(universe.candidates.len() > 50_000);

    let mut random = StdRng::seed_from_u64(seed);
    let mut differences = Vec::new();
    let (mut equal, mut refused) = (0, 0);
    for set in 0..sets {
        let count = random.gen_range(1..=8);
        let names: Vec<String> = universe
            .candidates
            .choose_multiple(&mut random, count)
            .map(|candidate| candidate.name.to_owned())
            .collect();
        let recommends = random.gen_bool(0.5);
        let ours = resolve(&universe, &names, recommends).map(|closure| {
            let name = |id: usize| {
                let candidate = &universe.candidates[id];
                format!("{}={}", candidate.name, candidate.version)
            };
            closure.into_iter().map(name).collect::<BTreeSet<String>>()
        });
        let theirs = apt.simulate(&names, recommends);
        let words = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => {
                equal += 1;
                continue;
            }
            (Err(_), Err(_)) => {
                refused += 1;
                continue;
            }
            (Ok(ours), Ok(theirs)) => {
                let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                    one.difference(other).cloned().collect::<Vec<_>>().join(" ")
                };
                format!(
                    "only muster: {}\nonly apt: {}",
                    only(ours, theirs),
                    only(theirs, ours)
                )
            }
            (Err(ours), Ok(theirs)) => format!("apt takes {}, muster: {ours}", theirs.len()),
            (Ok(ours), Err(theirs)) => format!("muster takes {}, apt: {theirs}", ours.len()),
        };
        let with = if recommends { "with" } else { "without" };
        let words = format!(
            "set {set}: {} {with} recommended packages\n{words}\n",
            names.join(" ")
        );
        println!("{words}");
        differences.push(words);
    }
    println!("{equal} equal, {refused} refused by both");
    assert!(differences.is_empty(), "{} differences", differences.len());
}

/// The text of every index of a base.
fn indexes(base: &muster::profile::Base, mirrors: &Mirrors) -> Vec<String> {
    let reader = Reader {
        mirrors,
        cache: &Cache::new(Cache::default_root()),
        transport: Default::default(),
        offline: false,
        now: jiff::Timestamp::now(),
        seen: &[],
    };
    let suites = base.archives.iter().flat_map(|archive| {
        let reader = &reader;
        let suites = archive.suites.iter();
        suites.flat_map(move |suite| reader.suite(base, archive, suite).unwrap().indexes)
    });
    suites.collect()
}
