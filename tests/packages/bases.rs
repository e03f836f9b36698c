//! What the bases say can be used.

use muster::profile::{Source, Stack};
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::types::KeyDetails;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_pinned_key_is_there_and_every_account_has_one_id_everywhere() {
    let mut ids: BTreeMap<String, (Option<u32>, u32)> = BTreeMap::new();
    for name in ["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"] {
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

fn fingerprints(keys: &str) -> BTreeSet<String> {
    keys.split_inclusive("-----END PGP PUBLIC KEY BLOCK-----")
        .filter_map(|text| Some(&text[text.find("-----BEGIN")?..]))
        .map(|block| SignedPublicKey::from_string(block).unwrap().0)
        .map(|key| hex::encode_upper(key.fingerprint().as_bytes()))
        .collect()
}
