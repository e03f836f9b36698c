//! A host that a person lets in, with the code that the lead shows.

use crate::hosts::Hosts;
use crate::pair::{UP, pair};
use crate::person::Person;
use crate::site::wait;
use std::fs;
use std::time::Duration;

const PASSWORD: &str = "three quiet herons";

/// Of somebody who wants no token: the rest of `[join]` is theirs, too.
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
address = "10.77.0.10"
"#;

/// What a command says to root of [`PASSWORD`]; nothing where it fails.
fn by_root(pair: &Hosts, host: &str, script: &str) -> Option<String> {
    let output = pair.run_as_root(host, PASSWORD, script);
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        pair.saw(String::from_utf8_lossy(&output.stderr).trim());
    }
    output.status.success().then_some(said)
}

pub fn a_person_lets_a_host_join_with_the_code_of_the_lead() {
    let pair = pair();
    let hash = muster::site::password::hash(PASSWORD).expect("hashed");
    let admin = format!("[admin]\npassword-hash = \"{hash}\"\n");
    fs::write(
        pair.folder().join("answers.toml"),
        [ANSWERS, &admin].concat(),
    )
    .expect("written");
    let patience = Duration::from_secs(300);
    pair.must(&[&UP[..], &["--answers", "answers.toml"]].concat());
    let shown = |role: &str| {
        let log = pair.state().join(role).join("serial.log");
        let bytes = fs::read(log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    wait("the question on the console of edge", patience, || {
        shown("edge").contains("Press Enter to begin").then_some(())
    });
    let code = |text: &str| {
        let rest = text.split("the code:").nth(1)?;
        Some(rest.lines().next()?.trim().to_owned())
    };
    let on_screen = wait("the code on the console of core", patience, || {
        code(&shown("core"))
    });
    pair.saw("the lead shows a code, and edge asks for it");
    let joining = || by_root(&pair, "core", "muster join");
    let said = wait("muster join", patience, joining);
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    assert_eq!(code(&said), Some(on_screen));

    let mut person = Person::starts(pair.command(&["console", "pair", "edge"]));
    person.types("");
    let asked = "The three words on the lead's screen: ";
    person.answers(asked, "zoo zoo zooo");
    person.reads("No: `zooo` is no word of a join code", patience);
    person.answers(asked, "zoo zoo zoo");
    person.reads(
        "No: that is not the code; the lead shows a new one now (4 more",
        patience,
    );
    let said = wait("muster join", patience, joining);
    person.answers(asked, &code(&said).expect("a code"));
    person.reads("The code is right.", patience);
    let said = wait("muster join", patience, joining);
    assert!(
        said.contains("edge asks to join, from 10.77.0.11;"),
        "{said}"
    );
    assert!(shown("core").contains("edge asks to join, from 10.77.0.11;"));
    let confirm = "muster join --confirm edge";
    let said = by_root(&pair, "core", confirm).expect("confirmed");
    assert!(
        said.starts_with("edge is let in: 10.77.0.11, key "),
        "{said}"
    );
    person.reads(
        "This host has joined the site of core and starts now.",
        patience,
    );
    pair.saw("edge has joined");
    person.leaves();
    pair.must(&[&UP[..], &["--wait"]].concat());
    pair.saw("both are up");
    let said = by_root(&pair, "core", "muster join").expect("shown");
    assert_eq!(said, "All hosts of the site of core have joined.");
    // The lead is found by a second one, too; a member by nobody.
    let rules = |host: &str| by_root(&pair, host, "nft list ruleset").expect("rules");
    assert!(
        rules("core").contains("udp dport 5353"),
        "{}",
        rules("core")
    );
    assert!(!rules("edge").contains("5353"), "{}", rules("edge"));

    // Its role is given to another: this one is hung up, and may not come back.
    let replace = "muster join --replace edge";
    let said = by_root(&pair, "core", replace).expect("replaced");
    assert!(
        said.starts_with("edge is free: the host that joined on "),
        "{said}"
    );
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    wait("the refusal in the log of edge", patience, || {
        let log = by_root(&pair, "edge", "journalctl -u muster-agent")?;
        log.contains("not a member of this site (any more)")
            .then_some(())
    });
    pair.saw("edge was replaced and stays outside");
}
