//! `muster status`: how the host stands, from what the agent last wrote.

use super::{Cli, exit, out, ssh};
use crate::bringup::places::Places;
use crate::bringup::status::{Outcome, Status};
use crate::console::matrix;
use jiff::Timestamp;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::io::IsTerminal;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On a workstation: the stack whose lead is asked over ssh
    #[arg(value_name = "STACK")]
    pub stack: Option<String>,
    /// As JSON (docs/schemas/status.json)
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    if let Some(stack) = &args.stack {
        return ask(cli, stack, &["status"], args.json);
    }
    show(&read("status")?.aged(Timestamp::now()), args.json)
}

/// What the agent of this host last wrote; `command` is who asks.
pub fn read(command: &str) -> miette::Result<Status> {
    let path = Places::host().status();
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(miette!(
            help = format!(
                "on a host: systemctl status muster-agent; on a workstation: muster {command} STACK"
            ),
            "there is no status here: {} does not exist",
            path.display()
        )),
        Err(error) => Err(miette!(
            help = format!("see who may read it: ls -ld {}", path.display()),
            "cannot read {}: {error}",
            path.display()
        )),
    }
}

/// Reads a status.
pub fn parse(text: &str) -> miette::Result<Status> {
    serde_json::from_str(text)
        .into_diagnostic()
        .wrap_err("the status is of another muster")
}

/// Prints it and gives the exit code.
pub fn show(status: &Status, json: bool) -> miette::Result<u8> {
    if json {
        out::write(serde_json::to_string_pretty(status).into_diagnostic()? + "\n")?;
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some()
            || std::env::var("TERM").is_ok_and(|term| term == "dumb")
            || !std::io::stdout().is_terminal();
        out::write(matrix::text(status, Timestamp::now(), !plain))?;
    }
    Ok(match status.outcome {
        Outcome::Green => exit::OK,
        Outcome::Red => exit::RED,
        Outcome::Unfinished => exit::UNFINISHED,
    })
}

/// Asks the lead of a stack over ssh: the same command there, its output and exit code here.
pub fn ask(cli: &Cli, stack: &str, command: &[&str], json: bool) -> miette::Result<u8> {
    let json = json.then_some("--json");
    let words: Vec<&str> = command.iter().copied().chain(json).collect();
    ssh::ask_lead(cli, stack, &words)
}
