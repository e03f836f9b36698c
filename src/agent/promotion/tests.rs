//! Deputies that are promoted, also where the power fails meanwhile.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::agent::keeper::{Keeper, RECOVERY};
use crate::agent::leadership::tests::plan;
use crate::mesh::line::question::Question;
use crate::mesh::members::{Member, Record};
use std::collections::BTreeMap;

const ID: &str = "55555555555555555555555555555555";

struct Pair {
    plan: Plan,
    lead: tempfile::TempDir,
    deputy: tempfile::TempDir,
    key: Print,
}

fn places(home: &tempfile::TempDir) -> Places {
    let places = Places::below(home.path());
    std::fs::create_dir_all(places.state.join("mesh")).unwrap();
    places
}

fn put(state: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(state.join(name).parent().unwrap()).unwrap();
    std::fs::write(state.join(name), text).unwrap();
}

fn record(role: &str, lead: Print, ca: &str) -> Record {
    Record {
        site: ID.into(),
        role: role.into(),
        lead: "front".into(),
        lead_key: lead,
        ca: ca.into(),
        certificate: String::new(),
    }
}

impl Pair {
    /// A deputy that has joined, with the copy of its lead.
    fn new() -> Pair {
        let (lead, deputy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, theirs) = (places(&lead), places(&deputy));
        let key = Identity::open_or_create(&folder(&own)).unwrap().print();
        let back = Identity::open_or_create(&folder(&theirs)).unwrap().print();
        let authority = Authority::open_or_create(&own.authority(), "Example").unwrap();
        let site = Site {
            id: ID.into(),
            ..Site::nobodys("front")
        };
        put(
            &own.state,
            "site.json",
            &serde_json::to_string(&site).unwrap(),
        );
        put(&own.state, "secrets/front/store/own", "zebra-of-front");
        put(&own.state, "mesh/token", &"ab".repeat(32));
        let mut members = Members::open(&folder(&own)).unwrap();
        for (role, key) in [("back", back), ("third", Print([3; 32]))] {
            let member = Member {
                key,
                joined: "2026-01-01T00:00:00Z".into(),
                address: "192.0.2.7".into(),
                record: record(role, key, authority.pem()),
            };
            members.enter(role, member).unwrap();
        }
        let told = serde_json::to_string(&record("back", key, authority.pem())).unwrap();
        put(&theirs.state, "mesh/record.json", &told);
        put(&theirs.state, "mesh/lead", "192.0.2.1");
        put(&theirs.state, "site.json", "what it was told of the site");
        put(&theirs.state, "secrets/back/app/session", "of back");
        let pair = Pair {
            plan: plan(),
            lead,
            deputy,
            key,
        };
        pair.copies();
        pair
    }

    fn lead(&self) -> Places {
        places(&self.lead)
    }

    fn deputy(&self) -> Places {
        places(&self.deputy)
    }

    fn words(&self) -> Words {
        Words::open_or_create(&self.lead().state.join(RECOVERY)).unwrap()
    }

    /// The lead sends what has changed.
    fn copies(&self) {
        let leadership = Leadership::of(&self.plan, &self.lead().state).unwrap();
        let keeper = Keeper::new(&self.lead().state, ID, &leadership, "back").unwrap();
        keeper.look(true, |question, _| match question {
            Question::Keep { copy } => deputy::keep(&self.deputy(), ID, &copy)
                .map(|held| serde_json::to_value(held).unwrap()),
            _ => Ok(serde_json::Value::Null),
        });
        assert!(keeper.status().current, "{:?}", keeper.status());
    }

    fn prepare(&self) -> std::result::Result<Promotion, PromotionError> {
        prepare(&self.deputy(), &self.plan, "back", &self.words())
    }

    fn refused(&self) -> String {
        self.prepare().unwrap_err().to_string()
    }

    fn leads(&self) -> bool {
        let leadership = Leadership::of(&self.plan, &self.deputy().state).unwrap();
        leadership.is_lead("back")
    }

    /// Every file of the deputy and its content.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.deputy().state;
        let all = walkdir::WalkDir::new(&state).into_iter();
        let all = all.map(|entry| entry.unwrap());
        let files = all.filter(|entry| entry.file_type().is_file());
        let named = files.map(|entry| {
            let name = entry.path().strip_prefix(&state).unwrap();
            let content = std::fs::read(entry.path()).unwrap();
            (name.display().to_string(), content)
        });
        named.collect()
    }
}

#[test]
fn a_deputy_that_is_promoted_has_all_that_made_the_lead_and_is_a_member_no_more() {
    let pair = Pair::new();
    assert!(!pair.leads());
    pair.prepare().unwrap().decide().unwrap();
    assert!(finish(&pair.deputy().state).unwrap());
    assert!(pair.leads());
    let (own, former) = (pair.deputy(), pair.lead());
    let mut theirs = Estate::gather(&former.state).unwrap();
    let mut estate = Estate::gather(&own.state).unwrap();
    // But for the table of hosts it is the same, and what was its own is still there.
    assert!(theirs.files.remove(estate::MEMBERS).is_some());
    assert!(estate.files.remove(estate::MEMBERS).is_some());
    assert_eq!(
        estate.files.remove("secrets/back/app/session").as_deref(),
        Some("of back")
    );
    assert_eq!(estate, theirs);
    let members = Members::open(&folder(&own)).unwrap();
    assert_eq!(members.roles().collect::<Vec<_>>(), ["third"]);
    assert!(members.is_revoked(pair.key));
    let files = pair.files();
    for gone in ["mesh/record.json", "mesh/lead", "deputy/copy"] {
        assert!(!files.contains_key(gone), "{gone}");
    }
    assert!(!files.keys().any(|name| name.contains("promotion")));
    assert!(recovery::is_shown(&own.state.join(RECOVERY)));
    // The authority has signed it, for this host and in the place of that one.
    let warrant = Warrant::kept(&folder(&own)).unwrap().unwrap();
    let key = Identity::open_or_create(&folder(&own)).unwrap().print();
    let ca = std::fs::read_to_string(own.authority().join("ca.pem")).unwrap();
    assert_eq!(warrant.check_of(key, ID, &ca, None), Ok(()));
    assert_eq!(warrant.claim.former.role, "front");
    assert_eq!(warrant.claim.former.key, pair.key);
    assert_eq!(warrant.claim.term, 2);
    // It can be followed by another in its turn.
    let leadership = Leadership::of(&pair.plan, &own.state).unwrap();
    assert_eq!(leadership.deputy.as_deref(), Some("front"));
    assert_eq!(
        prepare(&own, &pair.plan, "back", &pair.words())
            .unwrap_err()
            .to_string(),
        "this host, back, is the lead of its site already"
    );
}

#[test]
fn wherever_the_power_fails_a_deputy_is_a_member_or_the_lead_and_never_half() {
    let pair = Pair::new();
    let state = pair.deputy().state;
    let member = pair.files();
    // Before it is decided nothing has changed, and what was laid out is laid out anew.
    let first = pair.prepare().unwrap();
    assert!(!finish(&state).unwrap());
    assert!(!pair.leads());
    let mut files = pair.files();
    files.retain(|name, _| !name.starts_with(BESIDE));
    assert_eq!(files, member);
    put(&state, &format!("{BESIDE}/{FILES}/mesh/members.json"), "{");
    drop(first);
    pair.prepare().unwrap().decide().unwrap();
    // Decided, with each number of files in place.
    let laid = Estate::gather(&state.join(DECIDED).join(FILES)).unwrap();
    for count in 0..=laid.files.len() {
        let mut some = laid.clone();
        some.files = some.files.into_iter().take(count).collect();
        let copy = tempfile::tempdir().unwrap();
        let other = copy.path().join("state");
        for (name, content) in pair.files() {
            std::fs::create_dir_all(other.join(&name).parent().unwrap()).unwrap();
            std::fs::write(other.join(&name), content).unwrap();
        }
        some.put(&other).unwrap();
        assert!(is_decided(&other));
        assert!(finish(&other).unwrap(), "{count}");
        let leadership = Leadership::of(&pair.plan, &other).unwrap();
        assert!(leadership.is_lead("back"), "{count}");
        let whole = Estate::gather(&other).unwrap();
        for (name, text) in &laid.files {
            assert_eq!(whole.files.get(name), Some(text), "{count}: {name}");
        }
        assert!(!finish(&other).unwrap(), "there is nothing left to do");
    }
    // Behind the warrant and before the end.
    let warrant = Warrant::kept(&state.join(DECIDED)).unwrap().unwrap();
    warrant.keep(&state.join("mesh")).unwrap();
    assert!(finish(&state).unwrap());
    assert!(pair.leads());
    // What was left to be removed is removed, and undoes nothing.
    put(&state, &format!("{DONE}/{FILES}/site.json"), "old");
    assert!(!finish(&state).unwrap());
    assert!(!state.join(DONE).exists());
    assert!(pair.leads());
}

#[test]
fn nothing_of_the_site_is_readable_on_a_deputy_but_its_own() {
    let pair = Pair::new();
    let lead = Estate::gather(&pair.lead().state).unwrap();
    let words = pair.words().text();
    let key = lead.files[estate::CA_KEY]
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    let secrets = ["zebra-of-front", &key, &words, &"ab".repeat(32)];
    for (name, content) in pair.files() {
        let text = String::from_utf8_lossy(&content);
        for secret in secrets {
            assert!(!text.contains(secret), "{name} holds {secret}");
        }
    }
    pair.prepare().unwrap();
    // With the words it is.
    assert!(
        pair.files()
            .values()
            .any(|content| content == b"zebra-of-front")
    );
}

#[test]
fn a_promotion_that_cannot_be_is_refused_in_words() {
    let pair = Pair::new();
    let own = pair.deputy();
    let other = |role: &str| {
        let refused = prepare(&own, &pair.plan, role, &pair.words());
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        other("third"),
        "this host, third, is not the deputy of its site; back is"
    );
    let mut alone = plan();
    alone.deputy = None;
    assert_eq!(
        prepare(&own, &alone, "back", &pair.words())
            .unwrap_err()
            .to_string(),
        "this host, back, is not the deputy of its site: its stack names none"
    );
    assert_eq!(
        prepare(&own, &pair.plan, "back", &Words::draw().unwrap())
            .unwrap_err()
            .to_string(),
        "these are not the recovery words of this site"
    );
    let copy = own.state.join("deputy/copy");
    let text = std::fs::read_to_string(&copy).unwrap();
    std::fs::write(&copy, text.replace("\"number\":1", "\"number\":2")).unwrap();
    assert_eq!(
        pair.refused(),
        "the words are right, but the copy is damaged: it is not what the lead has sealed"
    );
    std::fs::write(&copy, &text[..text.len() - 9]).unwrap();
    assert!(
        pair.refused()
            .contains("this is no sealed copy of a site: ")
    );
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(
        pair.refused(),
        "the lead, front, has never sent this deputy a copy of the site"
    );
    std::fs::remove_file(own.state.join("mesh/record.json")).unwrap();
    assert_eq!(
        pair.refused(),
        "this host has not joined a site yet, so there is none that it could lead"
    );
    assert!(!pair.leads() && !is_decided(&own.state));
}

#[test]
fn a_copy_that_does_not_know_this_host_or_is_of_another_site_is_refused() {
    let pair = Pair::new();
    let own = pair.deputy();
    // A new disk, which has joined since.
    std::fs::remove_file(own.state.join("mesh/host.key")).unwrap();
    assert_eq!(
        pair.refused(),
        "the copy was made before this host joined as back: its site would not know it as its own"
    );
    let (another, path) = (Pair::new(), own.state.join("mesh/record.json"));
    std::fs::copy(another.deputy().state.join("mesh/record.json"), path).unwrap();
    assert_eq!(
        pair.refused(),
        "the copy is of another site than this host's"
    );
}
