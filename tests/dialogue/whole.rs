//! One dialogue with every mistake in it.

use crate::person::{PASSWORD, Person, dev, hold_with, verifies};
use muster::console::events::Events;
use muster::site::answers::Answers;
use muster::site::question::Questions;

#[test]
fn a_person_answers_over_serial_with_mistakes_that_are_refused_where_they_are_typed() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let questions = Questions::of_any_stack();
    let held = hold_with(&[&person], Answers::default(), questions, Events::none());
    person.reads("Press Enter to begin.");
    // As many serial programs send it; the line feed must not answer the first question.
    person.types("\r\n");
    person.answers("Keyboard layout [us]: ", "german");
    person.reads("No: there is no keyboard layout `german`; did you mean de?");
    person.answers("Keyboard layout [us]: ", "de");
    person.answers("Name of the organisation: ", "");
    person.reads("No: this cannot be empty.");
    person.answers("Name of the organisation: ", "Exx\x7fample\x1b[D Ltd");
    person.answers("Domain: ", "firma.local");
    person.reads("multicast DNS owns .local");
    person.answers("Domain: ", "?");
    person.reads("A domain that you own");
    person.answers("Domain: ", "half a thought\x03");
    person.answers("Domain: ", "example.org");
    person.reads("1) dhcp: from the network (DHCP)");
    person.answers("Number [dhcp]: ", "2");
    person.answers("Address with prefix length: ", "192.0.2.10");
    person.reads("No: write the address with its prefix length");
    person.answers("Address with prefix length: ", "192.0.2.10/24");
    person.answers("Gateway (empty: none): ", "198.51.100.1");
    person.reads("No: 198.51.100.1 is not in 192.0.2.0/24, so this host cannot reach it.");
    person.answers("Gateway (empty: none): ", "192.0.2.1");
    person.answers("Name servers (empty: none): ", "192.0.2.1, 192.0.2.2");
    person.answers("Time zone [UTC]: ", "");
    person.answers("Login name of the administrator [admin]: ", "root");
    person.reads("No: `root` is the name of an account");
    person.answers("Login name of the administrator [admin]: ", "anna");
    person.answers(
        "Full name of the administrator [Administrator]: ",
        "Änna Müller",
    );
    person.answers("Password of the administrator (not shown): ", "anna");
    person.reads("No: the password contains the account's name.");
    person.answers("Password of the administrator (not shown): ", PASSWORD);
    person.answers("The same once more (not shown): ", "something else");
    person.reads("No: the two passwords differ.");
    person.answers("Password of the administrator (not shown): ", PASSWORD);
    person.answers("The same once more (not shown): ", PASSWORD);
    person.answers("SSH public key of the administrator (empty: none): ", "");
    person.reads(" 1) Keyboard layout: de");
    person.answers("or the number of an answer to change: ", "4");
    person.answers("Number [static]: ", "1");
    person.reads("All right?");
    person.answers("or the number of an answer to change: ", "99");
    person.reads("No: there is no answer \"99\".");
    person.answers("or the number of an answer to change: ", "");
    person.reads("Type yes, or the number of the answer to change.");
    person.answers("or the number of an answer to change: ", "?");
    person.reads("yes: the host starts with these answers.");
    person.answers("or the number of an answer to change: ", "yes");

    let (ended, answers, order) = held.join().expect("it ends");
    ended.expect("answered");
    let value = |id: &str| answers.values.get(id).map(String::as_str);
    assert_eq!(value("keyboard.layout"), Some("de"));
    assert_eq!(value("organisation.name"), Some("Example Ltd"));
    assert_eq!(value("organisation.domain"), Some("example.org"));
    assert_eq!(value("network.mode"), Some("dhcp"));
    assert_eq!(
        value("network.address"),
        None,
        "an address means nothing with DHCP"
    );
    assert_eq!(value("time.zone"), Some("UTC"));
    assert_eq!(value("admin.name"), Some("anna"));
    assert_eq!(value("admin.full-name"), Some("Änna Müller"));
    assert_eq!(value("admin.ssh-key"), Some(""));
    assert!(verifies(
        value("admin.password-hash").expect("hashed"),
        PASSWORD
    ));
    assert_eq!(
        order[0], "keyboard.layout",
        "applied before anything else is typed"
    );
    let seen = String::from_utf8(person.hangs_up()).expect("text");
    assert!(!seen.contains(PASSWORD) && !seen.contains("something else"));
}
