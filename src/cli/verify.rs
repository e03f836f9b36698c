//! `muster verify`: every probe now, then the matrix.

use super::out::say;
use super::status::{ask, show, tell};
use super::{Cli, exit, host};
use crate::agent::run::facts;
use crate::agent::socket::{self, Answer, AskError, Request};
use crate::bringup::board::Board;
use crate::bringup::job;
use crate::bringup::journal::History;
use crate::bringup::places::Places;
use crate::bringup::prober::Prober;
use crate::bringup::status::Status;
use miette::{IntoDiagnostic, miette};
use std::sync::Arc;
use std::time::Duration;

/// A slow machine takes this long for all its probes.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Options of `verify`.
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
        return ask(cli, stack, &["verify"], args.json);
    }
    let places = Places::host();
    host::required(
        &places.root,
        "verify without a stack",
        "on a workstation, name the stack: muster verify STACK",
    )?;
    let status = match socket::ask(&places.socket(), &Request::Verify, PATIENCE) {
        Err(AskError::Nobody(_)) if nix::unistd::geteuid().is_root() => by_ourselves(&places)?,
        Err(AskError::Nobody(error)) => {
            let why = std::fs::read_to_string(places.trouble());
            let why = why.map_or(error.to_string(), |reason| reason.trim().to_owned());
            return Err(miette!(
                help = "systemctl status muster-agent; or run `muster verify` as root, without the agent",
                "the agent does not answer at {}: {why}",
                places.socket().display()
            ));
        }
        answered => by_agent(answered)?,
    };
    match show(&status, args.json)? {
        // Everything was tried just now: what is not green is red.
        exit::UNFINISHED if status.proven < status.total => Ok(exit::RED),
        code => Ok(code),
    }
}

fn by_agent(answered: Result<Answer, AskError>) -> miette::Result<Status> {
    match answered {
        Ok(Answer::Status { status, note }) => {
            tell(&note);
            Ok(*status)
        }
        Ok(Answer::Refused { words }) => Err(miette!(
            help = "see what it does: journalctl -u muster-agent",
            "the agent refuses: {words}"
        )),
        Ok(Answer::Journal { .. }) => Err(miette!("the agent answers what was not asked")),
        Err(AskError::Stopped) => Err(miette!(
            help = "see why: journalctl -u muster-agent",
            "the agent stopped while it was asked"
        )),
        Err(AskError::Garbled(error)) => Err(miette!(
            help = "the agent writes it anew: systemctl restart muster-agent",
            "the status is of another muster: {error}"
        )),
        Err(error) => Err(miette!(
            help = "see what it does: journalctl -u muster-agent",
            "the agent did not answer: {error}"
        )),
    }
}

fn by_ourselves(places: &Places) -> miette::Result<Status> {
    let facts = facts(places, Duration::ZERO).map_err(|error| {
        miette!(
            help = "answer its questions: sudo muster setup; or see: systemctl status muster-setup",
            "this host is not set up: {error}"
        )
    })?;
    say!("The agent is not running; probing without it.");
    if facts.plan.hosts.len() > 1 {
        say!("This is how {} stands by itself.", facts.role);
    }
    let facts = Arc::new(facts);
    let jobs = job::jobs(&facts);
    let board = Arc::new(Board::default());
    let history = History::read(&places.journal()).into_diagnostic()?;
    let prober = Prober::new(
        Arc::clone(&facts),
        Arc::clone(&board),
        Duration::from_secs(30),
    );
    prober.recall(&history, &jobs);
    prober.probe_all(&jobs, &|_, _| {});
    let status = Status::of(&facts, &jobs, &board.reports());
    Ok(status)
}
