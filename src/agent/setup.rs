//! `muster agent setup`: answers to a site, once; the site to this host, at every start.
//! Before any login prompt and before the network. A person can give the answers in
//! `muster setup` instead, on any terminal of the host.

use super::facts::Facts;
use super::firewall::Neighbours;
use super::host::Names;
use super::leadership::{Leadership, TOLD};
use super::mesh::{LEAD, RECORD};
use super::sources::Found;
use super::write_if_new;
use super::{
    AgentError, OWN, Result, account, at, banner, firewall, host, promotion, sources, ssh,
};
use crate::bringup::process::Program;
use crate::console::dialogue::{self, Asker};
use crate::console::events::{Event, Events};
use crate::console::lobby::Lobby;
use crate::console::{quiet, tty};
use crate::plan::Plan;
use crate::site::answers::Answers;
use crate::site::assemble::assemble;
use crate::site::authority::Authority;
use crate::site::estate::{SITE, TOKEN};
use crate::site::question::{KEYBOARD, Questions};
use crate::site::{Site, durable};
use std::io;
use std::path::{Path, PathBuf};

/// Answers of a dialogue that has not ended.
const PARTIAL: &str = "answers.partial.toml";

/// Sets this host up.
pub fn run() -> Result<()> {
    let root = Path::new("/");
    let facts = Facts::read(root)?;
    let events = Events::open();
    events.emit(&Event::SshHostKey {
        key: ssh::host_key(root)?,
    });
    promotion::finish(&root.join(OWN))?;
    let site = match stored(root)? {
        Some(site) => site,
        None if !makes_the_site(root, &facts)? => return provisional(root, &facts),
        None => {
            let site = ask(root, &facts, &events)?;
            keep_site(root, &site)?;
            site
        }
    };
    configure(root, &facts, &site, &events)
}

/// Whether this host, which has no answers yet, makes a new site. One that is told of a lead joins
/// that one's, whatever the plan says.
fn makes_the_site(root: &Path, facts: &Facts) -> Result<bool> {
    if facts.stack.roles.len() == 1 {
        return Ok(true);
    }
    let questions = Questions::of(&facts.stack, &facts.role);
    let (answers, _) = gathered(root, &sources::look()?, &questions);
    if let Some(leader) = &answers.leader {
        keep(root, TOLD, leader)?;
    }
    let plan = Plan::new(&facts.stack);
    Ok(Leadership::of(&plan, &root.join(OWN))?.is_lead(&facts.role))
}

/// What a host needs to be heard by its lead: the network, and nothing that is somebody's.
fn provisional(root: &Path, facts: &Facts) -> Result<()> {
    let questions = Questions::of(&facts.stack, &facts.role);
    let (answers, _) = gathered(root, &sources::look()?, &questions);
    if let Some(token) = &answers.token {
        keep(root, TOKEN, token)?;
    }
    if let Some(lead) = &answers.lead {
        keep(root, LEAD, &lead.to_string())?;
    }
    let nobody = Site::nobodys(&facts.role);
    let plan = Plan::new(&facts.stack);
    let names = Names::of(&plan, &facts.role, "home.arpa");
    host::apply(root, &nobody, &names)?;
    let asks = !root.join(OWN).join(TOKEN).exists();
    let neighbours = Neighbours {
        ask: asks,
        ..Neighbours::default()
    };
    filter(root, &plan, &facts.role, neighbours)?;
    if asks && !root.join(OWN).join(RECORD).exists() {
        // Its dialogue needs the network, which waits for this; login prompts wait for it.
        let start = ["systemctl", "start", "--no-block", "muster-join.service"];
        Program::new(start).run()?;
    }
    Ok(())
}

/// Keeps a short text that concerns the other hosts.
fn keep(root: &Path, name: &str, text: &str) -> Result<()> {
    let path = root.join(OWN).join(name);
    if let Some(folder) = path.parent() {
        durable::make_directory(folder, 0o700).map_err(at(folder))?;
    }
    durable::write(&path, text.as_bytes(), 0o600, None).map_err(at(&path))
}

/// Writes and loads the packet filter.
pub(super) fn filter(root: &Path, plan: &Plan, role: &str, neighbours: Neighbours) -> Result<()> {
    let addresses = host::addresses(plan).into_iter();
    let addresses = addresses.map(|(role, address)| (role, vec![address]));
    let addresses = addresses.collect();
    let rules = firewall::ruleset(&plan.firewall, role, &addresses, neighbours);
    firewall::apply(root, &rules)
}

/// Configures this host by what the lead has said: a member, when it has joined.
pub fn settle(root: &Path, facts: &Facts) -> Result<()> {
    let path = root.join(OWN).join(SITE);
    let site = stored(root)?.ok_or_else(|| AgentError::Content {
        path,
        reason: "there is nothing in it yet".into(),
    })?;
    configure(root, facts, &site, &Events::none())?;
    // What has read the names and addresses of before.
    Program::new([
        "systemctl",
        "try-reload-or-restart",
        "systemd-networkd",
        "ssh",
    ])
    .run()
    .ok();
    Ok(())
}

fn configure(root: &Path, facts: &Facts, site: &Site, events: &Events) -> Result<()> {
    let plan = Plan::new(&facts.stack);
    let domain = site.organisations.first();
    let domain = domain.map(|one| one.domain.as_str()).unwrap_or_default();
    let names = Names::of(&plan, &facts.role, domain);
    host::apply(root, site, &names)?;
    account::apply(root, &site.admin)?;
    // Hosts without a token come by link-local addresses, whose line must hold after the join.
    let lead = Leadership::of(&plan, &root.join(OWN))?.is_lead(&facts.role);
    let join = lead && plan.hosts.len() > 1 && !root.join(OWN).join(TOKEN).exists();
    let finds = lead && plan.hosts.len() > 1;
    let neighbours = Neighbours {
        join,
        answer: finds,
        ask: finds,
    };
    filter(root, &plan, &facts.role, neighbours)?;
    let name = site
        .organisations
        .first()
        .map(|one| one.name.as_str())
        .unwrap_or_default();
    if lead {
        let authority = Authority::open_or_create(&root.join(OWN).join("ca"), name)?;
        events.emit(&Event::SiteCa {
            pem: authority.pem().to_string(),
        });
    }
    let stack = &facts.stack;
    let issue = banner::issue(&stack.name, &stack.summary, &names, &site.admin.name);
    write_if_new(&root.join("etc/issue"), &issue, 0o644)?;
    Ok(())
}

/// Whether the questions of the host below `root` have been answered.
pub fn is_answered(root: &Path) -> bool {
    root.join(OWN).join(SITE).exists()
}

/// Asks whoever is at `asker` what `found` leaves open, and keeps the site. The host is not
/// configured by it yet: [`run`] does that.
///
/// # Errors
/// The person leaves: what was answered is kept and not asked again. Or the same questions were
/// answered elsewhere in the meantime: those answers stay.
pub fn converse(root: &Path, facts: &Facts, found: &Found, asker: &mut dyn Asker) -> Result<()> {
    let questions = Questions::of(&facts.stack, &facts.role);
    let (mut answers, notes) = gathered(root, found, &questions);
    for note in notes {
        asker
            .say(&format!("Refused: {note}."))
            .map_err(dialogue::DialogueError::Lost)?;
    }
    let mut given =
        |id: &str, answers: &Answers, asker: &mut dyn Asker| remember(root, id, answers, asker);
    dialogue::run(asker, &questions, &mut answers, &mut given)?;
    if is_answered(root) {
        return Err(AgentError::Answered);
    }
    keep_site(root, &finished(root, facts, &questions, &answers)?)
}

fn stored(root: &Path) -> Result<Option<Site>> {
    let path = root.join(OWN).join(SITE);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| AgentError::damaged_site(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

fn keep_site(root: &Path, site: &Site) -> Result<()> {
    let path = root.join(OWN).join(SITE);
    let text = serde_json::to_string_pretty(site).map_err(|error| AgentError::Content {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    durable::write(&path, text.as_bytes(), 0o600, None).map_err(at(&path))?;
    let partial = root.join(OWN).join(PARTIAL);
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&partial)(error)),
        _ => Ok(()),
    }
}

/// The site out of unattended answers, and of a dialogue about what they leave open.
fn ask(root: &Path, facts: &Facts, events: &Events) -> Result<Site> {
    let questions = Questions::of(&facts.stack, &facts.role);
    let (mut answers, notes) = gathered(root, &sources::look()?, &questions);
    let partial = root.join(OWN).join(PARTIAL);
    let open = answers.complete(&questions).is_err() || !notes.is_empty() || partial.exists();
    if open {
        hold(root, facts, events, &questions, &mut answers, &notes)?;
    }
    if let Some(token) = &answers.token {
        keep(root, TOKEN, token)?;
    }
    finished(root, facts, &questions, &answers)
}

/// What is answered before anybody is asked, and what of it is refused.
fn gathered(root: &Path, found: &Found, questions: &Questions) -> (Answers, Vec<String>) {
    let (mut answers, notes) = unattended(found, questions);
    if let Ok(text) = std::fs::read_to_string(root.join(OWN).join(PARTIAL)) {
        // What a person typed before a power cut counts more; what no longer fits is asked.
        let (before, _) = Answers::read(&text, questions);
        answers.values.extend(before.values);
    }
    (answers, notes)
}

fn finished(root: &Path, facts: &Facts, questions: &Questions, answers: &Answers) -> Result<Site> {
    let id = site_id()?;
    assemble(answers, questions, &facts.role, &id).map_err(|problems| AgentError::Content {
        path: root.join(OWN).join(PARTIAL),
        reason: problems
            .iter()
            .map(|one| format!("{}: {}", one.key, one.reason))
            .collect::<Vec<_>>()
            .join("; "),
    })
}

fn unattended(found: &Found, questions: &Questions) -> (Answers, Vec<String>) {
    let mut notes = Vec::new();
    let mut answers = Answers::default();
    if let Some((place, text)) = &found.file {
        let (read, problems) = Answers::read(text, questions);
        answers = read;
        notes.extend(problems.iter().map(|problem| problem.line(place, text)));
    }
    let problems = answers.take(&found.parameters, questions, true);
    notes.extend(
        problems
            .iter()
            .map(|one| one.line("kernel command line", "")),
    );
    (answers, notes)
}

/// Keeps an answer as it is given, for a power cut may come; applies the keyboard.
fn remember(root: &Path, id: &str, answers: &Answers, asker: &mut dyn Asker) -> io::Result<()> {
    let partial = root.join(OWN).join(PARTIAL);
    durable::write(&partial, answers.to_toml().as_bytes(), 0o600, None)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", partial.display())))?;
    match answers.values.get(KEYBOARD) {
        Some(layout) if id == KEYBOARD => {
            if !host::has_keyboard(root, layout) {
                // A terminal that is gone is noticed at the next question.
                asker
                    .say("  One moment: the keyboard gets this layout. Type when it has.")
                    .ok();
            }
            host::keyboard(root, layout).map_err(io::Error::other)
        }
        _ => Ok(()),
    }
}

/// The devices of this host's consoles.
pub(super) fn consoles() -> Result<Vec<PathBuf>> {
    let active = Path::new("/sys/class/tty/console/active");
    let active = std::fs::read_to_string(active).map_err(at(active))?;
    let names = tty::consoles(&active);
    Ok(names
        .iter()
        .map(|name| Path::new("/dev").join(name))
        .collect())
}

/// The dialogue on every console of the host at once.
fn hold(
    root: &Path,
    facts: &Facts,
    events: &Events,
    questions: &Questions,
    answers: &mut Answers,
    notes: &[String],
) -> Result<()> {
    let devices = consoles()?;
    let stack = &facts.stack;
    let mut welcome = format!(
        "muster: {}, host {}\n{}\nBefore it can start, a few questions; ? explains each.\n",
        stack.name, facts.role, stack.summary
    );
    for note in notes {
        welcome.push_str(&format!("Refused: {note}.\n"));
    }
    let mut lobby = Lobby::open(&devices, &welcome, events).ok_or(AgentError::NoConsole)?;
    // Messages of kernel and systemd would run through the questions.
    let _quiet = quiet::Quiet::begin();
    let mut given =
        |id: &str, answers: &Answers, asker: &mut dyn Asker| remember(root, id, answers, asker);
    lobby.run(questions, answers, &mut given)?;
    lobby.say(
        "\nThank you. The host starts now.\nThis takes some minutes; the console shows how far it \
         is.\n",
    );
    Ok(())
}

/// 128 random bits, hex.
fn site_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(crate::site::secrets::SecretError::Random)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::dialogue::{DialogueError, Typed};
    use crate::profile::{Source, Stack};

    /// Types these lines, then is gone.
    struct Typist<'a> {
        lines: Vec<&'a str>,
        seen: Vec<String>,
    }

    impl Typist<'_> {
        fn next(&mut self, text: &str) -> io::Result<Typed> {
            self.seen.push(text.to_string());
            match self.lines.is_empty() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(Typed::Text(self.lines.remove(0).to_string())),
            }
        }
    }

    impl Asker for Typist<'_> {
        fn say(&mut self, text: &str) -> io::Result<()> {
            self.seen.push(text.to_string());
            Ok(())
        }
        fn line(&mut self, text: &str, _: Option<&str>) -> io::Result<Typed> {
            self.next(text)
        }
        fn secret(&mut self, text: &str) -> io::Result<Typed> {
            self.next(text)
        }
        fn choose(
            &mut self,
            text: &str,
            _: &[(String, String)],
            _: Option<&str>,
        ) -> io::Result<Typed> {
            self.next(text)
        }
    }

    fn facts() -> Facts {
        let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
        Facts {
            image_id: "i".into(),
            role: "box".into(),
            stack: Stack::load(&Source::new(None), stack, None).expect("a sound stack"),
        }
    }

    /// All but the name of the organisation; the time zone is none.
    fn found() -> Found {
        let hash = format!("$6$salt${}", "a".repeat(86));
        let text = format!(
            "[organisation]\ndomain = \"example.org\"\n[keyboard]\nlayout = \"us\"\n\
             [network]\nmode = \"dhcp\"\n[time]\nzone = \"Mars\"\n\
             [admin]\nname = \"admin\"\nfull-name = \"A\"\nssh-key = \"\"\n\
             password-hash = \"{hash}\"\n"
        );
        Found {
            file: Some(("a disk".into(), text)),
            ..Found::default()
        }
    }

    #[test]
    fn a_person_who_leaves_is_asked_only_the_rest_when_they_come_back() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let root = folder.path();
        std::fs::create_dir_all(root.join(OWN)).expect("a folder");
        let mut leaves = Typist {
            lines: vec!["Example Ltd"],
            seen: Vec::new(),
        };
        let left = converse(root, &facts(), &found(), &mut leaves);
        assert!(
            matches!(left, Err(AgentError::Dialogue(DialogueError::Lost(_)))),
            "{left:?}"
        );
        assert!(leaves.seen[0].starts_with("Refused: a disk:8: time.zone: "));
        assert_eq!(leaves.seen[1..], ["Name of the organisation", "Time zone"]);
        assert!(!is_answered(root));
        let mut stays = Typist {
            lines: vec!["UTC", "yes"],
            seen: Vec::new(),
        };
        converse(root, &facts(), &found(), &mut stays).expect("answered");
        assert_eq!(stays.seen[1], "Time zone");
        assert!(is_answered(root));
        let site = stored(root).expect("readable").expect("there");
        assert_eq!(site.organisations[0].name, "Example Ltd");
        assert!(!root.join(OWN).join(PARTIAL).exists());
    }

    #[test]
    fn answers_given_elsewhere_in_the_meantime_stay() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let root = folder.path();
        std::fs::create_dir_all(root.join(OWN)).expect("a folder");
        std::fs::write(root.join(OWN).join(SITE), "theirs").expect("written");
        let mut late = Typist {
            lines: vec!["Example Ltd", "UTC", "yes"],
            seen: Vec::new(),
        };
        let refused = converse(root, &facts(), &found(), &mut late).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "the questions were answered on another terminal in the meantime; those answers stay"
        );
        let site = std::fs::read_to_string(root.join(OWN).join(SITE)).expect("there");
        assert_eq!(site, "theirs");
    }
}
