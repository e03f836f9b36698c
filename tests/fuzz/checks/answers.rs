//! Answers files.

use muster::site::answers::Answers;
use muster::site::question::Questions;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let questions = Questions::of_any_stack();
    let (answers, problems) = Answers::read(text, &questions);
    for problem in &problems {
        if let Some(span) = &problem.span {
            assert!(text.get(span.clone()).is_some(), "{problem:?}");
        }
        let line = problem.line("muster.toml", text);
        assert!(line.starts_with("muster.toml"), "{line}");
    }
    // What was taken is taken again, word for word, and nothing is wrong with it.
    let written = answers.to_toml();
    let (again, problems) = Answers::read(&written, &questions);
    assert!(problems.is_empty(), "{problems:?} in {written}");
    assert_eq!(again, answers, "{written}");
    if let Ok(values) = answers.complete(&questions) {
        for (id, value) in &values {
            let question = questions.get(id);
            assert!(
                question.is_none_or(|question| question.applies(&values)),
                "{id}"
            );
            assert!(!value.contains('\0'));
        }
    }
}
