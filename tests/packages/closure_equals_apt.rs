//! The closure of the stack `starter` is what apt itself picks, in a private root of the same
//! suites on the same mirror. Needs apt and the network to the machine's mirror.
//!
//! apt is asked in one go for every essential package and every package the role names, with
//! nothing installed: the question that the resolver answers, once without and once with
//! recommended packages. No difference is known for servers; if one appears, the test prints
//! both sides. (Whole desktops with recommended packages differ where one of these clashes with
//! another: apt weighs the two and may take the first back, muster keeps the first.)

use crate::apt::Apt;
use muster::packages::cache::Cache;
use muster::packages::lock::{LockOptions, RoleLock, lock_stack};
use muster::packages::{Mirrors, Preferences};
use muster::profile::{Source, Stack};
use std::collections::BTreeSet;

#[test]
fn on_debian_12() {
    compare("debian-12");
}

#[test]
fn on_debian_13() {
    compare("debian-13");
}

fn compare(base: &str) {
    if Apt::is_missing() {
        return;
    }
    let mut stack = Stack::load(&Source::new(None), "starter", Some(base)).unwrap();
    let mirrors = Mirrors::choose(stack.bases.values(), &Preferences::read(&[]).unwrap());
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), &stack.bases[base], &mirrors);
    for recommends in [false, true] {
        for role in &mut stack.roles {
            role.recommends = recommends;
        }
        let locked = lock_stack(
            &stack,
            &LockOptions {
                mirrors: &mirrors,
                cache: &Cache::new(Cache::default_root()),
                offline: false,
                previous: None,
                update: true,
                supplied: std::path::Path::new("artifacts"),
                now: jiff::Timestamp::now(),
            },
        )
        .unwrap();
        for (role, closure) in &locked.lock.roles {
            let ours = names_and_versions(closure);
            let theirs = apt.simulate(&closure.manual, recommends).unwrap();
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                one.difference(other).cloned().collect::<Vec<_>>().join(" ")
            };
            assert!(
                ours == theirs,
                "role {role} on {base}\nonly muster: {}\nonly apt: {}",
                only(&ours, &theirs),
                only(&theirs, &ours)
            );
            assert!(ours.len() > 200, "{} packages", ours.len());
        }
    }
}

/// `name=version` of a closure.
fn names_and_versions(closure: &RoleLock) -> BTreeSet<String> {
    let keys = closure.essential.iter().chain(&closure.packages);
    keys.map(|key| {
        let (name, rest) = key.split_once(':').unwrap();
        format!("{name}={}", rest.split_once('=').unwrap().1)
    })
    .collect()
}
