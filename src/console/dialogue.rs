//! The dialogue of first boot: asks what is not answered yet, refuses a bad answer where it
//! is typed, shows a summary and asks whether it is right.

use crate::site::answers::Answers;
use crate::site::password;
use crate::site::question::{Kind, PASSWORD, Question, Questions, Values};
use crate::site::refusal::Refusal;
use crate::site::rules::person;
use std::io;

/// What a person did at a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// They typed this.
    Text(String),
    /// They gave up this prompt; ask again.
    Again,
    /// They typed bytes that are no text.
    Unreadable,
}

/// A way to ask: plain prompts on a serial line, dialoguer on a workstation's terminal.
pub trait Asker {
    /// A line for the person.
    fn say(&mut self, text: &str) -> io::Result<()>;
    /// Text; `default` is what an empty line means.
    fn line(&mut self, text: &str, default: Option<&str>) -> io::Result<Typed>;
    /// Text that is not shown.
    fn secret(&mut self, text: &str) -> io::Result<Typed>;
    /// One of some values, each with words for people.
    fn choose(
        &mut self,
        text: &str,
        choices: &[(String, String)],
        default: Option<&str>,
    ) -> io::Result<Typed>;
}

/// Why the dialogue ended early.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// The terminal is gone.
    #[error("the terminal is gone: {0}")]
    Lost(#[from] io::Error),
    /// Keeping what was answered failed.
    #[error("cannot keep the answers: {0}")]
    Keep(io::Error),
    /// A password cannot be hashed.
    #[error(transparent)]
    Hash(#[from] password::HashError),
}

/// Ends the text of a question that need not be answered.
const EMPTY: &str = " (empty: none)";

/// What a person reads who presses Ctrl-C.
const GIVEN_UP: &str = "  This line is given up, and nothing else. ? explains the question.";

/// Told of each answer as it is given, with its question's id: keeps it, applies the keyboard,
/// and may say something.
pub type Given<'a> = &'a mut dyn FnMut(&str, &Answers, &mut dyn Asker) -> io::Result<()>;

/// Asks until every question has an answer and the person says that all are right.
pub fn run(
    asker: &mut dyn Asker,
    questions: &Questions,
    answers: &mut Answers,
    given: Given<'_>,
) -> Result<(), DialogueError> {
    answers.settle(questions);
    loop {
        for question in &questions.list {
            if question.applies(&answers.values) && !answers.values.contains_key(&question.id) {
                ask(asker, question, None, answers, given)?;
            }
        }
        let asked: Vec<&Question> = questions
            .list
            .iter()
            .filter(|one| one.applies(&answers.values))
            .collect();
        let Some(again) = confirm(asker, &asked, &answers.values)? else {
            return Ok(());
        };
        // The old answer stands until there is a new one: the terminal may go before.
        let before = answers.values.get(&again.id).cloned();
        ask(asker, again, before.as_deref(), answers, given)?;
        // What rests on the changed answer may be impossible now, and is asked again.
        answers.settle(questions);
    }
}

fn ask(
    asker: &mut dyn Asker,
    question: &Question,
    before: Option<&str>,
    answers: &mut Answers,
    given: Given<'_>,
) -> Result<(), DialogueError> {
    let value = loop {
        let typed = match question.kind {
            Kind::Password => new_password(asker, question, &answers.values)?,
            _ => typed(asker, question, before)?,
        };
        let Some(text) = typed else { continue };
        match question.check(&text, &answers.values) {
            Ok(value) => break value,
            Err(refusal) => refuse(asker, &refusal)?,
        }
    };
    answers.values.insert(question.id.clone(), value);
    given(&question.id, answers, asker).map_err(DialogueError::Keep)
}

/// Says why not.
fn refuse(asker: &mut dyn Asker, refusal: &Refusal) -> io::Result<()> {
    let words = refusal.to_string();
    let stop = if words.ends_with('?') { "" } else { "." };
    asker.say(&format!("  No: {words}{stop}"))
}

/// What was typed as text; nothing when the prompt must be put again, for the reason said here.
pub(super) fn text(asker: &mut dyn Asker, typed: Typed) -> io::Result<Option<String>> {
    match typed {
        Typed::Text(text) => return Ok(Some(text)),
        Typed::Again => asker.say(GIVEN_UP)?,
        Typed::Unreadable => refuse(asker, &Refusal::NotUtf8)?,
    }
    Ok(None)
}

/// One answer as typed; nothing when the question must be put again.
fn typed(
    asker: &mut dyn Asker,
    question: &Question,
    before: Option<&str>,
) -> io::Result<Option<String>> {
    let default = before.or(question.default.as_deref());
    let optional = question.default.as_deref() == Some("");
    let yes_no = [
        ("yes".to_string(), "yes".to_string()),
        ("no".to_string(), "no".to_string()),
    ];
    // Once there is an answer, an empty line keeps it.
    let prompt = match default {
        Some(before) if optional && !before.is_empty() => {
            question.text.replace(EMPTY, " (-: none)")
        }
        _ => question.text.clone(),
    };
    let typed = match &question.kind {
        Kind::Choice(choices) => asker.choose(&prompt, choices, default)?,
        Kind::YesNo => asker.choose(&prompt, &yes_no, default)?,
        Kind::Line(_) | Kind::Password => asker.line(&prompt, default)?,
    };
    let Some(typed) = text(asker, typed)? else {
        return Ok(None);
    };
    Ok(match typed.trim() {
        "?" => {
            asker.say(&format!("  {}", question.help))?;
            None
        }
        // Only where nothing is an answer can a single hyphen mean it.
        "-" if optional => Some(String::new()),
        "" => Some(default.unwrap_or_default().to_string()),
        text => Some(text.to_string()),
    })
}

/// The hash of a password typed twice; nothing when it must be typed again.
fn new_password(
    asker: &mut dyn Asker,
    question: &Question,
    values: &Values,
) -> Result<Option<String>, DialogueError> {
    let typed = asker.secret(&question.text)?;
    let Some(first) = text(asker, typed)? else {
        return Ok(None);
    };
    if first == "?" {
        asker.say(&format!("  {}", question.help))?;
        return Ok(None);
    }
    if let Err(refusal) = person::password(&first, values.get("admin.name").map(String::as_str)) {
        refuse(asker, &refusal)?;
        return Ok(None);
    }
    let typed = asker.secret("The same once more")?;
    let Some(second) = text(asker, typed)? else {
        return Ok(None);
    };
    if first != second {
        refuse(asker, &Refusal::PasswordsDiffer)?;
        return Ok(None);
    }
    Ok(Some(password::hash(&first)?))
}

/// Shows all answers; the question to put again, or none when all is right.
fn confirm<'q>(
    asker: &mut dyn Asker,
    asked: &[&'q Question],
    values: &Values,
) -> io::Result<Option<&'q Question>> {
    loop {
        asker.say("")?;
        asker.say("Your answers:")?;
        for (number, question) in asked.iter().enumerate() {
            let value = values
                .get(&question.id)
                .map(String::as_str)
                .unwrap_or_default();
            let shown = shown(question, value);
            let text = question.text.trim_end_matches('?').trim_end_matches(EMPTY);
            asker.say(&format!("  {:>2}) {text}: {shown}", number + 1))?;
        }
        let prompt = "All right? yes, or the number of an answer to change";
        let typed = asker.line(prompt, None)?;
        let Some(text) = text(asker, typed)? else {
            continue;
        };
        match text.trim().to_lowercase().as_str() {
            "yes" | "y" => return Ok(None),
            "?" => asker.say(
                "  yes: the host starts with these answers. A number: that question is asked \
                 again.",
            )?,
            "" => asker.say("  Type yes, or the number of the answer to change.")?,
            "no" | "n" => asker.say("  Type the number of the answer to change.")?,
            text => match text
                .parse::<usize>()
                .ok()
                .and_then(|n| asked.get(n.wrapping_sub(1)))
            {
                Some(question) => return Ok(Some(question)),
                None => asker.say(&format!("  No: there is no answer {text:?}."))?,
            },
        }
    }
}

/// An answer as the summary shows it.
fn shown(question: &Question, value: &str) -> String {
    match (question.id.as_str(), value) {
        (PASSWORD, _) => "(set)".into(),
        (_, "") => "(none)".into(),
        (_, value) => brief(value),
    }
}

/// The first line of a value, cut in the middle when it is long.
pub(super) fn brief(value: &str) -> String {
    let lines = value.lines().count();
    let first: Vec<char> = value.lines().next().unwrap_or_default().chars().collect();
    let mut text = match first.len() {
        0..=50 => first.iter().collect::<String>(),
        length => {
            let start: String = first[..24].iter().collect();
            let end: String = first[length - 22..].iter().collect();
            format!("{start}...{end}")
        }
    };
    if lines > 1 {
        text.push_str(&format!(" and {} more", lines - 1));
    }
    text
}
