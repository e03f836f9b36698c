//! What the bases say can be used.

use crate::archive::{Miniature, Suite};
use crate::key::Key;
use muster::profile::{Choice, Source, Stack};
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::types::KeyDetails;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_pinned_key_is_there_and_every_account_has_one_id_everywhere() {
    let mut ids: BTreeMap<String, (Option<u32>, u32)> = BTreeMap::new();
    for name in BASES {
        let stack = Stack::load(&Source::new(None), "starter", Some(name)).unwrap();
        let base = &stack.bases[name];
        for archive in &base.archives {
            let present = fingerprints(&archive.keys);
            for pinned in &archive.fingerprints {
                assert!(present.contains(pinned), "{name}: {pinned}");
            }
        }
        let mut used = BTreeSet::new();
        for account in &base.accounts {
            let both = (account.uid, account.gid);
            let known = ids.entry(account.name.clone()).or_insert(both);
            assert_eq!(*known, both, "{name}: {}", account.name);
            assert!(
                used.insert(account.uid.unwrap_or(account.gid)),
                "{}",
                account.name
            );
            assert!((100..1000).contains(&account.uid.unwrap_or(account.gid)));
        }
    }
}

const BASES: [&str; 4] = ["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"];

#[test]
fn a_lock_has_the_one_kernel_that_was_chosen() {
    for base in BASES {
        let load = |kernel| {
            let choice = Choice {
                base: Some(base),
                kernel,
            };
            Stack::load_with(&Source::new(None), "starter", choice).unwrap()
        };
        let plain = load(None);
        let own = &plain.bases[base];
        let kernels = &own.kernels;
        let small = if own.family == "ubuntu" {
            "virtual"
        } else {
            "cloud"
        };
        let choices: BTreeSet<&str> = kernels.keys().map(String::as_str).collect();
        assert_eq!(choices, BTreeSet::from([small, "generic"]));
        assert_eq!(kernels[small], own.kernel);
        // An archive that has whatever is asked for.
        let services = plain.services.values();
        let of_services = services.flat_map(|service| {
            let more = service.base_packages.values().flatten();
            service.packages.iter().chain(more)
        });
        let names: BTreeSet<&String> = own
            .packages
            .iter()
            .chain(&own.boot)
            .chain(kernels.values())
            .chain(of_services)
            .chain(plain.roles.iter().flat_map(|role| &role.packages))
            .collect();
        let index: String = names
            .iter()
            .map(|name| format!("Package: {name}\nVersion: 1\n\n"))
            .collect();
        let mini = Miniature::new(Key::new());
        mini.write(&Suite::new("noble", &index));
        for (choice, kernel) in [
            (None, small),
            (Some(small), small),
            (Some("generic"), "generic"),
        ] {
            let mut request = load(choice);
            let archives = mini.base(&["noble"], &["main"]).archives;
            request.bases.get_mut(base).unwrap().archives = archives;
            let lock = mini.lock(&request, 11, None, false).unwrap().lock;
            let locked: Vec<&str> = lock
                .packages
                .iter()
                .map(|package| package.name.as_str())
                .filter(|name| kernels.values().any(|kernel| kernel == name))
                .collect();
            assert_eq!(locked, [kernels[kernel].as_str()], "{base} {choice:?}");
        }
    }
}

fn fingerprints(keys: &str) -> BTreeSet<String> {
    keys.split_inclusive("-----END PGP PUBLIC KEY BLOCK-----")
        .filter_map(|text| Some(&text[text.find("-----BEGIN")?..]))
        .map(|block| SignedPublicKey::from_string(block).unwrap().0)
        .map(|key| hex::encode_upper(key.fingerprint().as_bytes()))
        .collect()
}
