//! Keys that are no letters, however their bytes arrive.

use crate::person::{PASSWORD, PROMPTS, Person, dev, expect_answers, hold, resumed, verifies};
use muster::site::answers::Answers;
use std::time::Duration;

/// Longer than a serial line at 300 baud takes from byte to byte.
const GAP: Duration = Duration::from_millis(40);

/// Keys and what else terminals send, none of which is text.
const KEYS: [&[u8]; 24] = [
    b"\x1b[A",        // up
    b"\x1b[1;5C",     // Ctrl and right
    b"\x1bOH",        // Home of a keypad
    b"\x1b[1~",       // Home
    b"\x1b[4~",       // End
    b"\x1b[3~",       // Delete
    b"\x1b[[A",       // F1 of Linux
    b"\x1b[[E",       // F5 of Linux
    b"\x1bOP",        // F1 of xterm
    b"\x1bO2P",       // Shift and F1
    b"\x1b[24~",      // F12
    b"\x1b[200~",     // a paste begins
    b"\x1b[201~",     // a paste ends
    b"\x1b[?62;1;6c", // a VT220 says what it is
    b"\x1b[24;80R",   // where the cursor is
    b"\x1b[5 q",      // one nobody knows, with an intermediate byte
    b"\x1b\x1b[A",    // Escape, then up
    b"\x9b3~",        // Delete of a terminal with eight bits
    "\u{9b}3~".as_bytes(),
    b"\x00",
    b"\x11\x13", // XON, XOFF
    b"\x07\x09", // bell, tab
    b"Q\x08",
    "\u{fc}\x7f".as_bytes(),
];

#[test]
fn no_key_that_is_no_letter_leaves_a_trace_wherever_its_bytes_are_split() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    for key in KEYS {
        let typed = [b"a", key, b"b\r"].concat();
        person.reads("Keyboard layout [us]: ");
        person.presses_slowly(&typed, GAP);
        person.reads("No: there is no keyboard layout `ab`");
        for place in 1..typed.len() - 1 {
            person.reads("Keyboard layout [us]: ");
            person.presses(&typed[..place]);
            std::thread::sleep(GAP);
            person.presses(&typed[place..]);
            person.reads("No: there is no keyboard layout `ab`");
        }
    }
    // A lone Escape is nothing, and the letters behind it are letters.
    person.reads("Keyboard layout [us]: ");
    person.presses_slowly(b"\x1babc\x1b\r", GAP);
    person.reads("No: there is no keyboard layout `abc`");
    person.reads("Keyboard layout [us]: ");
    person.types("us\r");
    // Letters of several bytes, split in the middle.
    person.reads("Name of the organisation: ");
    person.presses_slowly("\u{c4}nne \u{6771}\u{4eac}\r".as_bytes(), GAP);
    person.reads("\u{c4}nne \u{6771}\u{4eac}");
    for (_, prompt, answer) in &PROMPTS[2..10] {
        person.answers(prompt, answer);
    }
    // In a password they leave none either, unseen as it is.
    person.reads("Password of the administrator (not shown): ");
    let (start, end) = PASSWORD.split_at(7);
    person.types(start);
    person.presses_slowly(&KEYS.concat(), Duration::from_millis(1));
    person.types(&format!("{end}\r"));
    person.answers_from(11);
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    assert_eq!(
        answers.values["organisation.name"],
        "\u{c4}nne \u{6771}\u{4eac}"
    );
    assert!(verifies(&answers.values["admin.password-hash"], PASSWORD));
}

#[test]
fn bytes_that_are_no_text_are_refused_and_never_become_a_password() {
    const WORDS: &str = "No: some of that is not UTF-8; set the terminal to UTF-8, or leave \
                         letters with accents out.";
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    person.answers(PROMPTS[0].1, PROMPTS[0].2);
    person.reads("Name of the organisation: ");
    person.presses(b"M\xfcller Ltd\r");
    person.reads("M?ller Ltd");
    person.reads(WORDS);
    for (_, prompt, answer) in &PROMPTS[1..10] {
        person.answers(prompt, answer);
    }
    // As a terminal set to Latin-1 sends it: nobody could log in with what is left of it.
    person.reads("Password of the administrator (not shown): ");
    person.presses(b"l\xe4nger als zehn\r");
    person.reads(WORDS);
    person.answers("Password of the administrator (not shown): ", PASSWORD);
    person.reads("The same once more (not shown): ");
    person.presses(b"correct horse b\xe4ttery\r");
    person.reads(WORDS);
    person.answers_from(10);
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
}

#[test]
fn ctrl_c_and_its_like_give_up_the_line_in_every_question_and_nothing_else() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&person], Answers::default());
    person.reads("Press Enter to begin.");
    // Before anybody has begun they are nothing at all.
    person.presses(b"\x03\x04\x1a\x1c\r");
    for (place, (_, prompt, answer)) in PROMPTS.iter().enumerate() {
        for key in [0x03, 0x04, 0x1a, 0x1c] {
            person.reads(prompt);
            person.presses(b"half a thought");
            person.presses(&[key]);
            person.reads("This line is given up, and nothing else. ? explains the question.");
            for (_, prompt, answer) in &PROMPTS[resumed(place)..place] {
                person.answers(prompt, answer);
            }
        }
        person.answers(prompt, answer);
    }
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
}
