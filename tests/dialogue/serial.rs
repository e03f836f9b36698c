//! Slow lines, and people who are faster than the questions.

use crate::person::{PASSWORD, PROMPTS, Person, dev, expect_answers, hold};
use muster::site::answers::Answers;
use std::time::Duration;

/// A start and a stop bit to each byte.
fn at_baud(baud: u32) {
    let dev = dev();
    let mut person = Person::at_a_slow_line(&dev.path().join("ttyS0"), baud / 10);
    let held = hold(&[&person], Answers::default());
    let gap = Duration::from_secs(10) / baud;
    person.reads("Press Enter to begin.");
    person.presses_slowly(b"\r\n", gap);
    for (_, prompt, answer) in PROMPTS {
        person.reads(prompt);
        let help = if prompt.starts_with("The same") {
            ""
        } else {
            "?\r"
        };
        person.presses_slowly(format!("{help}{answer}\x1b[D\r\n").as_bytes(), gap);
    }
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
    let seen = String::from_utf8(person.hangs_up()).expect("text");
    assert!(!seen.contains(PASSWORD));
}

#[test]
fn the_whole_dialogue_at_9600_baud() {
    at_baud(9600);
}

#[test]
fn the_whole_dialogue_at_115200_baud() {
    at_baud(115_200);
}

/// Everything at once, each line ended like this.
fn typed_ahead(before: &str, end: &str, after: &str) {
    let dev = dev();
    let mut person = Person::at_a_slow_line(&dev.path().join("ttyS0"), 11_520);
    let held = hold(&[&person], Answers::default());
    let lines: String = PROMPTS
        .iter()
        .map(|(_, _, answer)| format!("{answer}{end}"))
        .collect();
    // What comes before the first Enter is noise of the line.
    person.types(&format!("noise{end}{before}{lines}{after}"));
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
    person.reads("Press Enter to begin.");
    for (_, prompt, _) in PROMPTS {
        person.reads(prompt);
    }
    let seen = String::from_utf8(person.hangs_up()).expect("text");
    assert!(!seen.contains(PASSWORD), "{seen}");
    assert!(!seen.contains("noise"), "{seen}");
}

#[test]
fn what_is_typed_ahead_answers_the_questions_and_a_password_stays_unseen() {
    typed_ahead("", "\r", "");
}

#[test]
fn pasted_lines_answer_the_questions() {
    typed_ahead("\x1b[200~", "\r\n", "\x1b[201~");
    typed_ahead("", "\n", "");
}

#[test]
fn a_line_that_takes_nothing_for_a_while_is_not_given_up() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    person.reads(PROMPTS[0].1);
    // More help than the line's buffer holds.
    person.takes(false);
    const TIMES: usize = 800;
    person.types(&"?\r".repeat(TIMES));
    std::thread::sleep(Duration::from_secs(5));
    person.takes(true);
    for _ in 0..TIMES {
        person.reads("The layout of the keyboard at the screen");
        person.reads(PROMPTS[0].1);
    }
    person.types("us\r");
    person.answers_from(1);
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
}
