//! `muster plan`: what will happen, where, in which order, and what proves it.

use super::{Cli, choice, exit, out, report};
use crate::plan::{Plan, picture, words};
use crate::profile::Stack;

/// Options of `plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// What it is built on.
    #[command(flatten)]
    pub choice: choice::Args,
    /// The whole plan as JSON (docs/schemas/plan.json)
    #[arg(long, conflicts_with = "graph")]
    pub json: bool,
    /// The wiring as a picture
    #[arg(long, value_name = "FORMAT")]
    pub graph: Option<Graph>,
}

/// Languages for pictures.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Graph {
    /// Graphviz
    Dot,
    /// Mermaid, as code hosts render it in Markdown
    Mermaid,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let stack = Stack::load_with(&cli.source(), &args.stack, args.choice.choice());
    let stack = stack.map_err(report::profile)?;
    let plan = Plan::new(&stack);
    let text = match (args.json, args.graph) {
        (true, _) => {
            let json = serde_json::to_string_pretty(&plan);
            json.map_err(|error| miette::miette!("the plan does not fit JSON: {error}"))? + "\n"
        }
        (_, Some(Graph::Dot)) => picture::dot(&plan),
        (_, Some(Graph::Mermaid)) => picture::mermaid(&plan),
        (_, None) => words::words(&stack, &plan),
    };
    out::write(text)?;
    Ok(exit::OK)
}
