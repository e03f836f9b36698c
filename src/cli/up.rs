//! `muster up`: from a stack to its running machines.

use super::{Cli, choice, console, exit, progress, report};
use crate::console::bring_up::Watcher;
use crate::console::progress::{Progress, Stage};
use crate::machine::events::{self, Event, Outcome};
use crate::machine::lifecycle::{self, Note};
use crate::machine::qemu::{self, Qemu, accel::Wish};
use crate::machine::{Backend, Boot, Folder, Machine, MachineError, PublicPort, Spec, Start};
use crate::machine::{follow, keys};
use crate::plan::Plan;
use crate::profile::{Role, Scope, Stack};
use miette::IntoDiagnostic;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
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
    /// Answer the questions of first boot from FILE
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
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
            .map_err(|_| format!("{text} is not a port"))
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
    let root = Folder::default_root();
    let folder = Folder::new(&root, &stack.name);
    folder.create(None)?;
    let wanted: BTreeMap<u16, u16> = args.forward.iter().copied().collect();
    let backend = Qemu::new(&root, args.accel, wanted)?;

    let held = folder.hold()?;
    let told = answers::settle(cli, args, &stack, &plan, &folder)?;
    let Some(told) = told else {
        return Ok(exit::INVALID);
    };
    let mut missing = Vec::new();
    for (_, role) in &roles {
        if folder.machine(&role.name)?.is_none() && image(args, &stack, role).is_none() {
            missing.push(role.name.as_str());
        }
    }
    if let Some(code) = build(cli, args, &missing)? {
        return Ok(code);
    }
    let mut specs = Vec::new();
    for (order, role) in roles {
        let image = match folder.machine(&role.name)? {
            Some(machine) => {
                if qemu::disk::superseded(&machine) {
                    eprintln!(
                        "{}: a newer image is there; its disk stays on the old",
                        role.name
                    );
                }
                machine.image.path
            }
            None => {
                let image = image(args, &stack, role);
                let image = image.unwrap_or_else(|| place(args, &stack, role, "raw"));
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
        break_at: args.break_at.clone(),
        clock: args.clock.clone(),
        changes: args.hardware.changes(),
    };
    let why = backend.describe();
    let progress = args.progress.sink()?;
    let work = progress.begin(Stage::Machines, &stack.name);
    let mut note = |machine: &Machine, note: Note| match note {
        Note::Started => eprintln!("{} is started ({why})", machine.role),
        Note::Resumed => eprintln!("{} is started with the disk it had ({why})", machine.role),
        Note::Proceeded => eprintln!("{} had paused and goes on", machine.role),
        _ => eprintln!("{} runs already", machine.role),
    };
    let running = lifecycle::up(&backend, &folder, &held, &specs, &start, &mut note)?;
    work.done();
    drop(held);
    for machine in &running {
        for url in machine.urls() {
            println!("{url}");
        }
    }
    if let Some(passwords) = &told.passwords {
        eprintln!("passwords: {}", passwords.display());
    }
    if told.dialogue && unanswered(&folder, &running) {
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
    eprintln!(
        "follow it: muster up {0} --wait; log in: muster ssh {0}",
        args.stack
    );
    Ok(exit::OK)
}

/// The roles asked for with their place in the stack, all without a wish.
fn chosen<'a>(stack: &'a Stack, names: &[String]) -> miette::Result<Vec<(usize, &'a Role)>> {
    let known = || {
        stack
            .roles
            .iter()
            .map(|role| role.name.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(role) = names
        .iter()
        .find(|name| !stack.roles.iter().any(|role| role.name == **name))
    {
        let (stack, role) = (stack.name.clone(), role.clone());
        return Err(MachineError::UnknownRole {
            stack,
            role,
            known: known(),
        }
        .into());
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

/// Locks and builds what is missing; the exit code when that fails. It takes signals and
/// namespaces of its own, so it is a process of its own, which says itself what went wrong.
fn build(cli: &Cli, args: &Args, roles: &[&str]) -> miette::Result<Option<u8>> {
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
    let public = |rule: &&crate::plan::Rule| {
        rule.role == role.name && rule.scope == Scope::Public && rule.protocol == "tcp"
    };
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
        ports: plan
            .firewall
            .iter()
            .filter(public)
            .map(|rule| PublicPort {
                guest: rule.port,
                purpose: rule.why.clone(),
            })
            .collect(),
        routes: routes.iter().map(|route| route.host.clone()).collect(),
    }
}

/// Whether the lead still waits for somebody to answer its questions.
fn unanswered(folder: &Folder, running: &[Machine]) -> bool {
    let Some(lead) = running.first() else {
        return false;
    };
    let log = std::fs::read_to_string(folder.role(&lead.role).join("events.jsonl"));
    let begun = |event: &Event| matches!(event, Event::Phase { .. } | Event::BringUp { .. });
    !events::parse_all(&log.unwrap_or_default())
        .iter()
        .any(begun)
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
        eprintln!(
            "bring-up has not ended after {} s; it goes on by itself",
            limit.as_secs()
        );
        eprintln!("follow it: muster up {stack} --wait; see the machine: muster console {stack}");
        return Ok(exit::UNFINISHED);
    };
    keys::collect(folder, running)?;
    let (proven, total) = (ended.proven, ended.total);
    Ok(match ended.outcome {
        Outcome::Green => {
            eprintln!("all {total} integrations are proven");
            exit::OK
        }
        Outcome::Red => {
            eprintln!("{proven} of {total} integrations are proven; see: muster status {stack}");
            exit::RED
        }
        Outcome::Unfinished => {
            eprintln!("bring-up stopped with {proven} of {total} integrations proven and resumes");
            eprintln!("by itself; see: muster status {stack}");
            exit::UNFINISHED
        }
    })
}
