//! `muster promote`: the deputy of a site becomes its lead.

use super::out::say;
use super::{Cli, exit, host, out};
use crate::agent::facts::Facts;
use crate::agent::promotion::{self, PromotionError};
use crate::agent::reception::{self, Request};
use crate::agent::{member, mesh};
use crate::bringup::places::Places;
use crate::bringup::process::Program;
use crate::console::dialogue::{Asker, Typed};
use crate::console::fancy::Fancy;
use crate::mesh::identity::Identity;
use crate::mesh::line::link;
use crate::mesh::warrant::{Claim, Former};
use crate::plan::Plan;
use crate::site::recovery::Words;
use crate::site::sealed::SealError;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lead may take to answer that is there.
const KNOCK: Duration = Duration::from_secs(8);
/// How long the agent may take to begin as the lead.
const BEGIN: Duration = Duration::from_secs(120);

/// Options of `promote`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Read the recovery words from FILE (- for standard input) instead of asking for them
    #[arg(long, value_name = "FILE")]
    pub recovery_file: Option<PathBuf>,
    /// Promote although the lead answers: no host listens to it any more
    #[arg(long)]
    pub depose: bool,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let places = Places::host();
    host::required(
        &places.root,
        "promote",
        "log in to the deputy of a site, muster ssh STACK ROLE, and run it there: sudo muster \
         promote",
    )?;
    if !nix::unistd::geteuid().is_root() {
        return Err(miette!(
            help = "run it as root: sudo muster promote",
            "who leads a site is for root alone to say"
        ));
    }
    let facts = Facts::read(&places.root).into_diagnostic()?;
    let plan = Plan::new(&facts.stack);
    if promotion::is_decided(&places.state) {
        say!("a promotion that was decided before goes on");
    } else {
        decide(cli, args, &places, &plan, &facts.role)?;
    }
    Program::new(["systemctl", "restart", "muster-agent.service"])
        .run()
        .map_err(|error| {
            miette!(
                help = "start it: systemctl restart muster-agent",
                "this host leads from now on, but its agent could not be started: {error}"
            )
        })?;
    let missing = begun(&places, &facts.role)?;
    out::write(told(&facts.role, &missing))?;
    Ok(exit::OK)
}

/// Opens the copy with the words of a person, and decides.
fn decide(cli: &Cli, args: &Args, places: &Places, plan: &Plan, role: &str) -> miette::Result<()> {
    let (_, former) = promotion::may(places, plan, role).map_err(explained)?;
    if !args.depose {
        gone(places, plan, &former)?;
    }
    let promotion = loop {
        let words = match &args.recovery_file {
            Some(file) => from_file(file)?,
            None => asked(cli.no_input)?,
        };
        match promotion::prepare(places, plan, role, &words) {
            // A sheet of another site, say: there may be the right one.
            Err(error @ PromotionError::Sealed(SealError::OtherWords))
                if args.recovery_file.is_none() =>
            {
                say!("{error}; Ctrl-C leaves");
            }
            prepared => break prepared.map_err(explained)?,
        }
    };
    let Claim { former, .. } = &promotion.warrant.claim;
    say!(
        "the copy of {} opens; it was sealed on {}",
        former.role,
        promotion.written
    );
    promotion.decide().into_diagnostic()
}

/// Refuses while the lead is there: two leads would tell the hosts different things.
fn gone(places: &Places, plan: &Plan, former: &Former) -> miette::Result<()> {
    let Some(at) = member::known(plan, places).into_diagnostic()? else {
        return Ok(());
    };
    let identity = Identity::open_or_create(&mesh::folder(places)).into_diagnostic()?;
    let runtime = mesh::runtime().into_diagnostic()?;
    let there = |socket| runtime.block_on(link::answers(socket, &identity, KNOCK));
    let mut sockets = member::sockets(&at).into_diagnostic()?.into_iter();
    match sockets.any(|socket| there(socket) == Some(former.key)) {
        true => Err(still_there(former, &at)),
        false => Ok(()),
    }
}

fn still_there(former: &Former, at: &impl std::fmt::Display) -> miette::Report {
    let Former { role, .. } = former;
    miette!(
        help = format!(
            "shut {role} down first, if its disk is to go; or promote over it, so that no host \
             listens to it any more and it can come back only from a fresh image: sudo muster \
             promote --depose"
        ),
        "the lead, {role}, still answers at {at}: a site has one lead"
    )
}

/// An error with what to do.
fn explained(error: PromotionError) -> miette::Report {
    let help = match &error {
        PromotionError::Leads(_) => "how its site stands: muster status",
        PromotionError::NotDeputy {
            deputy: Some(_), ..
        } => "run it there: sudo muster promote",
        PromotionError::NotDeputy { deputy: None, .. } => {
            "restore the lead from a backup; for the next time: deputy = \"ROLE\" under [stack] of \
             stack.toml"
        }
        PromotionError::NotJoined | PromotionError::NoCopy(_) => {
            "nothing of the site is here: restore the lead from a backup"
        }
        PromotionError::Sealed(SealError::OtherWords) => {
            "the words of a site are those that its lead has shown: sudo muster recovery"
        }
        PromotionError::Sealed(_) | PromotionError::Estate(_) => {
            "look for what has damaged it, journalctl -k -p err, and restore /var/lib/muster/deputy \
             from a backup of this host"
        }
        PromotionError::Another | PromotionError::Stranger(_) => {
            "restore /var/lib/muster/deputy from a backup of this host, or the lead from its own"
        }
        PromotionError::Members(_) | PromotionError::Authority(_) | PromotionError::Agent(_) => {
            "make room or mend the disk: df -h /data; journalctl -k -p err; nothing has changed yet"
        }
    };
    miette!(help = help, "{error}")
}

/// The words on a file, or on standard input.
fn from_file(file: &Path) -> miette::Result<Words> {
    let text = match file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(file),
    };
    let text = text
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read the recovery words from {}", file.display()))?;
    Words::parse(&text).map_err(|error| miette!("{}: {error}", file.display()))
}

/// The words that a person types; a typing error is told and asked again.
fn asked(no_input: bool) -> miette::Result<Words> {
    let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if no_input || !terminal {
        return Err(miette!(
            help = "run it on a terminal, over ssh with -t; or give it the words: sudo muster \
                    promote --recovery-file FILE (- for standard input)",
            "promote asks for the recovery words, and there is no terminal to ask on"
        ));
    }
    let mut asker = Fancy::new();
    loop {
        let typed = asker.secret("The recovery words (they are not shown)");
        match typed.into_diagnostic()? {
            Typed::Text(text) => match Words::parse(&text) {
                Ok(words) => return Ok(words),
                Err(error) => say!("{error}"),
            },
            Typed::Again | Typed::Unreadable => {}
        }
    }
}

/// Waits until the agent speaks as the lead; the roles that have not joined it.
fn begun(places: &Places, role: &str) -> miette::Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let reply = UnixStream::connect(places.join_socket())
            .and_then(|agent| reception::ask(agent, &Request::Show {}));
        match reply {
            Ok(reply) if reply.standing.lead == role => return Ok(reply.standing.missing),
            _ if started.elapsed() < BEGIN => std::thread::sleep(Duration::from_millis(500)),
            _ => {
                return Err(miette!(
                    help = "see what it does: journalctl -u muster-agent",
                    "this host leads from now on, but its agent has not begun within {} s",
                    BEGIN.as_secs()
                ));
            }
        }
    }
}

fn told(role: &str, missing: &[String]) -> String {
    let mut text = format!("This host, {role}, leads its site now; the others come to it.\n");
    for missing in missing {
        text.push_str(&format!(
            "{missing} has not joined: start it from a fresh image, told that {role} leads:\n  \
             muster up STACK --lead {role}, or [join] lead = \"{role}\" in its answers\n"
        ));
    }
    text.push_str("How it stands: muster status\n");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::mesh::identity::Print;

    fn shown(report: &miette::Report) -> [String; 2] {
        let help = report.help().unwrap().to_string();
        [report.to_string(), help]
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (error, words, help) in [
            (
                PromotionError::NotDeputy {
                    role: "files".into(),
                    deputy: Some("edge".into()),
                },
                "this host, files, is not the deputy of its site; edge is",
                "run it there: sudo muster promote",
            ),
            (
                PromotionError::NotDeputy {
                    role: "files".into(),
                    deputy: None,
                },
                "this host, files, is not the deputy of its site: its stack names none",
                "restore the lead from a backup; for the next time: deputy = \"ROLE\" under \
                 [stack] of stack.toml",
            ),
            (
                PromotionError::Sealed(SealError::OtherWords),
                "these are not the recovery words of this site",
                "the words of a site are those that its lead has shown: sudo muster recovery",
            ),
            (
                PromotionError::NoCopy("core".into()),
                "the lead, core, has never sent this deputy a copy of the site",
                "nothing of the site is here: restore the lead from a backup",
            ),
        ] {
            assert_eq!(shown(&explained(error)), [words, help]);
        }
        let former = Former {
            role: "core".into(),
            key: Print([1; 32]),
        };
        assert_eq!(
            shown(&still_there(&former, &"10.77.0.10")),
            [
                "the lead, core, still answers at 10.77.0.10: a site has one lead",
                "shut core down first, if its disk is to go; or promote over it, so that no host \
                 listens to it any more and it can come back only from a fresh image: sudo muster \
                 promote --depose"
            ]
        );
    }

    #[test]
    fn words_come_from_a_file_or_a_person_at_a_terminal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("{}about\n", "abandon ".repeat(11));
        std::fs::write(file.path(), &text).unwrap();
        assert_eq!(
            from_file(file.path()).unwrap(),
            Words::parse(&text).unwrap()
        );
        std::fs::write(file.path(), "abandon about").unwrap();
        let words = from_file(file.path()).unwrap_err().to_string();
        assert!(
            words.contains("there are 12 recovery words, and these are 2"),
            "{words}"
        );
        assert_eq!(
            shown(&asked(true).unwrap_err()),
            [
                "promote asks for the recovery words, and there is no terminal to ask on",
                "run it on a terminal, over ssh with -t; or give it the words: sudo muster promote \
                 --recovery-file FILE (- for standard input)"
            ]
        );
    }

    #[test]
    fn who_is_missing_is_named_with_the_way_back() {
        assert_eq!(
            told("edge", &["core".into()]),
            "This host, edge, leads its site now; the others come to it.\n\
             core has not joined: start it from a fresh image, told that edge leads:\n  \
             muster up STACK --lead edge, or [join] lead = \"edge\" in its answers\n\
             How it stands: muster status\n"
        );
    }
}
