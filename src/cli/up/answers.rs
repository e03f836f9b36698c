//! What `up` tells the hosts: a person's answers file, the demonstration's, or only what the
//! workstation itself knows, when a person will answer on the console.

use super::Args;
use crate::cli::out::say;
use crate::cli::{Cli, report};
use crate::machine::events::{self, Event};
use crate::machine::folder::write_private;
use crate::machine::{Folder, Machine, keys};
use crate::mesh::code::Token;
use crate::plan::Plan;
use crate::profile::Stack;
use crate::site::answers::{Answers, Reason};
use crate::site::demo;
use crate::site::question::Questions;
use miette::miette;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use toml::Table;

/// What the hosts that are not the lead are told.
pub const JOIN: &str = "join.toml";

/// What was settled.
pub struct Settled {
    /// Clear passwords of the demonstration, if it is one.
    pub passwords: Option<PathBuf>,
    /// A person answers on the console of the lead.
    pub dialogue: bool,
}

/// Writes `answers.toml`; `None` when a person's file is refused, which has been said. What a
/// site has begun with stays.
pub fn settle(
    cli: &Cli,
    args: &Args,
    stack: &Stack,
    plan: &Plan,
    folder: &Folder,
) -> miette::Result<Option<Settled>> {
    let key = keys::ensure_key(folder)?;
    let routes: Vec<String> = plan
        .hosts
        .iter()
        .flat_map(|host| &host.routes)
        .map(|route| route.host.clone())
        .collect();
    let kept = folder.file("answers.toml");
    let passwords = folder.file("demo-passwords.toml");
    let known = passwords.is_file().then(|| passwords.clone());
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let person = terminal && !cli.no_input;
    let mut dialogue = false;
    let mut made = None;
    let mut table = match &args.answers {
        Some(file) => match read(file, stack, person)? {
            Some((table, complete)) => {
                dialogue = !complete;
                table
            }
            None => return Ok(None),
        },
        // What the hosts were told once stays: passwords must not change under them.
        None if kept.is_file() => {
            let asked = known.is_none() && person;
            return Ok(Some(Settled {
                passwords: known,
                dialogue: asked,
            }));
        }
        None if person => {
            dialogue = true;
            Table::new()
        }
        None => {
            let told = demo::answers(&stack.demo)
                .map_err(|error| report::plain(error.to_string(), None))?;
            made = Some(told.passwords);
            told.answers
        }
    };
    demo::add_workstation(&mut table, &key, &routes);
    if plan.hosts.len() > 1 {
        let join = join(&table)?;
        let alone = Table::from_iter([("join".to_owned(), join.clone())]);
        table.insert("join".into(), join);
        write_private(&folder.file(JOIN), alone.to_string().as_bytes())?;
    }
    if begun(folder, &folder.machines()?) {
        stays(folder, &table)?;
    }
    // Passwords first: hashes whose passwords were lost to a full disk help nobody.
    if let Some(made) = &made {
        let lines = made
            .iter()
            .map(|(name, password)| format!("{name} = \"{password}\"\n"));
        let head = "# Passwords of the demonstration, by login name.\n";
        let text: String = std::iter::once(head.to_owned()).chain(lines).collect();
        write_private(&passwords, text.as_bytes())?;
    }
    write_private(&kept, table.to_string().as_bytes())?;
    Ok(Some(Settled {
        passwords: made.map(|_| passwords).or(known),
        dialogue,
    }))
}

/// Tells hosts that join from now on who leads, where that is not whom the stack names first.
pub fn led_by(folder: &Folder, lead: &str) -> miette::Result<()> {
    let path = folder.file(JOIN);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let damaged = |why: String| report::plain(format!("{}: {why}", path.display()), None);
    let mut table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| damaged(error.to_string()))?;
    let join = table
        .entry("join")
        .or_insert_with(|| toml::Value::Table(Table::new()));
    let join = join
        .as_table_mut()
        .ok_or_else(|| damaged("join is no table".into()))?;
    join.insert("lead".into(), toml::Value::String(lead.to_owned()));
    Ok(write_private(&path, table.to_string().as_bytes())?)
}

/// What the hosts of a site know each other by: from the answers, else drawn now.
fn join(answers: &Table) -> miette::Result<toml::Value> {
    if let Some(join) = answers.get("join") {
        return Ok(join.clone());
    }
    let token = Token::draw().map_err(|error| report::plain(error.to_string(), None))?;
    let token = toml::Value::String(token.text());
    Ok(toml::Value::Table(Table::from_iter([(
        "token".to_owned(),
        token,
    )])))
}

/// Whether the lead has all its answers: bring-up has begun.
pub fn begun(folder: &Folder, machines: &[Machine]) -> bool {
    let Some(lead) = machines.first() else {
        return false;
    };
    let log = std::fs::read_to_string(folder.role(&lead.role).join("events.jsonl"));
    let begun = |event: &Event| matches!(event, Event::Phase { .. } | Event::BringUp { .. });
    events::parse_all(&log.unwrap_or_default())
        .iter()
        .any(begun)
}

/// Refuses answers that a site has not begun with: its hosts would not read them, and
/// `muster ssh` would look for people who are not there.
fn stays(folder: &Folder, table: &Table) -> miette::Result<()> {
    let kept = std::fs::read_to_string(folder.file("answers.toml")).unwrap_or_default();
    if kept.parse::<Table>().is_ok_and(|kept| kept == *table) {
        return Ok(());
    }
    let stack = folder.stack();
    Err(miette!(
        help = format!(
            "start it without --answers, and change an answer on its host: sudo muster setup; or \
             begin anew: muster down {stack} --purge --yes"
        ),
        "{stack} has begun with other answers, which stay"
    ))
}

/// A person's answers, checked as the host will check them; whether all are there. Nobody can
/// be asked for the rest without a `person`.
fn read(file: &Path, stack: &Stack, person: bool) -> miette::Result<Option<(Table, bool)>> {
    let text = crate::cli::answers::read(file)?;
    let lead = stack.roles.first().map_or("", |role| &role.name);
    let questions = Questions::of(stack, lead);
    let (answers, mut problems) = Answers::read(&text, &questions);
    let missing = answers.complete(&questions).err().unwrap_or_default();
    let complete = missing.is_empty();
    let whole = !problems
        .iter()
        .any(|problem| matches!(problem.reason, Reason::Syntax(_)));
    if whole && !person {
        let refused: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        problems.extend(
            missing
                .into_iter()
                .filter(|problem| !refused.contains(&problem.key)),
        );
    }
    for problem in &problems {
        say!("{}", problem.line(&file.display().to_string(), &text));
    }
    if !problems.is_empty() {
        say!("try it with: muster answers check {}", file.display());
        return Ok(None);
    }
    let table = text.parse().map_err(|error: toml::de::Error| {
        report::plain(format!("{}: {error}", file.display()), None)
    })?;
    Ok(Some((table, complete)))
}
