//! `muster recovery`: the recovery words of a site, for a sheet of paper.

use super::{Cli, host, out};
use crate::agent::facts::Facts;
use crate::agent::keeper::RECOVERY;
use crate::agent::leadership::Leadership;
use crate::bringup::places::Places;
use crate::plan::Plan;
use crate::site::recovery::{self, Words};
use miette::{IntoDiagnostic, miette};

/// Words in a line.
const ROW: usize = 4;

/// Options of `recovery`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {}

/// Runs it.
pub fn run(_cli: &Cli, _args: &Args) -> miette::Result<u8> {
    let places = Places::host();
    host::required(
        &places.root,
        "recovery",
        "log in to the lead of a site, muster ssh STACK, and run it there: sudo muster recovery",
    )?;
    let facts = Facts::read(&places.root).into_diagnostic()?;
    let plan = Plan::new(&facts.stack);
    let leadership = Leadership::of(&plan, &places.state).into_diagnostic()?;
    let deputy = wanted(&facts, &leadership)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(miette!(
            help = "run it as root: sudo muster recovery",
            "whoever has these words has the whole site, so they are for root alone"
        ));
    }
    let folder = places.state.join(RECOVERY);
    let words = Words::open_or_create(&folder).into_diagnostic()?;
    out::write(sheet(&facts.stack.name, deputy, &words))?;
    // Only once they were shown.
    recovery::shown(&folder).into_diagnostic()?;
    Ok(super::exit::OK)
}

/// The deputy whose copy the words open.
fn wanted<'l>(facts: &Facts, leadership: &'l Leadership) -> miette::Result<&'l str> {
    let deputy = leadership.deputy.as_deref().ok_or_else(|| {
        miette!(
            help = "name one and build the images anew: deputy = \"ROLE\" under [stack] of \
                    stack.toml",
            "the stack {} has no deputy, so there is no copy of the site that words would open",
            facts.stack.name
        )
    })?;
    match leadership.is_lead(&facts.role) {
        true => Ok(deputy),
        false => Err(miette!(
            help = format!("run it on {}", leadership.lead),
            "this host, {}, is not the lead of its site, which alone has the words",
            facts.role
        )),
    }
}

/// What a person writes down.
fn sheet(stack: &str, deputy: &str, words: &Words) -> String {
    let text = words.text();
    let words: Vec<&str> = text.split(' ').collect();
    let mut sheet = format!("Recovery words of the site of {stack}:\n\n");
    for (row, words) in words.chunks(ROW).enumerate() {
        for (place, word) in words.iter().enumerate() {
            let number = row * ROW + place + 1;
            sheet.push_str(&format!("  {number:>2} {word:<10}"));
        }
        sheet.truncate(sheet.trim_end().len());
        sheet.push('\n');
    }
    sheet.push_str(&format!(
        "\nWrite them on paper, and keep it where none of the hosts is. When this lead is gone for \
         good,\nthey make {deputy} the lead: sudo muster promote. Whoever has them and a disk of \
         {deputy} has the\nwhole site.\n"
    ));
    sheet
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::profile::{Source, Stack};

    fn facts(role: &str) -> Facts {
        let stack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
        Facts {
            image_id: "i".into(),
            role: role.into(),
            stack: Stack::load(&Source::new(None), stack, None).unwrap(),
        }
    }

    fn leadership(deputy: Option<&str>) -> Leadership {
        Leadership {
            lead: "core".into(),
            deputy: deputy.map(str::to_owned),
            warrant: None,
        }
    }

    #[test]
    fn only_the_lead_of_a_site_with_a_deputy_has_words() {
        assert_eq!(
            wanted(&facts("core"), &leadership(Some("edge"))).unwrap(),
            "edge"
        );
        for (role, deputy, words, help) in [
            (
                "core",
                None,
                "the stack tiny has no deputy, so there is no copy of the site that words would \
                 open",
                "name one and build the images anew: deputy = \"ROLE\" under [stack] of stack.toml",
            ),
            (
                "edge",
                Some("edge"),
                "this host, edge, is not the lead of its site, which alone has the words",
                "run it on core",
            ),
        ] {
            let report = wanted(&facts(role), &leadership(deputy)).unwrap_err();
            assert_eq!(report.to_string(), words);
            assert_eq!(report.help().unwrap().to_string(), help);
        }
    }

    #[test]
    fn a_sheet_is_read_back_as_it_is() {
        let words = Words::parse(&format!("{}about", "abandon ".repeat(11))).unwrap();
        let sheet = sheet("starter", "edge", &words);
        assert_eq!(
            sheet,
            "Recovery words of the site of starter:\n\n   \
             1 abandon      2 abandon      3 abandon      4 abandon\n   \
             5 abandon      6 abandon      7 abandon      8 abandon\n   \
             9 abandon     10 abandon     11 abandon     12 about\n\n\
             Write them on paper, and keep it where none of the hosts is. When this lead is gone \
             for good,\nthey make edge the lead: sudo muster promote. Whoever has them and a disk \
             of edge has the\nwhole site.\n"
        );
        let table: Vec<&str> = sheet.lines().skip(2).take(3).collect();
        assert_eq!(Words::parse(&table.join("\n")).unwrap(), words);
    }
}
