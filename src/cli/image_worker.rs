//! `muster image-worker`: the processes behind `muster build`. Hidden.

use super::{Cli, exit};
use crate::image::namespace::{self, Stage};
use crate::image::worker;
use std::path::PathBuf;

/// Arguments of `muster image-worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which of the processes this is
    stage: Stage,
    /// What to make
    job: PathBuf,
}

/// Runs the stage. `build` reads what went wrong from the job's folder, and shows it.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let succeeded = match args.stage {
        Stage::Work => worker::work(&args.job).is_ok(),
        stage => match namespace::pass_on(stage, &args.job) {
            Ok(status) => status.success(),
            Err(error) => {
                worker::report(&args.job, &error);
                false
            }
        },
    };
    Ok(if succeeded { exit::OK } else { exit::FAILURE })
}
