//! `muster up`: from a stack to its running machines.

use super::out::say;
use super::{Cli, build, choice, console, exit, out, progress, report, supplied};
use crate::console::bring_up::Watcher;
use crate::console::progress::{Progress, Stage};
use crate::image::manifest::Manifest;
use crate::image::standing::{self, Change};
use crate::machine::events::Outcome;
use crate::machine::lifecycle::{self, Note};
use crate::machine::qemu::{self, Qemu, accel::Wish};
use crate::machine::{Backend, Boot, Folder, Machine, MachineError, PublicPort, Spec, Start};
use crate::machine::{follow, keys};
use crate::plan::{Plan, Rule};
use crate::profile::{Role, Scope, Stack};
use miette::IntoDiagnostic;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod answers;
mod hardware;

/// Options of `up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// Only the machine of this role; may be given several times
    #[arg(long, value_name = "NAME")]
    pub role: Vec<String>,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// Where files are that people supply.
    #[command(flatten)]
    pub supplied: supplied::Args,
    /// Answer the questions of first boot from FILE
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Machines that are new join the site of ROLE, which was promoted
    #[arg(long, value_name = "ROLE")]
    pub lead: Option<String>,
    /// Return when bring-up has ended: 0 all proven, 4 red, 5 unfinished
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        requires = "wait"
    )]
    pub timeout: u64,
    /// Where images are, in DIR/<stack>
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// What runs the guests
    #[arg(long, value_enum, default_value_t)]
    pub accel: Wish,
    /// Reach port GUEST of the lead at port HOST of this computer
    #[arg(long, value_name = "GUEST=HOST", value_parser = forward)]
    pub forward: Vec<(u16, u16)>,
    /// Stop the agent for good at TASK:MOMENT (started, applied, done): to try power cuts
    #[arg(long, value_name = "TASK:MOMENT", hide = true)]
    pub break_at: Option<String>,
    /// Start the machine's clock at MOMENT (2040-01-31T12:00:00, UTC): to try wrong clocks
    #[arg(long, value_name = "MOMENT", hide = true)]
    pub clock: Option<String>,
    /// Where progress goes.
    #[command(flatten)]
    pub progress: progress::Args,
    /// The virtual hardware.
    #[command(flatten)]
    pub hardware: hardware::Args,
}

fn forward(text: &str) -> Result<(u16, u16), String> {
    let (guest, host) = text.split_once('=').ok_or("write it as 443=8443")?;
    let port = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("{text} is not the number of a port; write it as 443=8443"))
    };
    match (port(guest)?, port(host)?) {
        (_, host) if host < 1024 => Err(format!("{host} is below 1024")),
        pair => Ok(pair),
    }
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let stack = Stack::load_with(&cli.source(), &args.stack, args.choice.choice());
    let stack = stack.map_err(report::profile)?;
    let plan = Plan::new(&stack);
    let roles = chosen(&stack, &args.role)?;
    let lead = chosen(&stack, args.lead.as_slice())?;
    let lead = lead.first().map_or("", |(_, role)| role.name.as_str());
    let root = Folder::default_root();
    let folder = Folder::new(&root, &stack.name);
    folder.create(None)?;
    let wanted: BTreeMap<u16, u16> = args.forward.iter().copied().collect();
    let backend = Qemu::new(&root, args.accel, wanted)?;

    reachable(args, &plan, &roles, &backend)?;

    let held = folder.hold()?;
    let told = answers::settle(cli, args, &stack, &plan, &folder)?;
    let Some(told) = told else {
        return Ok(exit::INVALID);
    };
    if let Some(lead) = &args.lead {
        answers::led_by(&folder, lead)?;
    }
    let mut missing = Vec::new();
    for (_, role) in &roles {
        if folder.machine(&role.name)?.is_none() && image(args, &stack, role).is_none() {
            missing.push(role.name.as_str());
        }
    }
    if let Some(code) = build_missing(cli, args, &missing)? {
        return Ok(code);
    }
    let mut specs = Vec::new();
    for (order, role) in roles {
        let image = match folder.machine(&role.name)? {
            Some(machine) => {
                if qemu::disk::superseded(&machine) {
                    say!(
                        "{}: a newer image is there; its disk stays on the old",
                        role.name
                    );
                }
                let new = [
                    ("--base", args.choice.choice().base.is_some()),
                    ("--kernel", args.choice.choice().kernel.is_some()),
                    ("--disk", args.hardware.disk.is_some()),
                ];
                for (option, _) in new.iter().filter(|(_, given)| *given) {
                    say!(
                        "{}: {option} is for new machines; it keeps the disk it has",
                        role.name
                    );
                }
                machine.image.path
            }
            None => {
                let image = image(args, &stack, role);
                let image = image.unwrap_or_else(|| place(args, &stack, role, "raw"));
                whole(&stack, role, &image)?;
                let out = args.out.join(&stack.name);
                // Whatever keeps us from knowing does not keep the image from running.
                let outdated = || {
                    let named = (args.stack.as_str(), &stack);
                    build::is_outdated(cli, named, &out, &role.name).unwrap_or(false)
                };
                if !missing.contains(&role.name.as_str()) && outdated() {
                    say!(
                        "{}: {} is not what would be built now; to have that: muster build {}",
                        role.name,
                        image.display(),
                        args.stack
                    );
                }
                if let Some(asked) = args.hardware.disk {
                    qemu::disk::fits(&role.name, &image, asked)?;
                }
                image
            }
        };
        specs.push(spec(&stack, &plan, role, order, image, &args.hardware));
    }
    let start = Start {
        answers: Some(folder.file("answers.toml")),
        lead: lead.to_owned(),
        join: (plan.hosts.len() > 1).then(|| folder.file(answers::JOIN)),
        break_at: args.break_at.clone(),
        clock: args.clock.clone(),
        changes: args.hardware.changes(),
    };
    let why = backend.describe();
    let progress = args.progress.sink()?;
    let work = progress.begin(Stage::Machines, &stack.name);
    let forwards = (!args.forward.is_empty()).then_some("--forward");
    let later: Vec<&str> = args.hardware.named().into_iter().chain(forwards).collect();
    let later = later.join(" and ");
    let mut note = |machine: &Machine, note: Note| match note {
        Note::Started => say!("{} is started ({why})", machine.role),
        Note::Resumed => say!("{} is started with the disk it had ({why})", machine.role),
        Note::Proceeded => say!("{} had paused and goes on", machine.role),
        _ => {
            say!("{} runs already", machine.role);
            if !later.is_empty() {
                let (role, stack) = (&machine.role, &machine.stack);
                say!(
                    "{role} takes {later} at its next start: muster down {stack}, then this command again"
                );
            }
        }
    };
    let running = lifecycle::up(&backend, &folder, &held, &specs, &start, &mut note)?;
    work.done();
    drop(held);
    for machine in &running {
        for url in machine.urls() {
            out::write(format!("{url}\n"))?;
        }
    }
    if let Some(passwords) = &told.passwords {
        say!("passwords: {}", passwords.display());
    }
    if told.dialogue && !answers::begun(&folder, &running) {
        console::attach(&folder, &running[0])?;
    }
    if args.wait {
        return wait(
            &backend,
            &folder,
            &plan,
            &running,
            &progress,
            Duration::from_secs(args.timeout),
        );
    }
    say!(
        "follow it: muster up {0} --wait; log in: muster ssh {0}",
        args.stack
    );
    Ok(exit::OK)
}

/// Refuses `--forward` for ports that would lead nowhere, or two to one.
fn reachable(
    args: &Args,
    plan: &Plan,
    roles: &[(usize, &Role)],
    backend: &Qemu,
) -> miette::Result<()> {
    let known: BTreeSet<u16> = roles
        .iter()
        .flat_map(|(_, role)| public(plan, role))
        .map(|rule| rule.port)
        .chain(backend.always())
        .collect();
    let mut seen = (BTreeSet::new(), BTreeSet::new());
    for (guest, host) in &args.forward {
        if !known.contains(guest) {
            let known: Vec<String> = known.iter().map(u16::to_string).collect();
            return Err(report::usage(
                format!("--forward {guest}={host}: nothing is offered at port {guest}"),
                format!("ports of {}: {}", args.stack, known.join(", ")),
            ));
        }
        if !seen.0.insert(guest) || !seen.1.insert(host) {
            return Err(report::usage(
                format!("--forward {guest}={host}: one of the two ports was given before"),
                "give each port of the guest once, each to a port of its own".into(),
            ));
        }
    }
    Ok(())
}

/// What the firewall of a role lets in from anywhere.
fn public<'p>(plan: &'p Plan, role: &Role) -> impl Iterator<Item = &'p Rule> {
    let name = role.name.clone();
    plan.firewall.iter().filter(move |rule| {
        rule.role == name && rule.scope == Scope::Public && rule.protocol == "tcp"
    })
}

/// The roles asked for with their place in the stack, all without a wish.
fn chosen<'a>(stack: &'a Stack, names: &[String]) -> miette::Result<Vec<(usize, &'a Role)>> {
    let known = || stack.roles.iter().map(|role| role.name.as_str());
    if let Some(role) = names
        .iter()
        .find(|name| !known().any(|role| role == **name))
    {
        return Err(MachineError::unknown_role(&stack.name, role, known()).into());
    }
    let wanted = |role: &Role| names.is_empty() || names.contains(&role.name);
    Ok(stack
        .roles
        .iter()
        .enumerate()
        .filter(|(_, role)| wanted(role))
        .collect())
}

/// Where the image of a role stands.
fn place(args: &Args, stack: &Stack, role: &Role, format: &str) -> PathBuf {
    let name = format!("{}.{format}", role.name);
    args.out.join(&stack.name).join(name)
}

/// The image of a role, if it is there.
fn image(args: &Args, stack: &Stack, role: &Role) -> Option<PathBuf> {
    ["raw", "qcow2"]
        .into_iter()
        .map(|format| place(args, stack, role, format))
        .find(|path| path.is_file())
}

/// Refuses an image that has another size than the manifest beside it says, or one that had not
/// reached the disk when the power failed: it would boot, and fail much later.
fn whole(stack: &Stack, role: &Role, image: &Path) -> miette::Result<()> {
    let path = image.with_file_name(format!("{}.manifest.json", role.name));
    let manifest = std::fs::read(&path).unwrap_or_default();
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&manifest) else {
        return Ok(()); // An image of somebody else's making need not have one.
    };
    let Some((output, change)) = standing::changed(&manifest, &path).map_err(report::image)? else {
        return Ok(());
    };
    let why = match change {
        Change::Size(found) => format!(
            "it has {found} bytes, and the manifest beside it says {}",
            output.size
        ),
        Change::Content => "its content is not what the manifest beside it says; the power may \
             have failed before all of it was on the disk"
            .into(),
        // Somebody has changed it, or left out what it does not boot from.
        Change::Newer | Change::Missing => return Ok(()),
    };
    Err(MachineError::NotAnImage {
        stack: stack.name.clone(),
        role: role.name.clone(),
        path: image.with_file_name(&output.file),
        why,
    }
    .into())
}

/// Locks and builds what is missing; the exit code when that fails. It takes signals and
/// namespaces of its own, so it is a process of its own, which says itself what went wrong.
fn build_missing(cli: &Cli, args: &Args, roles: &[&str]) -> miette::Result<Option<u8>> {
    if roles.is_empty() {
        return Ok(None);
    }
    let own = std::env::current_exe().into_diagnostic()?;
    let mut command = Command::new(own);
    if let Some(profiles) = &cli.profiles {
        command.arg("--profiles").arg(profiles);
    }
    command.args(["build", &args.stack, "--out"]).arg(&args.out);
    command.args(args.choice.words());
    command.args(args.supplied.words());
    command.args(roles.iter().flat_map(|role| ["--role", role]));
    // Standard output is for what `up` itself has to say.
    let stderr = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .into_diagnostic()?;
    if let Some(descriptor) = &args.progress.progress_fd {
        command.args(["--progress-fd", &descriptor.number().to_string()]);
        descriptor.lend(true).into_diagnostic()?;
    }
    let status = command.stdout(stderr).status().into_diagnostic()?;
    if let Some(descriptor) = &args.progress.progress_fd {
        descriptor.lend(false).into_diagnostic()?;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(code.unwrap_or(exit::FAILURE)).filter(|code| *code != exit::OK))
}

fn spec(
    stack: &Stack,
    plan: &Plan,
    role: &Role,
    order: usize,
    image: PathBuf,
    hardware: &hardware::Args,
) -> Spec {
    let host = plan.hosts.iter().find(|host| host.role == role.name);
    let routes = host.map_or(&[][..], |host| &host.routes);
    Spec {
        stack: stack.name.clone(),
        role: role.name.clone(),
        order,
        memory: role.memory,
        cpus: role.cpus,
        disk: hardware.disk.unwrap_or(role.disk),
        image,
        boot: hardware.changes().boot.unwrap_or(Boot::Bios),
        ports: public(plan, role)
            .map(|rule| PublicPort {
                guest: rule.port,
                purpose: rule.why.clone(),
            })
            .collect(),
        routes: routes.iter().map(|route| route.host.clone()).collect(),
        segment: stack.network.as_ref().map_or(0, |_| role.cards()),
        inside: stack.network.is_some() && !role.outside,
    }
}

/// Waits for the end of bring-up and says how it ended.
fn wait(
    backend: &dyn Backend,
    folder: &Folder,
    plan: &Plan,
    running: &[Machine],
    progress: &Progress,
    limit: Duration,
) -> miette::Result<u8> {
    let mut watcher = Watcher::new(plan, progress);
    let ended = follow::until_ended(backend, folder, running, limit, &mut |role, event| {
        watcher.tell(role, event);
    });
    if matches!(ended, Ok(Some(_))) {
        watcher.done();
    } else {
        watcher.give_up();
    }
    let stack = folder.stack();
    let Some(ended) = ended? else {
        say!(
            "bring-up has not ended after {} s; it goes on by itself",
            limit.as_secs()
        );
        say!("follow it: muster up {stack} --wait; see the machine: muster console {stack}");
        return Ok(exit::UNFINISHED);
    };
    keys::collect(folder, running)?;
    let (proven, total) = (ended.proven, ended.total);
    Ok(match ended.outcome {
        Outcome::Green => {
            say!("all {total} integrations are proven");
            exit::OK
        }
        Outcome::Red => {
            say!("{proven} of {total} integrations are proven; see: muster status {stack}");
            exit::RED
        }
        Outcome::Unfinished => {
            say!("bring-up stopped with {proven} of {total} integrations proven and resumes");
            say!("by itself; see: muster status {stack}");
            exit::UNFINISHED
        }
    })
}
