//! A lead whose disk is gone for good, and the deputy that takes its place.

use crate::hosts::{Hosts, each};
use crate::pair::{UP, pair_with};
use crate::person::Person;
use crate::site::wait;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

/// Twelve words that are the recovery words of another site.
const OTHER: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";

/// Both hosts are there and green, this one leading.
fn led_by(shown: &Value, lead: &str, other: &str) -> bool {
    shown["outcome"] == "green"
        && each(shown, "hosts", "role") == [lead, other]
        && each(shown, "hosts", "stand") == ["joined", "joined"]
        && each(shown, "services", "colour") == ["green", "green"]
        && shown["deputy"]["role"] == other
        && shown["deputy"]["current"] == true
}

/// What a command that must fail says.
fn refused(pair: &Hosts, host: &str, script: &str) -> String {
    let output = pair.run_as_root(host, script);
    assert!(!output.status.success(), "{script} on {host} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lead's disk is deleted; its deputy is promoted, and a new host of its role joins that.
pub fn takes_the_place_of_a_lead_whose_disk_is_gone() {
    let pair = pair_with("deputy = \"edge\"\n");
    pair.must(&[&UP[..], &["--wait"]].concat());
    let by_core = |shown: &Value| led_by(shown, "core", "edge");
    pair.until("core", "both green, and the copy of edge current", by_core);

    // What a person writes down.
    let sheet = pair.as_root("core", "muster recovery");
    let rows: Vec<&str> = sheet.lines().skip(2).take(3).collect();
    let words = muster::site::recovery::Words::parse(&rows.join("\n")).expect("words");
    pair.saw("the lead shows its recovery words");

    // The deputy reads none of what it keeps.
    let key = pair.as_root("core", "sed -n 2p /var/lib/muster/ca/ca.key");
    let text = words.text();
    for secret in [key.trim(), &text] {
        let found = format!("! grep -rqF --exclude-dir=log -- '{secret}' /data");
        pair.as_root("edge", &found);
    }
    pair.as_root("edge", "test -s /var/lib/muster/deputy/copy");
    pair.saw("edge holds the copy, and neither the words nor the key of the authority");

    let write = format!("umask 077; echo '{text}' >/run/words");
    let promote = "muster promote --recovery-file /run/words";
    pair.as_root("edge", &write);
    let said = refused(&pair, "edge", promote);
    assert!(
        said.contains("the lead, core, still answers at 10.77.0.10: a site has one lead"),
        "{said}"
    );
    pair.as_root("edge", "rm /run/words");

    // Before: what the hosts have agreed on.
    let authority = pair.as_root("edge", "sha256sum </etc/ssl/certs/muster-site-ca.pem");
    pair.cut_power("core");
    let (place, lost) = (pair.state().join("core"), pair.folder().join("lost"));
    fs::rename(&place, &lost).expect("the disk is away");
    pair.saw("the disk of the lead is gone");
    a_person_promotes(&pair, &text);
    pair.until("edge", "itself as the lead, and core absent", |shown| {
        each(shown, "hosts", "role") == ["edge", "core"]
            && each(shown, "hosts", "stand") == ["joined", "absent"]
            && each(shown, "services", "colour")[0] == "green"
    });
    assert_eq!(
        pair.as_root("edge", "sha256sum </var/lib/muster/ca/ca.pem"),
        authority,
        "it is the same authority"
    );

    fs::rename(&lost, &place).expect("the disk is back");
    the_former_lead_comes_back(&pair);
    a_second_lead_says_where_the_first_is(&pair);

    // A new machine of the former lead's role joins as a member.
    pair.must(&[&UP[..], &["--lead", "edge"]].concat());
    let by_edge = |shown: &Value| led_by(shown, "edge", "core");
    let patience = Duration::from_secs(900);
    wait("the new core to answer", patience, || {
        pair.on("core", "true").map(drop)
    });
    pair.until_within(patience, "edge", "both green, and core its deputy", by_edge);
    pair.until("core", "the same", |shown| {
        each(shown, "hosts", "stand") == ["joined", "joined"] && shown["outcome"] == "green"
    });
    let said = refused(&pair, "core", "muster join");
    assert!(
        said.contains("this host, core, is not the lead of its site"),
        "{said}"
    );
    assert_eq!(
        pair.as_root("core", "sha256sum </etc/ssl/certs/muster-site-ca.pem"),
        authority
    );
    let without_role = || pair.must(&["ssh", "pair", "--", "hostname", "--short"]);
    assert_eq!(without_role(), "edge\n", "whom a person is led to");
    // It is still so after the power of both has failed.
    for host in ["edge", "core"] {
        pair.cut_power(host);
    }
    pair.must(&UP);
    pair.until_within(patience, "edge", "the same after a power cut", by_edge);

    // The deputy of today takes over although the lead answers, with the same words.
    pair.as_root("core", &write);
    let said = refused(&pair, "core", promote);
    assert!(said.contains("the lead, edge, still answers"), "{said}");
    let said = pair.as_root("core", &format!("{promote} --depose; rm /run/words"));
    assert!(
        said.starts_with("This host, core, leads its site now"),
        "{said}"
    );
    pair.until("core", "itself as the lead, and edge absent", |shown| {
        each(shown, "hosts", "role") == ["core", "edge"]
            && each(shown, "hosts", "stand") == ["joined", "absent"]
    });
    pair.until("edge", "that it was deposed", |shown| {
        told(shown, "core leads this site since ", "--lead core")
    });
    assert_eq!(without_role(), "core\n");
    assert_eq!(
        pair.as_root("core", "sha256sum </var/lib/muster/ca/ca.pem"),
        authority
    );
}

/// On a terminal, where the words are asked for and not shown; first with those of another site.
fn a_person_promotes(pair: &Hosts, words: &str) {
    let mut person = Person::starts(pair.command(&["ssh", "pair", "edge"]));
    let patience = Duration::from_secs(60);
    // Put together by the shell alone, so that the line that is typed is not taken for it.
    person.types("echo l''ogged in; sudo -p 'pass''word: ' muster promote");
    person.reads("logged in", patience);
    person.answers("password: ", &pair.password());
    let asked = "The recovery words (they are not shown)";
    person.answers(asked, "abandon ability");
    person.reads("there are 12 recovery words, and these are 2", patience);
    person.answers(asked, OTHER);
    person.reads("these are not the recovery words of this site", patience);
    person.answers(asked, words);
    for said in [
        "the copy of core opens; it was sealed on ",
        "This host, edge, leads its site now; the others come to it.",
        "core has not joined: ",
    ] {
        person.reads(said, Duration::from_secs(150));
    }
    let seen = person.seen();
    assert!(!seen.contains(words) && !seen.contains(OTHER), "{seen}");
    person.types("exit");
    pair.saw("a person has promoted edge on a terminal");
}

/// Whether a host says this of itself, and what to do.
fn told(shown: &Value, words: &str, advice: &str) -> bool {
    let mut reasons = each(shown, "attention", "reason").into_iter();
    reasons.any(|reason| reason.contains(words) && reason.contains(advice))
}

/// Its disk was not gone after all: no host listens to it, and it says why and what to do.
fn the_former_lead_comes_back(pair: &Hosts) {
    // Its port may be somebody else's by now.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its number").port();
    drop(free);
    let forward = format!("22={port}");
    pair.must(&[&UP[..], &["--role", "core", "--forward", &forward]].concat());
    let words = "edge leads this site since ";
    let patience = Duration::from_secs(600);
    pair.until_within(
        patience,
        "core",
        "who leads now, and nothing else",
        |shown| told(shown, words, "muster up STACK --lead edge"),
    );
    let log = fs::read(pair.state().join("core/serial.log")).expect("a console");
    let console = String::from_utf8_lossy(&log).into_owned();
    let words = " and leads this site now. This host, core, leads no more.";
    assert!(console.contains(words), "{console}");
    let (shown, _) = pair.shows("edge", "status");
    assert_eq!(each(&shown, "hosts", "role"), ["edge", "core"]);
    assert_eq!(each(&shown, "hosts", "stand"), ["joined", "absent"]);
    pair.must(&[
        "down", "pair", "--role", "core", "--purge", "--yes", "--grace", "1",
    ]);
    pair.saw("the former lead was told so");
}

/// Somebody starts the former lead's role and forgets to say who leads.
fn a_second_lead_says_where_the_first_is(pair: &Hosts) {
    let patience = Duration::from_secs(600);
    pair.must(&UP);
    let words = "another lead of this stack, edge, answers at fe80::";
    wait("the second lead to hear the first", patience, || {
        let log = fs::read(pair.state().join("core/serial.log")).unwrap_or_default();
        let console = String::from_utf8_lossy(&log).into_owned();
        console.contains(words).then_some(())
    });
    pair.saw("a second lead says on its console where the first is");
    let said = wait("muster join on it", patience, || {
        pair.try_as_root("core", "muster join")
    });
    for part in [
        words,
        "start this host from a fresh image: muster up STACK --lead edge",
        "joining is closed until somebody says that this is the lead to join:",
    ] {
        assert!(said.contains(part), "{said}");
    }
    pair.until("core", "the first lead", |shown| told(shown, words, ""));
    pair.until("edge", "the second lead", |shown| {
        told(
            shown,
            "another lead of this stack, core, answers at fe80::",
            "",
        )
    });
    pair.must(&[
        "down", "pair", "--role", "core", "--purge", "--yes", "--grace", "1",
    ]);
}
