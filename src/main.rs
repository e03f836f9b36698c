//! The `muster` command.

use clap::FromArgMatches;
use muster::cli::{
    Cli, Command, agent, answers, build, cache, check, completions, console, diagnose, down, fetch,
    help, image_worker, join, lock, man, out, plan, promote, ps, records, recovery, report, setup,
    ssh, status, up, verify, verify_image,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = muster::image::standin::called(std::env::args_os()) {
        return code;
    }
    // A thread that panics takes the program with it: an agent that goes on without one of its
    // parts would be worse than one that systemd starts again. Not `panic = "abort"`, for which
    // every dependency would be compiled a second time for the tests.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    // Broken lines would cut paths and commands that people copy; a terminal breaks them itself.
    // Another hook cannot be there yet.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
    }));
    let cli = Cli::from_arg_matches(&help::command().get_matches()).unwrap_or_else(|e| e.exit());
    let result = match &cli.command {
        Command::Agent(args) => agent::run(&cli, args),
        Command::Answers(args) => answers::run(&cli, args),
        Command::Check(args) => check::run(&cli, args),
        Command::Plan(args) => plan::run(&cli, args),
        Command::Lock(args) => lock::run(&cli, args),
        Command::Fetch(args) => fetch::run(&cli, args),
        Command::Build(args) => build::run(&cli, args),
        Command::Cache(args) => cache::run(args),
        Command::VerifyImage(args) => verify_image::run(&cli, args),
        Command::ImageWorker(args) => image_worker::run(&cli, args),
        Command::Setup(args) => setup::run(&cli, args),
        Command::Join(args) => join::run(&cli, args),
        Command::Records(args) => records::run(&cli, args),
        Command::Promote(args) => promote::run(&cli, args),
        Command::Recovery(args) => recovery::run(&cli, args),
        Command::Status(args) => status::run(&cli, args),
        Command::Verify(args) => verify::run(&cli, args),
        Command::Diagnose(args) => diagnose::run(&cli, args),
        Command::Completions(args) => completions::run(&cli, args),
        Command::Man(args) => man::run(&cli, args),
        Command::Up(args) => up::run(&cli, args),
        Command::Down(args) => down::run(&cli, args),
        Command::Ps(args) => ps::run(&cli, args),
        Command::Console(args) => console::run(&cli, args),
        Command::Ssh(args) => ssh::run(&cli, args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            out::aside(format_args!("{report:?}"));
            ExitCode::from(report::exit_code(&report))
        }
    }
}
