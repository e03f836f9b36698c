//! `muster man`: manual pages made from the command line's own definition.

use super::{Cli, exit, help, out};
use miette::IntoDiagnostic;

/// Options of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Page of this subcommand; without it that of muster itself
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

/// Writes one page in roff to standard output: `muster man | man -l -`.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let mut whole = help::command();
    whole.build();
    let page = match &args.command {
        None => clap_mangen::Man::new(whole),
        Some(name) => {
            let visible: Vec<&str> = whole
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(clap::Command::get_name)
                .collect();
            let found = whole.find_subcommand(name).filter(|sub| !sub.is_hide_set());
            let Some(found) = found else {
                return Err(miette::miette!(
                    help = format!("commands: {}", visible.join(", ")),
                    "there is no command `{name}`"
                ));
            };
            clap_mangen::Man::new(found.clone()).title(format!("muster-{name}"))
        }
    };
    let mut roff = Vec::new();
    page.render(&mut roff).into_diagnostic()?;
    out::write(&roff)?;
    Ok(exit::OK)
}
