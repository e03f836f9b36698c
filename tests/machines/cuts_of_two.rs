//! The power of each of two hosts fails again and again while they become one site, whatever the
//! other does just then: the member's at 20 moments, the lead's at 10. Then all is green, nothing
//! happened twice, and no secret changed.

use crate::hosts::Hosts;
use crate::moments::{LINES, Machine, PATIENCE, pause};
use crate::starter::{self, UP, is_green};
use crate::{cuts, derived};
use rand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A moment of the journal at which the power fails.
type Place = (&'static str, &'static str);

/// How often the power of each fails at moments nobody chose, and where besides.
const CUTS: [(&str, u64, &[Place]); 2] = [
    ("edge", 19, &[("edge/roundcube/tables", "applied")]),
    ("core", 9, &[("core/postgresql/serve", "started")]),
];

/// At most how many tasks begin before a cut among tasks.
const TASKS: u64 = 12;

/// How long a host may need to come to a place: it may wait for the other one.
const TO_A_PLACE: Duration = Duration::from_secs(300);

/// Held while a machine is started.
static STARTING: Mutex<()> = Mutex::new(());

/// Digests of secrets and of the authority's files, by host and path, as they were seen first.
type Known = Mutex<BTreeMap<String, String>>;

#[test]
fn power_cuts_all_through_the_bring_up_of_two_hosts_end_green_with_no_secret_changed() {
    for _ in 0..cuts::rounds(30) {
        a_bring_up_with_power_cuts();
    }
}

fn a_bring_up_with_power_cuts() {
    let site = Hosts::new("starter");
    let known = Known::default();
    site.must(&UP);
    std::thread::scope(|scope| {
        for (host, random, places) in CUTS {
            let (site, known) = (&site, &known);
            scope.spawn(move || is_cut(site, host, random, places, known));
        }
    });
    site.must(&[&UP[..], &["--wait", "--timeout", "1800"]].concat());
    let shown: Value =
        serde_json::from_str(&site.must(&["verify", "starter", "--json"])).expect("JSON");
    assert!(is_green(&shown), "{shown:#}");
    site.saw("all green after all cuts");
    for host in ["core", "edge"] {
        assert!(keeps_secrets(&site, host, &known), "{host} answers");
    }
    site.saw(&format!(
        "{} secrets never changed",
        known.lock().expect("whole").len()
    ));
    nothing_twice(&site);
    starter::doors(&site);
    starter::secrets(&site);
    starter::letter(&site);
    derived::said_of(&site);
    starter::cable(&site);
    site.must(&["down", "starter"]);
}

/// Cuts the power of a host and gives it back, again and again.
fn is_cut(site: &Hosts, host: &'static str, random: u64, places: &[Place], known: &Known) {
    let machine = Machine::of(site.state().join(host));
    let up = |more: &[&str]| {
        // One command at a time starts machines of a stack.
        let _held = STARTING.lock().expect("whole");
        site.must(&[&UP[..], &["--role", host], more].concat());
    };
    let mut number = 0;
    let mut cut = |when: &str| {
        number += 1;
        site.cut_power(host);
        site.saw(&format!("{host} cut {number}, {when}: {}", machine.stand()));
    };
    for one in 0..random {
        up(&[]);
        let mut any = rand::thread_rng();
        // A ninth of them among tasks, which take longer to come to.
        if one % 9 == 8 {
            machine.comes_to(usize::MAX, any.gen_range(1..=TASKS), PATIENCE);
            keeps_secrets(site, host, known);
        } else {
            machine.comes_to(any.gen_range(0..LINES), 1, PATIENCE);
        }
        pause(0.0..2.0);
        cut("at any time");
    }
    for (task, moment) in places {
        up(&["--break-at", &format!("{task}:{moment}")]);
        let is_place = |event: &Value| event["id"] == *task && event["moment"] == *moment;
        let stands = || machine.events().iter().any(is_place);
        let end = Instant::now() + TO_A_PLACE;
        while !stands() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(200));
        }
        // One that has been there already does not come there again.
        let when = if stands() { "at" } else { "behind" };
        keeps_secrets(site, host, known);
        cut(&format!("{when} {task}:{moment}"));
    }
    up(&[]);
}

/// A secret that was seen once stays what it is. Gives whether the host said what it has.
fn keeps_secrets(site: &Hosts, host: &str, known: &Known) -> bool {
    // A member has no authority.
    let list = "cd /var/lib/muster; for folder in secrets ca; do \
                test ! -d $folder || find $PWD/$folder -type f -exec sha256sum {} +; done";
    let Some(said) = site.try_as_root(host, list) else {
        return false;
    };
    let mut known = known.lock().expect("whole");
    for line in said.lines() {
        let (digest, path) = line.split_once("  ").expect("a digest and a path");
        // One that is being written beside its place has another name each time.
        if path.contains(".new") || path.contains(".tmp") {
            continue;
        }
        let before = known.insert(format!("{host}:{path}"), digest.to_owned());
        assert!(
            before.is_none_or(|before| before == digest),
            "{host}: {path} has changed"
        );
    }
    true
}

/// Roles and databases are there once, as are people and the tables' one row for each.
fn nothing_twice(site: &Hosts) {
    let roles = site.as_root(
        "core",
        "cd / && runuser -u postgres -- psql -Atc \"select count(*) from pg_roles where rolname='roundcube'\" -c \"select count(*) from pg_database where datname='roundcube'\"",
    );
    assert_eq!(roles.split_whitespace().collect::<Vec<_>>(), ["1", "1"]);
    let people = site.as_root(
        "core",
        "ldapsearch -LLLQ -Y EXTERNAL -H ldapi:/// -b ou=people,dc=example,dc=org uid=* uid | grep -c ^uid:",
    );
    assert_eq!(people.trim(), "3", "admin, staff and probe, each once");
    site.saw("nothing twice");
}
