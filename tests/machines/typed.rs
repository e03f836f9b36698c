//! Two machines of another base, the lead set up by a person at its serial console, wrong answers
//! included.

use crate::hosts::Hosts;
use crate::person::Person;
use crate::{screen, starter};
use serde_json::Value;
use std::time::Duration;

/// The least memory that is promised, a disk of the older kind, larger than the image.
const HARDWARE: [&str; 9] = [
    "--direct-kernel",
    "--memory",
    "1024",
    "--disk-bus",
    "sata",
    "--disk",
    "12288",
    "--cpus",
    "1",
];

const PASSWORD: &str = "three quiet herons";

#[test]
fn a_person_at_the_serial_console_gets_two_green_hosts_after_wrong_answers() {
    let site = Hosts::new("starter").with_password(PASSWORD);
    // In a terminal and without answers, `up` leads the person to the console.
    let up = [
        "up",
        "starter",
        "--base",
        "debian-13",
        "--kernel",
        "generic",
    ];
    let mut person = Person::starts(site.command(&[&up[..], &HARDWARE].concat()));
    person.reads("Press Enter to begin", Duration::from_secs(300));
    site.saw("the first question stands on the serial console");
    screen::picture(&site, "core", "typed-lobby");
    person.types("");
    person.answers("Keyboard layout", "qwertz");
    person.reads(
        "No: there is no keyboard layout `qwertz`",
        Duration::from_secs(30),
    );
    person.answers("Keyboard layout", "de");
    person.answers("Name of the organisation", "");
    person.reads("No: this cannot be empty.", Duration::from_secs(30));
    person.answers("Name of the organisation", "Example Ltd");
    screen::picture(&site, "core", "typed-watching");
    person.answers("Domain", "office.local");
    person.reads("No: multicast DNS owns .local", Duration::from_secs(30));
    person.answers("Domain", "Example.org");
    person.reads(
        "No: write the domain in lower case: example.org.",
        Duration::from_secs(30),
    );
    person.answers("Domain", "example.org");
    person.answers("Number", "1");
    person.answers("Time zone", "Europe/Berlim");
    person.reads(
        "No: there is no time zone `Europe/Berlim`",
        Duration::from_secs(30),
    );
    person.answers("Time zone", "Europe/Berlin");
    person.answers("Login name of the administrator", "root");
    person.reads(
        "No: `root` is the name of an account or group",
        Duration::from_secs(30),
    );
    person.answers("Login name of the administrator", "admin");
    person.answers("Full name of the administrator", "");
    person.answers("Password of the administrator", "short");
    person.reads("No: a password has at least", Duration::from_secs(30));
    person.answers("Password of the administrator", PASSWORD);
    person.answers("The same once more", "three quiet herrings");
    person.reads("No: the two passwords differ.", Duration::from_secs(30));
    person.answers("Password of the administrator", PASSWORD);
    person.answers("The same once more", PASSWORD);
    person.answers("Run prometheus", "");
    person.answers("Run node-exporter", "");
    person.answers("Run postgres-exporter", "maybe");
    person.reads("No: answer yes or no.", Duration::from_secs(30));
    person.answers("Run postgres-exporter", "yes");
    person.answers("All right?", "2");
    person.answers("Name of the organisation", "Example Company");
    // `up` has brought its own key; a damaged one is refused, an empty line keeps what was.
    person.answers("All right?", "9");
    person.answers("SSH public key", "ssh-ed25519 AAAA");
    person.reads("No: the key is damaged", Duration::from_secs(30));
    person.answers("SSH public key", "");
    person.answers("All right?", "yes");
    site.saw("every question answered, ten of them wrongly first");
    person.reads("Thank you. The host starts now.", Duration::from_secs(120));
    person.leaves();

    for host in ["core", "edge"] {
        let image = format!("out/starter/{host}.raw");
        site.must(&["verify-image", &image, "--lock", "starter/muster.lock"]);
    }
    site.saw("the images are what their lock says");
    site.must(&[&up[..], &["--no-input", "--wait"]].concat());
    site.saw("bring-up ended green");
    screen::picture(&site, "core", "typed-login");
    let shown: Value =
        serde_json::from_str(&site.must(&["verify", "starter", "--json"])).expect("JSON");
    assert!(starter::is_green(&shown), "{shown:#}");

    let seen = person.seen();
    assert!(
        !seen.contains(PASSWORD),
        "the password stood on the console"
    );
    assert!(
        !seen.contains("short"),
        "a refused password stood on the console"
    );
    // Bracketed, or sudo's own log of this search would be found.
    let pattern = PASSWORD.replacen('q', "[q]", 1);
    for host in ["core", "edge"] {
        let passwd = "getent passwd admin; timedatectl show -p Timezone --value";
        let passwd = site.as_root(host, passwd);
        assert!(passwd.contains("admin"), "{host}: {passwd}");
        assert!(passwd.contains("Europe/Berlin"), "{host}: {passwd}");
        let search = format!("grep -rl '{pattern}' /etc /var /data /usr/share/muster || true");
        let found = site.as_root(host, &search);
        assert_eq!(found, "", "the password is stored in clear on {host}");
        let grown = "df --output=size --block-size=1M /data | tail -n 1";
        let grown = site.as_root(host, grown);
        let grown: u64 = grown.trim().parse().expect("MiB");
        assert!(
            grown > 5500,
            "{host}: the data partition has only {grown} MiB"
        );
    }
    let organisation = site.as_root("edge", "cat /var/lib/muster/site.json");
    assert!(organisation.contains("Example Company"), "{organisation}");
    site.must(&["down", "starter"]);
}
