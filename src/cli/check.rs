//! `muster check`: reads profiles and says what is wrong with them.

use super::{Cli, exit, out, report};
use crate::profile::Stack;
use serde_json::json;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory; without it every stack there is
    #[arg(value_name = "STACK")]
    pub stack: Option<String>,
    /// Build on this base where a role fixes none
    #[arg(long, value_name = "NAME")]
    pub base: Option<String>,
    /// One JSON object per stack (docs/schemas/check.json)
    #[arg(long)]
    pub json: bool,
}

/// Runs it: 0 when all are sound, 3 when one is not.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let source = cli.source();
    let names: Vec<String> = match &args.stack {
        Some(name) => vec![name.clone()],
        None => source
            .stacks()
            .map_err(report::profile)?
            .into_iter()
            .collect(),
    };
    let mut code = exit::OK;
    for name in names {
        let loaded = Stack::load(&source, &name, args.base.as_deref());
        if loaded.is_err() {
            code = exit::INVALID;
        }
        let text = match &loaded {
            Ok(stack) if args.json => {
                json!({ "stack": stack.name, "sound": true, "problems": [] }).to_string()
            }
            Ok(stack) => line(stack),
            Err(error) if args.json => {
                let problems = report::problems(error);
                json!({ "stack": name, "sound": false, "problems": problems }).to_string()
            }
            Err(_) => format!("{name}: not sound"),
        };
        out::write(text + "\n")?;
        if let (Err(error), false) = (loaded, args.json) {
            eprintln!("{:?}", report::profile(error));
        }
    }
    Ok(code)
}

/// One calm line about a sound stack.
fn line(stack: &Stack) -> String {
    let instances: usize = stack.roles.iter().map(|role| role.services.len()).sum();
    let bases: Vec<&str> = stack.bases.keys().map(String::as_str).collect();
    format!(
        "{}: sound ({}, {}, {}, {}; {})",
        stack.name,
        count(stack.roles.len(), "role"),
        count(instances, "service"),
        count(stack.bindings.len(), "integration"),
        count(stack.phases.len(), "phase"),
        bases.join(", ")
    )
}

/// `1 role`, `2 roles`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
