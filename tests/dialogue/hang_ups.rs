//! Lines that go away, in every question.

use crate::person::{PROMPTS, Person, dev, expect_answers, hold, resumed};
use muster::site::answers::Answers;

#[test]
fn the_only_line_hangs_up_in_every_question_and_the_dialogue_goes_on_when_it_is_back() {
    let dev = dev();
    let device = dev.path().join("ttyS0");
    let mut person = Person::sits_down_at(&device);
    let held = hold(&[&person], Answers::default());
    for place in 0..PROMPTS.len() {
        person.answers("Press Enter to begin.", "");
        person.reads(PROMPTS[resumed(place)].1);
        if resumed(place) < place {
            person.types(&format!("{}\r", PROMPTS[resumed(place)].2));
            person.reads(PROMPTS[place].1);
        }
        person.types("half a thought");
        person.hangs_up();
        person = Person::sits_down_at(&device);
        person.answers("Press Enter to begin.", "");
        for (_, prompt, answer) in &PROMPTS[resumed(place)..=place] {
            person.answers(prompt, answer);
        }
        if place + 1 < PROMPTS.len() {
            // Answered, and gone before the next question is.
            person.reads(PROMPTS[place + 1].1);
            person.hangs_up();
            person = Person::sits_down_at(&device);
        }
    }
    let (ended, answers, order) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
    assert_eq!(
        order.len(),
        15,
        "each question was answered once: {order:?}"
    );
}

#[test]
fn whoever_is_at_the_other_console_goes_on_where_a_line_hung_up() {
    let dev = dev();
    let (one, other) = (dev.path().join("tty1"), dev.path().join("ttyS0"));
    let mut answers = Person::sits_down_at(&one);
    let mut watches = Person::sits_down_at(&other);
    let held = hold(&[&answers, &watches], Answers::default());
    watches.reads("Press Enter to begin.");
    answers.answers("Press Enter to begin.", "");
    for place in 0..PROMPTS.len() {
        for (_, prompt, typed) in &PROMPTS[resumed(place)..place] {
            answers.answers(prompt, typed);
        }
        watches.reads("The questions are being answered on ");
        watches.types("not\ran\ranswer\r");
        answers.reads(PROMPTS[place].1);
        answers.types("half a thought");
        let device = answers.device().to_path_buf();
        answers.hangs_up();
        // What was typed there before begins nothing.
        watches.reads("Press Enter to begin.");
        let seen = watches.looks();
        assert!(!seen.contains(':'), "{seen}");
        watches.types("\r");
        for (_, prompt, typed) in &PROMPTS[resumed(place)..place] {
            watches.answers(prompt, typed);
        }
        watches.reads(PROMPTS[place].1);
        let back = Person::sits_down_at(&device);
        watches.types(&format!("{}\r", PROMPTS[place].2));
        (answers, watches) = (watches, back);
        if place + 1 < PROMPTS.len() && resumed(place + 1) == place {
            // The next round types the password itself.
            answers.reads(PROMPTS[place + 1].1);
            answers.types("\x03");
        }
    }
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    expect_answers(&answers, PROMPTS.len() - 1);
}

#[test]
fn an_answer_that_is_being_changed_stands_until_there_is_a_new_one() {
    let dev = dev();
    let device = dev.path().join("ttyS0");
    let mut person = Person::sits_down_at(&device);
    let held = hold(&[&person], Answers::default());
    person.answers("Press Enter to begin.", "");
    for (_, prompt, answer) in &PROMPTS[..16] {
        person.answers(prompt, answer);
    }
    person.answers("or the number of an answer to change: ", "3");
    person.reads("Domain [example.org]: ");
    person.types("half.a.tho");
    person.hangs_up();
    person = Person::sits_down_at(&device);
    person.answers("Press Enter to begin.", "");
    person.reads(" 3) Domain: example.org");
    person.answers("or the number of an answer to change: ", "7");
    person.answers("Name servers (-: none) [192.0.2.1]: ", "-");
    person.reads(" 7) Name servers: (none)");
    person.answers("or the number of an answer to change: ", "yes");
    let (ended, answers, _) = held.join().expect("it ends");
    ended.expect("answered");
    assert_eq!(answers.values["organisation.domain"], "example.org");
    assert_eq!(answers.values["network.dns"], "");
}
