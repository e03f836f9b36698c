//! `muster join`: who may join the site, asked and answered on its lead.

use super::{Cli, exit, host, out};
use crate::agent::facts::Facts;
use crate::agent::invite::Standing;
use crate::agent::leadership::Leadership;
use crate::agent::reception::{self, Reply, Request};
use crate::bringup::places::Places;
use crate::plan::Plan;
use miette::{IntoDiagnostic, miette};
use serde::Serialize;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

/// Options of `join`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Open the lead again that wrong codes have closed, with a new code
    #[arg(long, conflicts_with_all = ["confirm", "refuse", "replace"])]
    pub open: bool,
    /// Let the host in that waits to join as ROLE
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["refuse", "replace"])]
    pub confirm: Option<String>,
    /// Send the host away that waits to join as ROLE
    #[arg(long, value_name = "ROLE", conflicts_with = "replace")]
    pub refuse: Option<String>,
    /// Let another host join as ROLE; the one that has it may never come back
    #[arg(long, value_name = "ROLE")]
    pub replace: Option<String>,
    /// How joining stands, as JSON (docs/schemas/join.json)
    #[arg(long, conflicts_with_all = ["open", "confirm", "refuse", "replace"])]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Format version, 1.
    pub version: u32,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

impl Args {
    fn request(&self) -> Request {
        match self {
            Args { open: true, .. } => Request::Open {},
            Args {
                confirm: Some(role),
                ..
            } => Request::Confirm { role: role.clone() },
            Args {
                refuse: Some(role), ..
            } => Request::Refuse { role: role.clone() },
            Args {
                replace: Some(role),
                ..
            } => Request::Replace { role: role.clone() },
            _ => Request::Show {},
        }
    }
}

/// Runs it.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let places = Places::host();
    host::required(
        &places.root,
        "join",
        "log in to the lead of a site, muster ssh STACK, and run it there: sudo muster join",
    )?;
    let facts = Facts::read(&places.root).into_diagnostic()?;
    let plan = Plan::new(&facts.stack);
    let leadership = Leadership::of(&plan, &places.state).into_diagnostic()?;
    leads(&facts, &leadership.lead)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(miette!(
            help = "run it as root: sudo muster join",
            "who joins a site is for root alone to see and to say"
        ));
    }
    let reply = ask(&places, &args.request())?;
    match &reply.done {
        Ok(_) if args.json => {
            let (version, standing) = (1, reply.standing);
            let shown = serde_json::to_string_pretty(&Shown { version, standing });
            out::write(shown.into_diagnostic()? + "\n")?;
            Ok(exit::OK)
        }
        Ok(done) => {
            out::write(words(&reply, done))?;
            Ok(exit::OK)
        }
        Err(refusal) => Err(miette!(help = refusal.help.clone(), "{}", refusal.words)),
    }
}

/// Refuses on a host that nobody joins.
fn leads(facts: &Facts, lead: &str) -> miette::Result<()> {
    match facts.stack.roles[..] {
        [_, _, ..] if lead != facts.role => Err(miette!(
            help = format!("run it on {lead}"),
            "this host, {}, is not the lead of its site",
            facts.role
        )),
        [_, _, ..] => Ok(()),
        _ => Err(miette!(
            help = "how this host stands: muster status",
            "nobody joins a site of the stack {}: it has one host, this one",
            facts.stack.name
        )),
    }
}

fn ask(places: &Places, request: &Request) -> miette::Result<Reply> {
    let socket = places.join_socket();
    let agent = UnixStream::connect(&socket).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "it has not come so far, or does not run".to_owned(),
            _ => error.to_string(),
        };
        miette!(
            help = "see what it does: systemctl status muster-agent",
            "the agent does not answer at {}: {why}",
            socket.display()
        )
    })?;
    reception::ask(agent, request).map_err(|error| {
        miette!(
            help = "see why: journalctl -u muster-agent",
            "the agent did not answer: {error}"
        )
    })
}

/// What was done, who waits, and how joining stands.
fn words(reply: &Reply, done: &str) -> String {
    let mut text = String::new();
    if !done.is_empty() {
        text.push_str(&format!("{done}\n"));
    }
    for waits in &reply.standing.waiting {
        text.push_str(&waits.words());
    }
    text.push_str(&reply.standing.words());
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::agent::invite::Waits;
    use crate::profile::{Source, Stack};

    fn facts(roles: &[&str], own: &str) -> Facts {
        let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
        let mut stack = Stack::load(&Source::new(None), stack, None).unwrap();
        let one = stack.roles[0].clone();
        stack.roles = roles
            .iter()
            .map(|name| {
                let mut role = one.clone();
                role.name = (*name).to_owned();
                role
            })
            .collect();
        Facts {
            image_id: "i".into(),
            role: own.into(),
            stack,
        }
    }

    #[test]
    fn only_the_lead_of_several_hosts_knows_who_joins() {
        leads(&facts(&["core", "edge"], "core"), "core").unwrap();
        // Where another was promoted, it is that one.
        leads(&facts(&["core", "edge"], "edge"), "edge").unwrap();
        for (roles, own, words, help) in [
            (
                &["core", "edge"][..],
                "edge",
                "this host, edge, is not the lead of its site",
                "run it on core",
            ),
            (
                &["box"],
                "box",
                "nobody joins a site of the stack tiny: it has one host, this one",
                "how this host stands: muster status",
            ),
        ] {
            let report = leads(&facts(roles, own), roles[0]).unwrap_err();
            assert_eq!(report.to_string(), words);
            assert_eq!(report.help().unwrap().to_string(), help);
        }
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        let report = ask(&places, &Request::Show {}).unwrap_err();
        assert_eq!(
            report.to_string(),
            format!(
                "the agent does not answer at {}: it has not come so far, or does not run",
                places.join_socket().display()
            )
        );
        assert_eq!(
            report.help().unwrap().to_string(),
            "see what it does: systemctl status muster-agent"
        );
    }

    #[test]
    fn what_was_done_comes_first_and_how_it_stands_last() {
        let standing = Standing {
            lead: "core".into(),
            code: Some("zebra ocean ladder".into()),
            lives: 60,
            held: false,
            rivals: Default::default(),
            missing: vec!["edge".into()],
            waiting: vec![Waits {
                role: "edge".into(),
                address: "fe80::2".into(),
                key: "abab abab abab".into(),
            }],
            addresses: vec!["fe80::1".into()],
        };
        let done = Ok(String::new());
        let text = words(
            &Reply { done, standing },
            "joining is open, with a new code",
        );
        assert_eq!(
            text,
            "joining is open, with a new code\n\
             edge asks to join, from fe80::2; its key is abab abab abab, as its own console shows.\n  \
             let it in:  sudo muster join --confirm edge\n  \
             or not:     sudo muster join --refuse edge\n\
             edge has not joined the site of core.\n  the code:   zebra ocean ladder\n  \
             type it on the console of each host; it is good for 1 minute\n  \
             this lead:  fe80::1\n"
        );
    }
}
