//! The power fails again and again in one bring-up: at random moments from power-on, and after
//! a task is "started", after its effect, and before it is "done". Then all is green, nothing
//! happened twice, no secret changed, and all is as on a host without cuts.

use crate::contents;
use crate::moments::{LINES, Machine, PATIENCE, pause};
use crate::site::{BROUGHT_UP, Site, UP, wait};
use serde_json::Value;
use std::time::Duration;

/// Where the power fails at a moment of the journal. Each task needs the one before, so none is
/// done too early. At the first, a program has written to the root a moment ago, and the journal
/// says so.
const CUTS: &[(&str, &str)] = &[
    ("office/postgresql/serve", "started"),
    ("office/roundcube/tables", "applied"),
    ("office/roundcube/serve", "done"),
];

/// At most how many tasks begin on the way to the first of them and on to the second, if random
/// cuts are not to get there themselves.
const TASKS: [u64; 2] = [15, 55];

/// How often the power fails at moments nobody chose.
const RANDOM: u64 = 27;

/// As often as gives that many cuts: `./tests/run soak` asks for 300.
pub fn rounds(cuts: u64) -> u64 {
    let wish = std::env::var("MUSTER_SOAK").ok();
    let wish = wish.and_then(|wish| wish.parse().ok()).unwrap_or(1);
    (wish / cuts).max(1)
}

pub fn all_through_the_bring_up_of_one_host() {
    for _ in 0..rounds(RANDOM + CUTS.len() as u64) {
        a_bring_up_with_power_cuts();
    }
}

fn a_bring_up_with_power_cuts() {
    let site = Site::with_same_answers("cuts");
    // Not DHCP's, but what QEMU's own network happens to use.
    site.answers_address("10.0.2.15/24", "10.0.2.2", "10.0.2.3");
    let mut left = RANDOM;
    // Those take five times as long as others.
    let among = left * 2 / 9;
    // The disk is met, state is copied to the data partition, the answers are taken.
    let first = (left - among) / 2;
    at_any_time(&site, first);
    left -= first;

    let mut secrets: Option<String> = None;
    for (at, (task, moment)) in CUTS.iter().enumerate() {
        let place = format!("{task}:{moment}");
        let is_place = |event: &Value| event["id"] == *task && event["moment"] == *moment;
        let stands = || machine(&site).events().iter().any(is_place);
        let start = |enough: u64| {
            site.must(&[&UP[..], &["--break-at", &place]].concat());
            let limit = Duration::from_secs(1200);
            wait(&format!("the agent to stand at {place}"), limit, || {
                (stands() || machine(&site).begun() >= enough).then_some(())
            });
        };
        let random = among * (at as u64 + 1) / 3;
        for _ in 0..TASKS.get(at).map_or(0, |_| random) {
            let most = (2 * TASKS[at] / random).max(2);
            start(rand::Rng::gen_range(&mut rand::thread_rng(), 1..=most));
            pause(0.0..1.0);
            if stands() {
                break;
            }
            cut(&site, "among tasks");
            left -= 1;
        }
        if !stands() {
            start(u64::MAX);
        }
        let now = site.secrets();
        for line in secrets.iter().flat_map(|before| before.lines()) {
            assert!(
                now.contains(line),
                "a secret changed over a power cut: {line}\n{now}"
            );
        }
        secrets = Some(now);
        cut(&site, &format!("at {place}"));
    }
    at_any_time(&site, left);

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
    site.must(&["down", "office"]);
}

/// The power fails at random moments between power-on and the first task. The console tells
/// how far a start has come, however fast the computer is.
fn at_any_time(site: &Site, count: u64) {
    for _ in 0..count {
        site.must(&UP);
        let enough = rand::Rng::gen_range(&mut rand::thread_rng(), 0..LINES);
        machine(site).comes_to(enough, 1, PATIENCE);
        pause(0.0..2.0);
        cut(site, "at any time");
    }
}

/// Pulls the plug, and says how far the start had come.
fn cut(site: &Site, when: &str) {
    site.cut_power();
    site.saw(&format!("power cut {when}: {}", machine(site).stand()));
}

fn machine(site: &Site) -> Machine {
    Machine::of(site.folder().join("office"))
}
