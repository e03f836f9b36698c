//! `muster status`: how the site stands, by the agent of this host, or what it last wrote.

use super::out::say;
use super::{Cli, exit, out, ssh};
use crate::agent::facts::Facts;
use crate::agent::socket::{self, Answer, Request};
use crate::bringup::places::Places;
use crate::bringup::status::{Outcome, Status};
use crate::console::matrix;
use jiff::Timestamp;
use miette::{IntoDiagnostic, miette};
use std::io::IsTerminal;
use std::time::Duration;

/// A member asks its lead first.
const PATIENCE: Duration = Duration::from_secs(40);

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
    show(&here(&Places::host(), "status")?, args.json)
}

/// How the site stands by the agent of this host; without it this host, by what it last wrote.
/// `command` is who asks.
pub fn here(places: &Places, command: &str) -> miette::Result<Status> {
    match socket::ask(&places.socket(), &Request::Status, PATIENCE) {
        Ok(Answer::Status { status, note }) => {
            tell(&note);
            Ok(status.aged(Timestamp::now()))
        }
        // What keeps it from answering stands beside the file.
        _ => {
            let status = last(places, command)?;
            let several = Facts::read(&places.root).is_ok_and(|own| own.stack.roles.len() > 1);
            if several {
                say!("the agent does not answer; this is what it wrote last");
            }
            Ok(status)
        }
    }
}

/// Says what a status is not, if anything.
pub fn tell(note: &str) {
    if !note.is_empty() {
        say!("{note}");
    }
}

/// How this host stands by what the agent last wrote, or why the agent cannot write; `command`
/// is who asks.
fn last(places: &Places, command: &str) -> miette::Result<Status> {
    let path = places.status();
    let trouble = std::fs::read_to_string(places.trouble()).ok();
    let text = match (std::fs::read_to_string(&path), &trouble) {
        (Ok(text), _) => text,
        (Err(error), Some(reason)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(miette!(
                help = "its log: journalctl -u muster-agent",
                "bring-up cannot begin: {}",
                reason.trim()
            ));
        }
        (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(miette!(
                help = format!(
                    "on a host: systemctl status muster-agent; on a workstation: muster {command} STACK"
                ),
                "there is no status here: {} does not exist",
                path.display()
            ));
        }
        (Err(error), _) => {
            return Err(miette!(
                help = format!("see who may read it: ls -ld {}", path.display()),
                "cannot read {}: {error}",
                path.display()
            ));
        }
    };
    let status = parse(&text)?.aged(Timestamp::now());
    Ok(match trouble {
        Some(reason) => {
            let own = status.hosts.first().map(|host| host.role.clone());
            let whose = own.filter(|_| status.hosts.len() > 1);
            status.troubled(&reason, whose.as_deref())
        }
        None => status,
    })
}

/// Reads a status.
pub fn parse(text: &str) -> miette::Result<Status> {
    serde_json::from_str(text).map_err(|error| {
        miette!(
            help = "the agent writes it anew: systemctl restart muster-agent",
            "the status is of another muster: {error}"
        )
    })
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
