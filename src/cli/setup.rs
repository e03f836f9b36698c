//! `muster setup`: the questions of first boot, on the terminal it is run in. The host's own
//! consoles ask them too (`muster agent setup`); this is for a terminal beside those.

use super::out::say;
use super::{Cli, exit, host, out};
use crate::agent::facts::Facts;
use crate::agent::leadership::Leadership;
use crate::agent::{AgentError, data, mesh, setup, sources, state};
use crate::bringup::places::Places;
use crate::bringup::process::Program;
use crate::console::dialogue::{Asker, DialogueError, Typed};
use crate::console::fancy::Fancy;
use crate::console::plain::Plain;
use crate::console::tty::Tty;
use crate::plan::Plan;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::io::{self, IsTerminal};
use std::path::Path;

/// Options of `setup`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Who runs it, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    root: bool,
    terminal: bool,
    no_input: bool,
}

/// Runs it.
pub fn run(cli: &Cli, _args: &Args) -> miette::Result<u8> {
    let root = Path::new("/");
    let caller = Caller {
        root: nix::unistd::geteuid().is_root(),
        terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
        no_input: cli.no_input,
    };
    if !asks(root, caller)? {
        out::write("this host is set up; see how it stands with: muster status\n")?;
        return Ok(exit::OK);
    }
    let data = Path::new(data::MOUNT);
    kept(data, state::mounted(data).into_diagnostic()?)?;
    let (facts, places) = (Facts::read(root).into_diagnostic()?, Places::host());
    let leadership = Leadership::of(&Plan::new(&facts.stack), &places.state).into_diagnostic()?;
    let token = mesh::token(&places).into_diagnostic()?;
    leads(&facts.role, &leadership.lead, token.is_some())?;
    let found = sources::look().into_diagnostic()?;
    say!(
        "muster: {}, host {}; ? explains a question, Ctrl-C leaves",
        facts.stack.name,
        facts.role
    );
    let device = nix::unistd::ttyname(io::stdin()).into_diagnostic()?;
    let told = match bare(&device, std::env::var("TERM").ok().as_deref()) {
        true => {
            let mut tty = Tty::open(&device)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot ask on {}", device.display()))?;
            let mut asker = Leaving(Plain::after(&mut tty, b'\n'));
            setup::converse(root, &facts, &found, &mut asker)
        }
        false => setup::converse(root, &facts, &found, &mut Fancy::new()),
    };
    told.map_err(left)?;
    // The unit applies the site at every start; what is started behind it was waiting for it.
    for command in [
        ["systemctl", "restart", "muster-setup.service"].as_slice(),
        ["systemctl", "start", "--no-block", "muster-agent.service"].as_slice(),
    ] {
        Program::new(command.iter().copied())
            .run()
            .map_err(|error| {
                miette!(
                    help = "systemctl status muster-setup muster-agent",
                    "the answers are kept, but this host could not be started with them: {error}"
                )
            })?;
    }
    out::write("this host is set up and starts; follow it with: muster status\n")?;
    Ok(exit::OK)
}

/// Whether there are questions to ask this caller; none when the host has its answers.
fn asks(root: &Path, caller: Caller) -> miette::Result<bool> {
    host::required(
        root,
        "setup",
        "on a workstation, make a host and start it: muster up STACK",
    )?;
    if setup::is_answered(root) {
        return Ok(false);
    }
    if !caller.root {
        return Err(miette!(
            help = "run it as root: sudo muster setup",
            "setup configures this whole host, which only root may do"
        ));
    }
    if caller.no_input {
        return Err(miette!(
            help =
                "leave --no-input out, or give the host an answers file: muster answers init FILE",
            "this host has questions, and --no-input forbids to ask them"
        ));
    }
    if !caller.terminal {
        return Err(miette!(
            help = "run it on a terminal, over ssh with -t; or give the host an answers file: \
                    muster answers init FILE",
            "this host has questions, and there is no terminal to ask them on"
        ));
    }
    Ok(true)
}

/// Refuses on a host that joins a site: its questions are the lead's.
fn leads(role: &str, lead: &str, token: bool) -> miette::Result<()> {
    if role == lead {
        return Ok(());
    }
    let help = match token {
        true => "it joins by itself; see how far it is: journalctl -u muster-agent".to_owned(),
        false => format!(
            "type the code that {lead} shows on the console of this host; if nothing asks for it \
             there: sudo systemctl restart muster-join"
        ),
    };
    Err(miette!(
        help = help,
        "this host, {role}, has nothing to ask: it joins the site of {lead}, where all is answered"
    ))
}

/// Answers belong on the data partition: in the root they would be gone with the next image.
fn kept(data: &Path, mounted: bool) -> miette::Result<()> {
    match mounted {
        true => Ok(()),
        false => Err(miette!(
            help = "see why: systemctl status muster-data; then run muster setup again",
            "answers cannot be kept: nothing is mounted at {}",
            data.display()
        )),
    }
}

/// Whether nothing is known of the terminal: a serial line, or one that says so.
fn bare(device: &Path, term: Option<&str>) -> bool {
    let name = device.to_string_lossy();
    let serial = [
        "/dev/ttyS",
        "/dev/ttyAMA",
        "/dev/ttyUSB",
        "/dev/hvc",
        "/dev/console",
    ];
    serial.iter().any(|start| name.starts_with(start))
        || term.is_none_or(|term| matches!(term, "" | "dumb"))
}

/// An early end as a report.
fn left(error: AgentError) -> miette::Report {
    match error {
        AgentError::Dialogue(DialogueError::Lost(why)) => miette!(
            help = "what was answered is kept; go on with: muster setup",
            "the questions were left before their end: {why}"
        ),
        AgentError::Dialogue(DialogueError::Keep(_)) => miette!(
            help = "make room or mend the disk: df -h /data; journalctl -k -p err; then go on \
                    with: muster setup",
            "{error}"
        ),
        AgentError::Answered => miette!(help = "see how it stands with: muster status", "{error}"),
        error => miette!("{error}"),
    }
}

/// Plain prompts that Ctrl-C leaves. On a host's own console it cannot: nobody else is there
/// to ask.
struct Leaving<'t>(Plain<'t>);

fn go_on(typed: io::Result<Typed>) -> io::Result<Typed> {
    match typed? {
        Typed::Again => Err(io::Error::new(io::ErrorKind::Interrupted, "Ctrl-C")),
        typed => Ok(typed),
    }
}

impl Asker for Leaving<'_> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.say(text)
    }

    fn line(&mut self, text: &str, default: Option<&str>) -> io::Result<Typed> {
        go_on(self.0.line(text, default))
    }

    fn secret(&mut self, text: &str) -> io::Result<Typed> {
        go_on(self.0.secret(text))
    }

    fn choose(
        &mut self,
        text: &str,
        choices: &[(String, String)],
        default: Option<&str>,
    ) -> io::Result<Typed> {
        go_on(self.0.choose(text, choices, default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::facts::FILE;

    const PERSON: Caller = Caller {
        root: true,
        terminal: true,
        no_input: false,
    };

    /// A host with these files.
    fn host(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "{}").expect("written");
        }
        root
    }

    #[test]
    fn only_root_at_a_terminal_of_an_unanswered_host_is_asked() {
        let new = host(&[FILE]);
        assert!(asks(new.path(), PERSON).expect("asked"));
        let answered = host(&[FILE, "var/lib/muster/site.json"]);
        let anybody = Caller {
            root: false,
            terminal: false,
            no_input: true,
        };
        assert!(!asks(answered.path(), anybody).expect("nothing to ask"));
        let workstation = host(&[]);
        for (root, caller, words, help) in [
            (
                &workstation,
                PERSON,
                "setup is a command of hosts: there is no /usr/share/muster/image.json here",
                "on a workstation, make a host and start it: muster up STACK",
            ),
            (
                &new,
                Caller {
                    root: false,
                    ..PERSON
                },
                "setup configures this whole host, which only root may do",
                "run it as root: sudo muster setup",
            ),
            (
                &new,
                Caller {
                    no_input: true,
                    ..PERSON
                },
                "this host has questions, and --no-input forbids to ask them",
                "leave --no-input out, or give the host an answers file: muster answers init FILE",
            ),
            (
                &new,
                Caller {
                    terminal: false,
                    ..PERSON
                },
                "this host has questions, and there is no terminal to ask them on",
                "run it on a terminal, over ssh with -t; or give the host an answers file: \
                 muster answers init FILE",
            ),
        ] {
            let report = asks(root.path(), caller).expect_err("refused");
            assert_eq!(report.to_string(), words);
            assert_eq!(report.help().expect("a help").to_string(), help);
        }
    }

    #[test]
    fn a_host_that_joins_a_site_is_not_asked_the_questions_of_its_lead() {
        leads("core", "core", false).expect("it makes the site");
        for (token, help) in [
            (
                false,
                "type the code that core shows on the console of this host; if nothing asks for it \
                 there: sudo systemctl restart muster-join",
            ),
            (
                true,
                "it joins by itself; see how far it is: journalctl -u muster-agent",
            ),
        ] {
            let report = leads("edge", "core", token).expect_err("refused");
            assert_eq!(
                report.to_string(),
                "this host, edge, has nothing to ask: it joins the site of core, where all is \
                 answered"
            );
            assert_eq!(report.help().expect("a help").to_string(), help);
        }
    }

    #[test]
    fn nothing_is_asked_that_the_data_partition_cannot_keep() {
        let data = Path::new(data::MOUNT);
        kept(data, true).expect("mounted");
        let report = kept(data, false).expect_err("refused");
        assert_eq!(
            report.to_string(),
            "answers cannot be kept: nothing is mounted at /data"
        );
        assert_eq!(
            report.help().expect("a help").to_string(),
            "see why: systemctl status muster-data; then run muster setup again"
        );
    }

    #[test]
    fn whoever_leaves_is_told_how_to_go_on() {
        let lost = io::Error::new(io::ErrorKind::Interrupted, "Ctrl-C");
        let report = left(AgentError::Dialogue(DialogueError::Lost(lost)));
        assert_eq!(
            report.to_string(),
            "the questions were left before their end: Ctrl-C"
        );
        assert_eq!(
            report.help().expect("a help").to_string(),
            "what was answered is kept; go on with: muster setup"
        );
        let full = io::ErrorKind::StorageFull.into();
        let report = left(AgentError::Dialogue(DialogueError::Keep(full)));
        assert_eq!(
            report.to_string(),
            "cannot keep the answers: no storage space"
        );
        assert_eq!(
            report.help().expect("a help").to_string(),
            "make room or mend the disk: df -h /data; journalctl -k -p err; then go on with: \
             muster setup"
        );
    }

    #[test]
    fn a_serial_line_and_a_dumb_terminal_get_numbered_prompts() {
        let bare = |device: &str, term: Option<&str>| bare(Path::new(device), term);
        assert!(bare("/dev/ttyS0", Some("vt220")));
        assert!(bare("/dev/hvc0", Some("linux")));
        assert!(bare("/dev/pts/0", Some("dumb")));
        assert!(bare("/dev/pts/0", None));
        assert!(!bare("/dev/pts/0", Some("xterm-256color")));
        assert!(!bare("/dev/tty1", Some("linux")));
    }
}
