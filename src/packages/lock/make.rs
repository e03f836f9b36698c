//! A stack and its archives to a lock.

use super::group::{Group, Phasing};
use super::text::{VERSION, requested};
use super::{Lock, Package, Release, RoleLock};
use crate::packages::apt::archive::{Reader, Suite};
use crate::packages::apt::index::{Candidate, Universe};
use crate::packages::apt::mirror::Mirrors;
use crate::packages::apt::{order, resolver};
use crate::packages::artifact::Pinning;
use crate::packages::cache::Cache;
use crate::packages::error::PackagesError;
use crate::packages::http::Transport;
use crate::profile::{Account, Base, Role, Stack};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How a lock is made.
#[derive(Debug)]
pub struct LockOptions<'a> {
    /// Where archives are fetched from.
    pub mirrors: &'a Mirrors,
    /// Where what was fetched is kept.
    pub cache: &'a Cache,
    /// Use the cache alone.
    pub offline: bool,
    /// The lock there was: releases older than those it saw are refused, and its versions are
    /// kept where an index still has them, unless `update`.
    pub previous: Option<&'a Lock>,
    /// Take the newest versions, and look again at what publishers say of their files.
    pub update: bool,
    /// Folder of the files that people supply.
    pub supplied: &'a Path,
    /// The present, against which expiry is judged.
    pub now: Timestamp,
}

/// A lock, and what is different in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Locked {
    /// The new lock.
    pub lock: Lock,
    /// Whether there was none before.
    pub first: bool,
    /// What changed since the previous one, sorted by name.
    pub changes: Vec<Change>,
    /// Bases whose kept versions fit nothing any more, so that all were chosen anew.
    pub renewed: Vec<String>,
    /// Bases on which nothing fits without updates that are still being phased in, so that
    /// these were taken too.
    pub phased: Vec<String>,
    /// Time spent on reading indexes, resolving and ordering, without network and disk.
    pub solved_in: std::time::Duration,
}

/// A package, artifact or container image that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Change {
    /// Name of the package, or `service/name`.
    pub name: String,
    /// Base of the package.
    pub base: Option<String>,
    /// Version in the previous lock; absent when it is new. Artifacts and images have the
    /// beginning of their SHA-256 with it: publishers replace what they have published.
    pub from: Option<String>,
    /// Version in the new lock; absent when it is gone.
    pub to: Option<String>,
}

/// Resolves every role of a stack against its archives.
pub fn lock_stack(stack: &Stack, options: &LockOptions<'_>) -> Result<Locked, PackagesError> {
    let nothing = Vec::new();
    let reader = Reader {
        mirrors: options.mirrors,
        cache: options.cache,
        transport: Transport::default(),
        offline: options.offline,
        now: options.now,
        seen: options.previous.map_or(&nothing, |lock| &lock.releases),
    };
    let mut lock = Lock {
        version: VERSION,
        stack: stack.name.clone(),
        request: Lock::request_digest(stack),
        releases: Vec::new(),
        roles: BTreeMap::new(),
        packages: Vec::new(),
        artifacts: Vec::new(),
        images: Vec::new(),
        accounts: accounts(stack)?,
    };
    pin(stack, options, &mut lock)?;
    let mut renewed = Vec::new();
    let mut phased = Vec::new();
    let mut solved_in = std::time::Duration::ZERO;
    for base in stack.bases.values() {
        let suites = read_base(&reader, base)?;
        lock.releases
            .extend(suites.iter().map(|suite| suite.release.clone()));
        let of_base = |lock: &&Lock| lock.packages.iter().any(|p| p.base == base.name);
        let kept = options.previous.filter(|_| !options.update);
        let kept = kept.filter(of_base);
        let start = std::time::Instant::now();
        let solve = |kept: Option<&Lock>, phasing| {
            let result = with_stack(|| lock_base(stack, base, &suites, kept, phasing));
            match result {
                Err(PackagesError::Unsatisfied { .. } | PackagesError::Cycle { .. }) => {
                    (true, result)
                }
                result => (false, result),
            }
        };
        let (mut unfit, mut locked) = solve(kept, Phasing::Waits);
        if unfit && kept.is_some() {
            renewed.push(base.name.clone());
            (unfit, locked) = solve(None, Phasing::Waits);
        }
        // One update may need another that is phased in more slowly.
        if unfit
            && suites.iter().any(Suite::is_phasing)
            && let (false, taken) = solve(None, Phasing::Over)
        {
            phased.push(base.name.clone());
            locked = taken;
        }
        let locked = locked?;
        solved_in += start.elapsed();
        lock.roles.extend(locked.0);
        lock.packages.extend(locked.1);
    }
    lock.packages.sort_by(Package::in_order);
    lock.releases.sort_by(|left, right| {
        let key = |release: &'_ Release| {
            (
                release.base.clone(),
                release.archive.clone(),
                release.suite.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
    let changes = changes(options.previous, &lock);
    Ok(Locked {
        lock,
        first: options.previous.is_none(),
        changes,
        renewed,
        phased,
        solved_in,
    })
}

/// Pins what services bring beside packages. It comes first: a file that people have yet to
/// supply is better known before indexes are fetched.
fn pin(stack: &Stack, options: &LockOptions<'_>, lock: &mut Lock) -> Result<(), PackagesError> {
    let pinning = Pinning {
        cache: options.cache,
        transport: Transport::default(),
        offline: options.offline,
        supplied: options.supplied,
        previous: options.previous,
        update: options.update,
        now: options.now.as_second(),
    };
    for service in stack.services.values() {
        for artifact in &service.artifacts {
            let pinned = pinning.artifact(&service.name, artifact)?;
            lock.artifacts.push(pinned);
        }
        for image in &service.oci {
            lock.images.push(pinning.image(&service.name, image)?);
        }
    }
    Ok(())
}

/// Suites of all archives of a base in order, read side by side.
fn read_base(reader: &Reader<'_>, base: &Base) -> Result<Vec<Suite>, PackagesError> {
    std::thread::scope(|scope| {
        let readers: Vec<_> = base
            .archives
            .iter()
            .flat_map(|archive| archive.suites.iter().map(move |suite| (archive, suite)))
            .map(|(archive, suite)| scope.spawn(move || reader.suite(base, archive, suite)))
            .collect();
        readers
            .into_iter()
            .map(|reader| match reader.join() {
                Ok(result) => result.map_err(PackagesError::from),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Resolving and ordering recurse along chains of needs; how long those are, the archive says.
/// The memory of a stack is taken only as far as it is used.
fn with_stack(
    work: impl FnOnce() -> Result<LockedBase, PackagesError> + Send,
) -> Result<LockedBase, PackagesError> {
    const STACK: usize = 256 << 20;
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(PackagesError::Thread)?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

type LockedBase = (Vec<(String, RoleLock)>, Vec<Package>);

/// The closures of all roles on one base.
fn lock_base(
    stack: &Stack,
    base: &Base,
    suites: &[Suite],
    kept: Option<&Lock>,
    phasing: Phasing,
) -> Result<LockedBase, PackagesError> {
    let mut roles = Vec::new();
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    for group in Group::all(stack, base, suites) {
        let kept = versions(kept, base, &group.roles);
        let universe = group.universe(base, suites, &kept, phasing)?;
        let mut used = BTreeSet::new();
        for role in &group.roles {
            let (locked, closure) = lock_role(stack, base, role, &universe, suites)?;
            roles.push((role.name.clone(), locked));
            used.extend(closure);
        }
        for id in used {
            let package = package(&universe.candidates[id], base, suites);
            let known = packages
                .entry(package.key())
                .or_insert_with(|| package.clone());
            // A role's list of packages could not say which of them it means.
            if known.sha256 != package.sha256 {
                return Err(PackagesError::Twice {
                    package: package.key(),
                    base: base.name.clone(),
                    archives: [known.archive.clone(), package.archive],
                });
            }
        }
    }
    Ok((roles, packages.into_values().collect()))
}

/// The closure of one role: in the order of unpacking, and as it was found.
fn lock_role(
    stack: &Stack,
    base: &Base,
    role: &Role,
    universe: &Universe<'_>,
    suites: &[Suite],
) -> Result<(RoleLock, BTreeSet<usize>), PackagesError> {
    let manual = requested(stack, role);
    let closure = resolver::resolve(universe, &manual, role.recommends).map_err(|source| {
        PackagesError::Unsatisfied {
            role: role.name.clone(),
            source,
        }
    })?;
    let ordered = order::order(universe, &closure).map_err(|source| PackagesError::Cycle {
        role: role.name.clone(),
        source,
    })?;
    let keys = |ids: &[usize]| {
        ids.iter()
            .map(|id| package(&universe.candidates[*id], base, suites).key())
            .collect()
    };
    let locked = RoleLock {
        base: base.name.clone(),
        essential: keys(&ordered.essential),
        packages: keys(&ordered.others),
        manual,
    };
    Ok((locked, closure))
}

fn package(candidate: &Candidate<'_>, base: &Base, suites: &[Suite]) -> Package {
    let release = &suites[candidate.origin].release;
    Package {
        name: candidate.name.to_owned(),
        version: candidate.version.to_owned(),
        architecture: candidate.architecture.to_owned(),
        base: base.name.clone(),
        archive: release.archive.clone(),
        suite: release.suite.clone(),
        path: candidate.path.to_owned(),
        size: candidate.size,
        sha256: candidate.sha256.to_ascii_lowercase(),
    }
}

/// The accounts of all bases; a name has the same ids on every host of a stack.
fn accounts(stack: &Stack) -> Result<Vec<Account>, PackagesError> {
    let mut accounts: BTreeMap<&str, (&str, &Account)> = BTreeMap::new();
    for base in stack.bases.values() {
        for account in &base.accounts {
            match accounts.get(account.name.as_str()) {
                Some((other, known)) if (known.uid, known.gid) != (account.uid, account.gid) => {
                    return Err(PackagesError::Accounts {
                        account: account.name.clone(),
                        bases: [(*other).to_owned(), base.name.clone()],
                    });
                }
                Some(_) => {}
                None => {
                    accounts.insert(&account.name, (&base.name, account));
                }
            }
        }
    }
    Ok(accounts
        .into_values()
        .map(|(_, account)| account.clone())
        .collect())
}

/// The versions that a lock has for these roles; for what they had not, those of other roles.
fn versions<'l>(
    lock: Option<&'l Lock>,
    base: &Base,
    roles: &[&Role],
) -> BTreeMap<&'l str, &'l str> {
    let Some(lock) = lock else {
        return BTreeMap::new();
    };
    let of_base = lock.packages.iter().filter(|p| p.base == base.name);
    let mut versions: BTreeMap<&str, &str> = of_base
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    let closures = roles.iter().filter_map(|role| lock.roles.get(&role.name));
    let closures = closures.filter(|closure| closure.base == base.name);
    for key in closures.flat_map(|closure| closure.essential.iter().chain(&closure.packages)) {
        if let Some((package, version)) = key.split_once('=')
            && let Some((name, _)) = package.split_once(':')
        {
            versions.insert(name, version);
        }
    }
    versions
}

fn changes(previous: Option<&Lock>, lock: &Lock) -> Vec<Change> {
    let list = |lock: Option<&Lock>| {
        let mut list: BTreeMap<(String, Option<String>), String> = BTreeMap::new();
        let Some(lock) = lock else { return list };
        for package in &lock.packages {
            let version = package.version.as_str();
            // Roles with other archives may have another one.
            list.entry((package.name.clone(), Some(package.base.clone())))
                .and_modify(|versions| *versions += &format!(" and {version}"))
                .or_insert_with(|| version.to_owned());
        }
        for artifact in &lock.artifacts {
            let digest = format!("sha256:{:.12}", artifact.sha256);
            let told = match &artifact.version {
                Some(version) => format!("{version} ({digest})"),
                None => digest,
            };
            list.insert((artifact.key(), None), told);
        }
        for image in &lock.images {
            let digest = image.image.rsplit('@').next().unwrap_or_default();
            list.insert((image.key(), None), format!("{digest:.19}"));
        }
        list
    };
    let (old, new) = (list(previous), list(Some(lock)));
    let names: BTreeSet<&(String, Option<String>)> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Change {
            name: name.0.clone(),
            base: name.1.clone(),
            from: old.get(name).cloned(),
            to: new.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::lock::{Artifact, OciImage};

    fn lock(artifact: Option<(Option<&str>, &str)>, image: &str) -> Lock {
        let artifact = artifact.map(|(version, sha256)| Artifact {
            service: "wiki".into(),
            name: "app".into(),
            version: version.map(str::to_owned),
            url: None,
            file: None,
            size: 1,
            sha256: sha256.repeat(16),
            checksums: None,
            signed_by: None,
        });
        Lock {
            version: 1,
            stack: "tiny".into(),
            request: String::new(),
            releases: vec![],
            roles: BTreeMap::new(),
            packages: vec![],
            artifacts: artifact.into_iter().collect(),
            images: vec![OciImage {
                service: "wiki".into(),
                name: "engine".into(),
                image: format!("registry/engine@sha256:{}", image.repeat(16)),
                platform: "linux/amd64".into(),
                blobs: vec![],
            }],
            accounts: vec![],
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_a_change_whatever_its_version() {
        let told = |old: &Lock, new: &Lock| -> Vec<String> {
            let changes = changes(Some(old), new).into_iter();
            let told = changes.map(|change| {
                let word = |version: Option<String>| version.unwrap_or("-".into());
                format!("{} {} {}", change.name, word(change.from), word(change.to))
            });
            told.collect()
        };
        let old = lock(Some((Some("1.2"), "abcd")), "1234");
        let same = lock(Some((Some("1.2"), "ef01")), "1234");
        assert_eq!(told(&old, &old), [""; 0]);
        assert_eq!(
            told(&old, &same),
            ["wiki/app 1.2 (sha256:abcdabcdabcd) 1.2 (sha256:ef01ef01ef01)"]
        );
        assert_eq!(
            told(&old, &lock(None, "5678")),
            [
                "wiki/app 1.2 (sha256:abcdabcdabcd) -",
                "wiki/engine sha256:123412341234 sha256:567856785678",
            ]
        );
        assert_eq!(
            told(&lock(None, "1234"), &lock(Some((None, "abcd")), "1234")),
            ["wiki/app - sha256:abcdabcdabcd"]
        );
    }
}
