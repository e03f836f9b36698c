//! A host that a person lets in, with the code that the lead shows: found on the wire first, then
//! at the address that is typed.

use crate::hosts::Hosts;
use crate::pair::{UP, all_green, pair};
use crate::person::Person;
use crate::site::wait;
use std::fs;
use std::time::{Duration, Instant};

const PASSWORD: &str = "three quiet herons";

/// Of somebody who wants no token: the rest of `[join]` is theirs, too. Nobody has the address.
const ANSWERS: &str = r#"
[organisation]
name = "Example Company"
domain = "example.org"
[network]
mode = "dhcp"
[time]
zone = "Etc/UTC"
[keyboard]
layout = "us"
[join]
address = "10.77.0.99"
"#;

const ASKED: &str = "The three words on the lead's screen: ";
const PATIENCE: Duration = Duration::from_secs(300);

/// What is on the serial console of a host.
fn shown(pair: &Hosts, host: &str) -> String {
    let log = pair.state().join(host).join("serial.log");
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The code in what the lead shows.
fn code(text: &str) -> Option<String> {
    let rest = text.split("the code:").nth(1)?;
    Some(rest.lines().next()?.trim().to_owned())
}

/// What the lead says of joining.
fn joining(pair: &Hosts) -> String {
    wait("muster join", PATIENCE, || {
        pair.try_as_root("core", "muster join")
    })
}

/// Sits down at the console of the edge, which asks for a code.
fn sits_down(pair: &Hosts) -> Person {
    wait("the question on the console of edge", PATIENCE, || {
        let asks = shown(pair, "edge").contains("Press Enter to begin");
        asks.then_some(())
    });
    let mut person = Person::starts(pair.command(&["console", "pair", "edge"]));
    person.types("");
    person
}

/// Types the right code; the lead is asked about a host at this address, and lets it in.
fn is_let_in(pair: &Hosts, mut person: Person, address: &str) {
    let code = code(&joining(pair)).expect("a code");
    let typed = Instant::now();
    person.answers(ASKED, &code);
    person.reads("The code is right.", PATIENCE);
    let right = typed.elapsed();
    let asks = format!("edge asks to join, from {address}");
    let said = joining(pair);
    assert!(said.contains(&asks), "{said}");
    assert!(shown(pair, "core").contains(&asks));
    let confirm = "muster join --confirm edge";
    let confirmed = Instant::now();
    let said = pair.as_root("core", confirm);
    let let_in = format!("edge is let in: {address}");
    assert!(said.starts_with(&let_in), "{said}");
    person.reads(
        "This host has joined the site of core and starts now.",
        PATIENCE,
    );
    pair.saw(&format!(
        "right {:.1} s after the code was typed, joined {:.1} s after it was confirmed",
        right.as_secs_f64(),
        confirmed.elapsed().as_secs_f64()
    ));
    person.leaves();
}

pub fn a_person_lets_a_host_join_with_the_code_of_the_lead() {
    let pair = pair().with_password(PASSWORD);
    let hash = muster::site::password::hash(PASSWORD).expect("hashed");
    let admin = format!("[admin]\npassword-hash = \"{hash}\"\n");
    fs::write(
        pair.folder().join("answers.toml"),
        [ANSWERS, &admin].concat(),
    )
    .expect("written");
    pair.must(&[&UP[..], &["--answers", "answers.toml"]].concat());
    let mut person = sits_down(&pair);
    let on_screen = wait("the code on the console of core", PATIENCE, || {
        code(&shown(&pair, "core"))
    });
    pair.saw("the lead shows a code, and edge asks for it");
    let said = joining(&pair);
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    assert_eq!(code(&said).as_ref(), Some(&on_screen));

    person.answers(ASKED, "zoo zoo zooo");
    person.reads("No: `zooo` is no word of a join code", PATIENCE);
    person.answers(ASKED, &on_screen);
    person.reads("No: the lead at 10.77.0.99:7433: ", PATIENCE);
    person.reads("The lead core is at fe80::", PATIENCE);
    pair.saw("nobody is where the answers say, and the lead was found on the wire");
    person.answers(ASKED, "zoo zoo zoo");
    person.reads(
        "No: that is not the code; the lead shows a new one now (4 more",
        PATIENCE,
    );
    is_let_in(&pair, person, "fe80::");
    pair.saw("edge has joined by its link-local address");
    pair.must(&[&UP[..], &["--wait"]].concat());
    pair.saw("both are up");
    let lead = pair.as_root("edge", "cat /var/lib/muster/mesh/lead");
    assert!(lead.starts_with("fe80::") && lead.contains('%'), "{lead}");
    let said = pair.as_root("core", "muster join");
    assert_eq!(said.trim(), "All hosts of the site of core have joined.");
    // The lead is found by a second one, too; a member by nobody.
    let rules = |host: &str| pair.as_root(host, "nft list ruleset");
    assert!(
        rules("core").contains("udp dport 5353"),
        "{}",
        rules("core")
    );
    assert!(!rules("edge").contains("5353"), "{}", rules("edge"));

    // Its role is given to another: this one is hung up, and may not come back.
    let replace = "muster join --replace edge";
    let said = pair.as_root("core", replace);
    assert!(
        said.starts_with("edge is free: the host that joined on "),
        "{said}"
    );
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    wait("the refusal in the log of edge", PATIENCE, || {
        let log = pair.try_as_root("edge", "journalctl -u muster-agent")?;
        log.contains("not a member of this site (any more)")
            .then_some(())
    });
    pair.saw("edge was replaced and stays outside");

    // The one that comes in its place is told where the lead is.
    pair.must(&["down", "pair", "--role", "edge", "--purge", "--yes"]);
    pair.must(&UP);
    let mut person = sits_down(&pair);
    person.answers(ASKED, "10.77.0.10");
    is_let_in(&pair, person, "10.77.0.11");
    pair.saw("another edge has joined by its address in the plan");
    let limit = Duration::from_secs(600);
    pair.until_within(limit, "core", "all green", all_green);
}
