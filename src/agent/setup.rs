//! `muster agent setup`: answers to a site, once; the site to this host, at every start.
//! Before any login prompt and before the network.

use super::facts::Facts;
use super::host::Names;
use super::write_if_new;
use super::{AgentError, OWN, Result, account, at, banner, firewall, host, sources, ssh};
use crate::console::events::{Event, Events};
use crate::console::tty::{self, Tty};
use crate::console::{lobby, quiet};
use crate::plan::Plan;
use crate::site::answers::Answers;
use crate::site::assemble::assemble;
use crate::site::authority::Authority;
use crate::site::question::{KEYBOARD, Questions};
use crate::site::{Site, durable};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The site, below the agent's folder.
const SITE: &str = "site.json";
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
    let site = match stored(root)? {
        Some(site) => site,
        None => {
            let site = ask(root, &facts, &events)?;
            keep(root, &site)?;
            site
        }
    };
    let plan = Plan::new(&facts.stack);
    let own = plan.hosts.iter().find(|host| host.role == facts.role);
    let names = Names {
        host: facts.role.clone(),
        domain: site
            .organisations
            .first()
            .map(|one| one.domain.clone())
            .unwrap_or_default(),
        routes: own
            .map(|host| host.routes.iter().map(|route| route.host.clone()).collect())
            .unwrap_or_default(),
    };
    host::apply(root, &site, &names)?;
    account::apply(root, &site.admin)?;
    firewall::apply(
        root,
        &firewall::ruleset(&plan.firewall, &facts.role, &BTreeMap::new()),
    )?;
    let name = site
        .organisations
        .first()
        .map(|one| one.name.as_str())
        .unwrap_or_default();
    let authority = Authority::open_or_create(&root.join(OWN).join("ca"), name)?;
    events.emit(&Event::SiteCa {
        pem: authority.pem().to_string(),
    });
    let stack = &facts.stack;
    let issue = banner::issue(&stack.name, &stack.summary, &names, &site.admin.name);
    write_if_new(&root.join("etc/issue"), &issue, 0o644)?;
    Ok(())
}

fn stored(root: &Path) -> Result<Option<Site>> {
    let path = root.join(OWN).join(SITE);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| AgentError::Content {
                path,
                reason: error.to_string(),
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

fn keep(root: &Path, site: &Site) -> Result<()> {
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
    let (mut answers, notes) = unattended(&questions)?;
    let partial = root.join(OWN).join(PARTIAL);
    if let Ok(text) = std::fs::read_to_string(&partial) {
        // What a person typed before a power cut counts more; what no longer fits is asked.
        let (before, _) = Answers::read(&text, &questions);
        answers.values.extend(before.values);
    }
    let open = answers.complete(&questions).is_err() || !notes.is_empty() || partial.exists();
    if open {
        dialogue(root, facts, events, &questions, &mut answers, &notes)?;
    }
    let id = site_id()?;
    assemble(&answers, &questions, &facts.role, &id).map_err(|problems| AgentError::Content {
        path: partial,
        reason: problems
            .iter()
            .map(|one| format!("{}: {}", one.key, one.reason))
            .collect::<Vec<_>>()
            .join("; "),
    })
}

fn unattended(questions: &Questions) -> Result<(Answers, Vec<String>)> {
    let found = sources::look()?;
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
    Ok((answers, notes))
}

fn dialogue(
    root: &Path,
    facts: &Facts,
    events: &Events,
    questions: &Questions,
    answers: &mut Answers,
    notes: &[String],
) -> Result<()> {
    let active = Path::new("/sys/class/tty/console/active");
    let active = std::fs::read_to_string(active).map_err(at(active))?;
    let mut ttys: Vec<Tty> = tty::consoles(&active)
        .iter()
        .filter_map(|name| Tty::open(&Path::new("/dev").join(name)).ok())
        .collect();
    if ttys.is_empty() {
        return Err(AgentError::NoConsole);
    }
    let stack = &facts.stack;
    let mut welcome = format!(
        "muster: {}, host {}\n{}\nBefore it can start, a few questions; ? explains each.\n",
        stack.name, facts.role, stack.summary
    );
    for note in notes {
        welcome.push_str(&format!("Refused: {note}.\n"));
    }
    // Messages of kernel and systemd would run through the questions.
    let _quiet = quiet::Quiet::begin();
    let folder: PathBuf = root.join(OWN);
    let mut given = |id: &str, answers: &Answers| -> io::Result<()> {
        durable::write(
            &folder.join(PARTIAL),
            answers.to_toml().as_bytes(),
            0o600,
            None,
        )?;
        if id == KEYBOARD
            && let Some(layout) = answers.values.get(KEYBOARD)
        {
            host::keyboard(root, layout).map_err(io::Error::other)?;
        }
        Ok(())
    };
    lobby::run(&mut ttys, &welcome, questions, answers, events, &mut given)?;
    for tty in &mut ttys {
        // A terminal that is gone needs no last word.
        tty.send(b"\nThank you. The host starts now.\n").ok();
    }
    Ok(())
}

/// 128 random bits, hex.
fn site_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(crate::site::secrets::SecretError::Random)?;
    Ok(hex::encode(bytes))
}
