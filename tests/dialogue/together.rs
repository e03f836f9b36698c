//! Two people at two consoles.

use crate::person::{PASSWORD, PROMPTS, Person, dev, expect_answers, hold};
use muster::site::answers::Answers;

#[test]
fn whoever_presses_enter_first_answers_and_the_other_console_says_where() {
    let dev = dev();
    let mut screen = Person::sits_down_at(&dev.path().join("tty1"));
    let mut serial = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&screen, &serial], Answers::default());
    screen.reads("Press Enter to begin.");
    serial.answers("Press Enter to begin.", "");
    screen.reads("The questions are being answered on ttyS0.");
    screen.reads(
        "To answer them on this console instead, type \"here\" (not shown) and press Enter.",
    );
    serial.answers_from(0);
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
}

#[test]
fn of_two_who_begin_in_the_same_moment_one_answers_and_the_other_types_into_nothing() {
    for _ in 0..10 {
        let dev = dev();
        let mut screen = Person::sits_down_at(&dev.path().join("tty1"));
        let mut serial = Person::sits_down_at(&dev.path().join("ttyS0"));
        let held = hold(&[&screen, &serial], Answers::default());
        std::thread::scope(|scope| {
            scope.spawn(|| screen.types("\rde\rOf the screen\r"));
            scope.spawn(|| serial.types("\rfr\rOf the line\r"));
        });
        screen.reads("Press Enter to begin.");
        let first = screen.reads_either(&["Keyboard layout [us]:", "being answered on ttyS0."]);
        let (mut leads, mut watches, layout, name) = match first {
            0 => (screen, serial, "de", "Of the screen"),
            _ => (serial, screen, "fr", "Of the line"),
        };
        for (_, prompt, answer) in &PROMPTS[2..] {
            watches.types("no\r");
            leads.answers(prompt, answer);
        }
        let (ended, answers, _) = held.join().expect("it ends");
        ended.expect("answered");
        assert_eq!(answers.values["keyboard.layout"], layout);
        assert_eq!(answers.values["organisation.name"], name);
        assert_eq!(answers.values["services.postgres-exporter"], "yes");
        let seen = String::from_utf8(watches.hangs_up()).expect("text");
        assert!(!seen.contains("Keyboard layout"), "{seen}");
    }
}

#[test]
fn a_console_that_watches_can_take_over_in_every_question_and_the_other_one_take_it_back() {
    let dev = dev();
    let mut answers = Person::sits_down_at(&dev.path().join("tty1"));
    let mut watches = Person::sits_down_at(&dev.path().join("ttyS0"));
    let held = hold(&[&answers, &watches], Answers::default());
    watches.reads("Press Enter to begin.");
    answers.answers("Press Enter to begin.", "");
    for (place, (_, prompt, typed)) in PROMPTS.iter().enumerate() {
        let again = prompt.starts_with("The same");
        answers.reads(prompt);
        answers.types("half a thought");
        watches.reads("The questions are being answered on ");
        watches.types("there\r");
        watches.reads("The questions are being answered on ");
        watches.types("here\r");
        // Whoever had it is told, and what they go on typing is nobody's answer.
        answers.reads("The questions are being answered on ");
        answers.types(&format!("{PASSWORD}\r"));
        answers.reads("The questions are being answered on ");
        if again {
            watches.answers(PROMPTS[place - 1].1, PASSWORD);
        }
        watches.answers(prompt, typed);
        // From here on the two have changed places; the notice above is read again.
        (answers, watches) = (watches, answers);
        watches.types("\x03");
    }
    let (ended, given, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&given, PROMPTS.len() - 1);
    for seen in [answers.hangs_up(), watches.hangs_up()] {
        let seen = String::from_utf8(seen).expect("text");
        assert!(!seen.contains(PASSWORD), "{seen}");
    }
}
