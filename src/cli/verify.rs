//! `muster verify`: every probe now, then the matrix.

use super::out::say;
use super::status::{ask, parse, show};
use super::{Cli, exit, host};
use crate::agent::run::facts;
use crate::bringup::board::Board;
use crate::bringup::job;
use crate::bringup::journal::History;
use crate::bringup::places::Places;
use crate::bringup::prober::Prober;
use crate::bringup::status::Status;
use miette::{IntoDiagnostic, miette};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A slow machine takes this long for all its probes.
const PATIENCE: Duration = Duration::from_secs(600);

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
    let status = match UnixStream::connect(places.socket()) {
        Ok(agent) => by_agent(agent)?,
        Err(_) if nix::unistd::geteuid().is_root() => by_ourselves(&places)?,
        Err(error) => {
            let why = std::fs::read_to_string(places.trouble());
            let why = why.map_or(error.to_string(), |reason| reason.trim().to_owned());
            return Err(miette!(
                help = "systemctl status muster-agent; or run `muster verify` as root, without the agent",
                "the agent does not answer at {}: {why}",
                places.socket().display()
            ));
        }
    };
    match show(&status, args.json)? {
        // Everything was tried just now: what is not green is red.
        exit::UNFINISHED if status.proven < status.total => Ok(exit::RED),
        code => Ok(code),
    }
}

fn by_agent(mut agent: UnixStream) -> miette::Result<Status> {
    let mut text = String::new();
    agent
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| agent.read_to_string(&mut text))
        .map_err(|error| {
            miette!(
                help = "see what it does: journalctl -u muster-agent",
                "the agent did not answer: {error}"
            )
        })?;
    if text.is_empty() {
        return Err(miette!(
            help = "see why: journalctl -u muster-agent",
            "the agent stopped while it was asked"
        ));
    }
    parse(&text)
}

fn by_ourselves(places: &Places) -> miette::Result<Status> {
    let facts = facts(places, Duration::ZERO).map_err(|error| {
        miette!(
            help = "answer its questions: sudo muster setup; or see: systemctl status muster-setup",
            "this host is not set up: {error}"
        )
    })?;
    say!("The agent is not running; probing without it.");
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
