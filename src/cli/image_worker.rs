//! `muster image-worker`: the processes behind `muster build`. Hidden.

use super::{Cli, exit, out};
use crate::image::Error;
use crate::image::confine::become_program;
use crate::image::job::Failure;
use crate::image::namespace::{self, Stage};
use crate::image::worker;
use miette::IntoDiagnostic;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `muster image-worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which of the processes this is
    stage: Stage,
    /// What to make, or to remove, or where
    job: PathBuf,
    /// A program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<OsString>,
}

/// Runs the stage. `build` reads what went wrong from the job's folder, or from standard output
/// where there is no job, and shows it.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let succeeded = match args.stage {
        Stage::Work => worker::work(&args.job).is_ok(),
        Stage::Enter | Stage::Init => match namespace::pass_on(args.stage, &args.job) {
            Ok(status) => status.success(),
            Err(error) => {
                worker::report(&args.job, &error);
                false
            }
        },
        Stage::Try | Stage::Map | Stage::Sweep | Stage::Look => {
            told(namespace::alone(args.stage, &args.job))?
        }
        Stage::Initrd => told(worker::initrd(&args.job))?,
        Stage::Program => {
            let error = namespace::prepare()
                .map_or_else(|error| error, |()| become_program(&args.job, &args.argv));
            let _ = writeln!(std::io::stderr(), "{error}");
            false
        }
    };
    Ok(if succeeded { exit::OK } else { exit::FAILURE })
}

/// Whether a stage succeeded whose caller reads from standard output why it did not.
fn told(result: Result<(), Error>) -> miette::Result<bool> {
    if let Err(error) = &result {
        let failure = serde_json::to_string(&Failure::from(error)).into_diagnostic()?;
        out::write(&failure)?;
    }
    Ok(result.is_ok())
}
