//! Terminals of every size and setting.

use crate::person::{PROMPTS, Person, dev, expect_answers, hold};
use dialoguer::console::measure_text_width;
use muster::site::answers::Answers;
use nix::pty::openpty;
use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags, Termios, tcgetattr};

/// A whole dialogue in which each question is explained; all that was shown.
fn shown(mut person: Person) -> String {
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    for (_, prompt, answer) in PROMPTS {
        person.answers(prompt, "?");
        if prompt.starts_with("The same") {
            person.reads("No: the two passwords differ.");
            person.answers(PROMPTS[10].1, PROMPTS[10].2);
        }
        person.answers(prompt, answer);
    }
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
    String::from_utf8(person.hangs_up()).expect("text")
}

#[test]
fn a_terminal_of_any_size_shows_the_same_lines_and_none_is_cut_within_a_word() {
    let dev = dev();
    let device = dev.path().join("ttyS0");
    let usual = shown(Person::at_a_screen_of(&device, 80, 24));
    for (columns, rows) in [(0, 0), (1, 1), (500, 200), (u16::MAX, u16::MAX)] {
        let other = shown(Person::at_a_screen_of(&device, columns, rows));
        assert_eq!(other, usual, "{columns}x{rows}");
    }
    assert!(!usual.contains('\x1b'), "{usual:?}");
    for line in usual.lines() {
        assert!(measure_text_width(line) < 80, "{line}");
    }
    assert!(
        usual.contains("\r\n  directory are named after it, and changing it later is hard.\r\n"),
        "{usual}"
    );
}

/// How a terminal stands that something else has left like this.
fn odd() -> Termios {
    let pair = openpty(None, None).expect("a pty");
    let mut odd = tcgetattr(&pair.slave).expect("settings");
    odd.input_flags
        .insert(InputFlags::ISTRIP | InputFlags::PARMRK | InputFlags::IXON | InputFlags::INLCR);
    odd.output_flags
        .insert(OutputFlags::OCRNL | OutputFlags::ONLRET | OutputFlags::OLCUC);
    odd.local_flags.remove(LocalFlags::ECHO);
    odd
}

#[test]
fn odd_settings_of_a_terminal_change_neither_text_nor_screen_and_are_put_back() {
    let dev = dev();
    let device = dev.path().join("ttyS0");
    let odd = odd();
    let usual = shown(Person::sits_down_at(&device));
    let mut person = Person::at_a_terminal_set_to(&device, &odd);
    let name = std::fs::read_link(&device).expect("a terminal");
    let slave = std::fs::File::open(name).expect("a terminal");
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    person.answers_from(0);
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
    let after = tcgetattr(&slave).expect("settings");
    assert_eq!(after.input_flags, odd.input_flags);
    assert_eq!(after.output_flags, odd.output_flags);
    assert_eq!(after.local_flags, odd.local_flags);
    drop(slave);
    let seen = String::from_utf8(person.hangs_up()).expect("text");
    for line in seen.lines() {
        assert!(usual.contains(line), "{line:?}");
    }
}
