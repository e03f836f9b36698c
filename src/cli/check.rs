//! `muster check`: reads profiles and says what is wrong with them.

use super::out::say;
use super::{Cli, choice, exit, out, report};
use crate::profile::problem::{Place, Problem, Text};
use crate::profile::{Choice, Demo, ProfileError, Source, Stack};
use crate::site::demo;
use crate::site::question::Questions;
use serde_json::json;
use toml::de::{DeTable, DeValue};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory; without it every stack there is
    #[arg(value_name = "STACK")]
    pub stack: Option<String>,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// One JSON object per stack (docs/schemas/check.json)
    #[arg(long)]
    pub json: bool,
}

/// Runs it: 0 when all are sound, 3 when one is not.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let source = cli.source();
    let names: Vec<String> = match &args.stack {
        Some(name) => vec![name.clone()],
        None => source
            .stacks()
            .map_err(report::profile)?
            .into_iter()
            .collect(),
    };
    let mut code = exit::OK;
    for name in names {
        let loaded = load(&source, &name, args.choice.choice());
        if loaded.is_err() {
            code = exit::INVALID;
        }
        let text = match &loaded {
            Ok(stack) if args.json => {
                json!({ "stack": stack.name, "sound": true, "problems": [] }).to_string()
            }
            Ok(stack) => line(stack),
            Err(error) if args.json => {
                let problems = report::problems(error);
                json!({ "stack": name, "sound": false, "problems": problems }).to_string()
            }
            Err(_) => format!("{name}: not sound"),
        };
        out::write(text + "\n")?;
        if let (Err(error), false) = (loaded, args.json) {
            say!("{:?}", report::profile(error));
        }
    }
    Ok(code)
}

/// The stack, if it is sound and so is its demonstration.
fn load(source: &Source, name: &str, choice: Choice<'_>) -> Result<Stack, ProfileError> {
    let stack = Stack::load_with(source, name, choice)?;
    let lead = stack.roles.first().map_or("", |role| &role.name);
    // A stack need not have one: then nobody can be spared the questions.
    if stack.demo == Demo::default() {
        return Ok(stack);
    }
    let wrong = demo::problems(&stack.demo, &Questions::of(&stack, lead));
    if wrong.is_empty() {
        return Ok(stack);
    }
    let (_, text) = source.within(&source.locate(name)?)?;
    let problem = |key: &str, why: String| Problem {
        what: format!("the demonstration does not answer `{key}` as a host would take it"),
        place: place(&text, key),
        why,
        hint: Some(format!(
            "every question with its help: muster --no-input answers init FILE --stack {name}"
        )),
    };
    let mut problems: Vec<Problem> = wrong
        .iter()
        .map(|one| problem(&one.key, one.reason.to_string()))
        .collect();
    problems.sort_by_key(|one| one.place.as_ref().map(|place| place.span.start));
    Err(ProfileError::Invalid { problems })
}

/// Where `stack.toml` answers this question of a demonstration, or could.
fn place(text: &Text, key: &str) -> Option<Place> {
    fn below<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t toml::Spanned<DeValue<'i>>> {
        table.get(key)
    }
    let table = DeTable::parse(&text.content).ok()?;
    let whole = below(table.get_ref(), "demo")?;
    let demo = whole.get_ref().as_table()?;
    let answers = below(demo, "answers");
    let answer = answers
        .and_then(|answers| answers.get_ref().as_table())
        .and_then(|answers| below(answers, key));
    let people = below(demo, "people").filter(|_| key.starts_with("person."));
    let span = answer.or(people).or(answers).unwrap_or(whole).span();
    Some(Place {
        text: text.clone(),
        span,
    })
}

/// One calm line about a sound stack.
fn line(stack: &Stack) -> String {
    let instances: usize = stack.roles.iter().map(|role| role.services.len()).sum();
    let bases: Vec<&str> = stack.bases.keys().map(String::as_str).collect();
    format!(
        "{}: sound ({}, {}, {}, {}; {})",
        stack.name,
        count(stack.roles.len(), "role"),
        count(instances, "service"),
        count(stack.bindings.len(), "integration"),
        count(stack.phases.len(), "phase"),
        bases.join(", ")
    )
}

/// `1 role`, `2 roles`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
