//! `muster answers`: an answers file for hosts that nobody sits at.

use super::out::say;
use super::{Cli, exit, out, report};
use crate::console::dialogue;
use crate::console::fancy::Fancy;
use crate::profile::Stack;
use crate::site::answers::{Answers, Problem, Reason, template};
use crate::site::durable;
use crate::site::question::Questions;
use clap::Subcommand;
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::json;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

/// Options of `answers`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub part: Part,
}

/// What can be done with an answers file.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Ask the questions here and write the file; without a terminal, a file to fill in
    Init(File),
    /// Say what is wrong with a file
    Check(Checked),
}

/// The file to check, and how to say what was found.
#[derive(Debug, clap::Args)]
pub struct Checked {
    /// The file.
    #[command(flatten)]
    pub file: File,
    /// As JSON (docs/schemas/answers-check.json)
    #[arg(long)]
    pub json: bool,
}

/// The file, and whose questions it answers.
#[derive(Debug, clap::Args)]
pub struct File {
    /// The answers file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A stack's name or directory, whose optional services are asked for too
    #[arg(long, value_name = "STACK")]
    pub stack: Option<String>,
    /// The role of that stack; its first one when left out
    #[arg(long, value_name = "ROLE", requires = "stack")]
    pub role: Option<String>,
}

/// Runs it: 0, or 3 when a file is wrong.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    match &args.part {
        Part::Init(file) => init(cli, file),
        Part::Check(checked) => check(cli, &checked.file, checked.json),
    }
}

fn questions(cli: &Cli, file: &File) -> miette::Result<Questions> {
    let Some(name) = &file.stack else {
        return Ok(Questions::of_any_stack());
    };
    let stack = Stack::load(&cli.source(), name, None).map_err(report::profile)?;
    let known: Vec<&str> = stack.roles.iter().map(|role| role.name.as_str()).collect();
    let role = match &file.role {
        Some(role) if known.contains(&role.as_str()) => role.as_str(),
        Some(role) => {
            return Err(miette!(
                help = format!("its roles are: {}", known.join(", ")),
                "the stack `{name}` has no role `{role}`"
            ));
        }
        None => known.first().copied().unwrap_or_default(),
    };
    Ok(Questions::of(&stack, role))
}

fn init(cli: &Cli, file: &File) -> miette::Result<u8> {
    let questions = questions(cli, file)?;
    let path = &file.file;
    if path.exists() {
        return Err(miette!(
            help = format!("look at it with: muster answers check {}", path.display()),
            "{} exists and is left as it is",
            path.display()
        ));
    }
    let person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let text = if person && !cli.no_input {
        let mut answers = Answers::default();
        dialogue::run(
            &mut Fancy::new(),
            &questions,
            &mut answers,
            &mut |_, _, _| Ok(()),
        )
        .into_diagnostic()
        .wrap_err("nothing was written")?;
        answers.to_toml()
    } else {
        template(&questions)
    };
    durable::write(path, text.as_bytes(), 0o600, None).map_err(|error| {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        let help = match error.kind() {
            ErrorKind::NotFound => format!("make its folder first: mkdir -p {}", folder.display()),
            ErrorKind::StorageFull => "the disk is full: see where with df -h".to_owned(),
            _ => format!("see who may write there: ls -ld {}", folder.display()),
        };
        miette!(help = help, "cannot write {}: {error}", path.display())
    })?;
    say!(
        "{} is written; check it with: muster answers check {0}",
        path.display()
    );
    Ok(exit::OK)
}

fn check(cli: &Cli, file: &File, json: bool) -> miette::Result<u8> {
    let questions = questions(cli, file)?;
    let text = read(&file.file)?;
    let (answers, mut problems) = Answers::read(&text, &questions);
    let whole = problems
        .iter()
        .all(|problem| !matches!(problem.reason, Reason::Syntax(_)));
    if whole && let Err(missing) = answers.complete(&questions) {
        // What is there but refused is not missing as well.
        let refused: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        problems.extend(
            missing
                .into_iter()
                .filter(|problem| !refused.contains(&problem.key)),
        );
    }
    let name = file.file.display().to_string();
    if json {
        let problem = |problem: &Problem| {
            json!({
                "key": problem.key,
                "line": problem.line_number(&text),
                "reason": problem.reason.to_string(),
            })
        };
        let said = json!({
            "file": name,
            "good": problems.is_empty(),
            "problems": problems.iter().map(problem).collect::<Vec<_>>(),
        });
        out::write(format!("{said}\n"))?;
    } else if problems.is_empty() {
        out::write(format!("{name}: every answer is good\n"))?;
    } else {
        for problem in &problems {
            say!("{}", problem.line(&name, &text));
        }
    }
    Ok(match problems.is_empty() {
        true => exit::OK,
        false => exit::INVALID,
    })
}

/// The text of an answers file.
///
/// # Errors
/// It cannot be read, or is not text.
pub fn read(path: &Path) -> miette::Result<String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        let help = match error.kind() {
            ErrorKind::NotFound => format!("make it with: muster answers init {shown}"),
            _ => format!("see what stands there, and who may read it: ls -ld {shown}"),
        };
        miette!(help = help, "cannot read the answers in {shown}: {error}")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        report::plain(
            format!("{shown}:{line}: this is not UTF-8 text"),
            Some("save the file as UTF-8; editors call that the encoding or character set".into()),
        )
    })
}
