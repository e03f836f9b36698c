//! The `muster` command.

use clap::Parser;
use muster::cli::{
    Cli, Command, agent, answers, check, diagnose, fetch, lock, plan, report, status, verify,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Agent(args) => agent::run(&cli, args),
        Command::Answers(args) => answers::run(&cli, args),
        Command::Check(args) => check::run(&cli, args),
        Command::Plan(args) => plan::run(&cli, args),
        Command::Lock(args) => lock::run(&cli, args),
        Command::Fetch(args) => fetch::run(&cli, args),
        Command::Status(args) => status::run(&cli, args),
        Command::Verify(args) => verify::run(&cli, args),
        Command::Diagnose(args) => diagnose::run(&cli, args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::from(report::exit_code(&report))
        }
    }
}
