//! One machine of another base, set up by a person at the serial console, wrong answers
//! included.

use crate::person::Person;
use crate::screen;
use crate::site::Site;
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
fn a_person_at_the_serial_console_gets_a_green_host_after_wrong_answers() {
    let site = Site::on_debian_13("typed");
    // In a terminal and without answers, `up` leads the person to the console.
    let up = [
        "up",
        "office",
        "--base",
        "debian-13",
        "--kernel",
        "generic",
        "--out",
        "out",
    ];
    let mut person = Person::runs(&site, &[&up[..], &HARDWARE].concat());
    person.reads("Press Enter to begin", Duration::from_secs(300));
    site.saw("the first question stands on the serial console");
    screen::picture(&site, "typed-lobby");
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
    screen::picture(&site, "typed-watching");
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

    let waited = site.run(&[&up[..], &["--no-input", "--wait"]].concat());
    assert!(
        waited.status.success(),
        "{}",
        String::from_utf8_lossy(&waited.stderr)
    );
    site.saw("bring-up ended green");
    screen::picture(&site, "typed-login");

    let seen = person.seen();
    assert!(
        !seen.contains(PASSWORD),
        "the password stood on the console"
    );
    assert!(
        !seen.contains("short"),
        "a refused password stood on the console"
    );
    let passwd = site.on_host_as(
        PASSWORD,
        "getent passwd admin; timedatectl show -p Timezone --value",
    );
    assert!(passwd.contains("admin"), "{passwd}");
    assert!(passwd.contains("Europe/Berlin"), "{passwd}");
    // Bracketed, or sudo's own log of this search would be found.
    let pattern = PASSWORD.replacen('q', "[q]", 1);
    let found = site.on_host_as(
        PASSWORD,
        &format!("grep -rl '{pattern}' /etc /var /data /usr/share/muster || true"),
    );
    assert_eq!(found, "", "the password is stored in clear");
    let grown = site.on_host_as(
        PASSWORD,
        "df --output=size --block-size=1M /data | tail -n 1",
    );
    let grown: u64 = grown.trim().parse().expect("MiB");
    assert!(grown > 5500, "the data partition has only {grown} MiB");
    let organisation = site.on_host_as(PASSWORD, "cat /var/lib/muster/site.json");
    assert!(organisation.contains("Example Company"), "{organisation}");
    site.must(&["down", "office"]);
}
