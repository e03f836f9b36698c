//! The power fails again and again in one bring-up: at random moments from power-on, and after
//! a task is "started", after its effect, and before it is "done". Then all is green, nothing
//! happened twice, no secret changed, and all is as on a host without cuts.

use crate::contents;
use crate::site::{BROUGHT_UP, Site, UP, wait};
use std::time::Duration;

/// Where the power fails. Each task needs the one before, so none is done too early. At the
/// first, a program has written to the root a moment ago, and the journal says so.
const CUTS: &[(&str, &str)] = &[
    ("office/postgresql/serve", "started"),
    ("office/roundcube/tables", "applied"),
    ("office/roundcube/serve", "done"),
];

#[test]
fn power_cuts_all_through_bring_up_end_green_with_nothing_twice_and_no_secret_changed() {
    let site = Site::with_same_answers("cuts");
    // Not DHCP's, but what QEMU's own network happens to use.
    site.answers_address("10.0.2.15/24", "10.0.2.2", "10.0.2.3");
    let mut number = 0;
    let mut at_random = |count: u64, since: Since, seconds: std::ops::Range<f64>| {
        for _ in 0..count {
            number += 1;
            let moment = rand::Rng::gen_range(&mut rand::thread_rng(), seconds.clone());
            site.must(&UP);
            if since == Since::BringUp {
                wait("bring-up to go on", Duration::from_secs(600), || {
                    (said(&site).1 > 0).then_some(())
                });
            }
            std::thread::sleep(Duration::from_secs_f64(moment));
            site.cut_power();
            let (lines, events) = said(&site);
            site.saw(&format!(
                "power cut {number}, {moment:.1} s after {since:?}, {lines} lines and {events} events"
            ));
        }
    };
    // The disk is met, state is copied to the data partition, the answers are taken.
    at_random(cuts() / 3, Since::PowerOn, 3.0..20.0);

    let mut secrets: Option<String> = None;
    for (task, moment) in CUTS {
        let place = format!("{task}:{moment}");
        let before = events(&site).len();
        site.must(&[&UP[..], &["--break-at", &place]].concat());
        wait(
            &format!("the agent to stand at {place}"),
            Duration::from_secs(1200),
            || {
                events(&site)[before..]
                    .iter()
                    .any(|event| event["id"] == *task && event["moment"] == *moment)
                    .then_some(())
            },
        );
        let now = site.secrets();
        if let Some(before) = &secrets {
            for line in before.lines() {
                assert!(
                    now.contains(line),
                    "a secret changed over a power cut: {line}\n{now}"
                );
            }
        }
        secrets = Some(now);
        site.cut_power();
        site.saw(&format!("power cut at {place}"));
    }
    at_random(cuts() / 3, Since::PowerOn, 3.0..20.0);
    at_random(cuts() / 3, Since::BringUp, 0.0..10.0);

    site.must(&[&UP[..], &["--wait"]].concat());
    site.saw("bring-up ended green after all cuts");
    for (id, green, reason) in site.verify() {
        assert!(green, "{id}: {reason}");
    }
    let now = site.secrets();
    for line in secrets.unwrap_or_default().lines() {
        assert!(now.contains(line), "a secret changed: {line}");
    }
    let roles = site.on_host(
        "runuser -u postgres -- psql -Atc \"select count(*) from pg_roles where rolname='roundcube'\" -c \"select count(*) from pg_database where datname='roundcube'\"",
    );
    assert_eq!(roles.split_whitespace().collect::<Vec<_>>(), ["1", "1"]);
    let people = site.on_host(
        "ldapsearch -LLLQ -Y EXTERNAL -H ldapi:/// -b ou=people,dc=example,dc=org uid=* uid | grep -c ^uid:",
    );
    assert_eq!(people.trim(), "3", "admin, staff and probe, each once");
    site.saw("nothing twice, no secret changed");
    contents::same(&BROUGHT_UP.contents, &contents::of(&site));
    site.saw("directory, databases, mail and configuration are those of a host without cuts");
    site.must(&["down", "starter"]);
}

/// From when on a random moment counts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    /// QEMU started.
    PowerOn,
    /// The host told something for the first time since: tasks follow.
    BringUp,
}

/// How many cuts at moments nobody chose; `./tests/run soak` asks for more.
fn cuts() -> u64 {
    let wish = std::env::var("MUSTER_SOAK").ok();
    wish.and_then(|wish| wish.parse().ok()).unwrap_or(27)
}

/// How many lines of the console and events there are of the last start.
fn said(site: &Site) -> (usize, usize) {
    let folder = site.folder().join("office");
    let record = std::fs::read_to_string(folder.join("machine.json")).expect("readable");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let from = |file: &str, start: &serde_json::Value| {
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        let start = start.as_u64().unwrap_or(0) as usize;
        bytes[start.min(bytes.len())..]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    };
    let run = &record["run"];
    (
        from("serial.log", &run["serial-from"]),
        from("events.jsonl", &run["events-from"]),
    )
}

/// What the host has told so far, over all its boots.
fn events(site: &Site) -> Vec<serde_json::Value> {
    let told = std::fs::read_to_string(site.folder().join("office/events.jsonl"));
    told.unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
