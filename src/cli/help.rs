//! `muster --help`: subcommands under the place where one uses them.

use super::Cli;
use clap::CommandFactory;
use std::fmt::Write as _;

/// Headings, and the subcommands under each in the order in which one meets them.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Workstation",
        &[
            "check",
            "plan",
            "lock",
            "fetch",
            "build",
            "up",
            "down",
            "ps",
            "console",
            "ssh",
            "write",
            "export",
            "answers",
            "diff",
            "verify-image",
            "cache",
        ],
    ),
    (
        "Host",
        &[
            "setup", "join", "status", "verify", "diagnose", "records", "company", "replace",
            "recovery", "promote", "upgrade", "backup", "restore",
        ],
    ),
    ("Both", &["completions", "man"]),
];

/// The command line with its grouped help.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}",
        groups(&command)
    );
    command.help_template(template)
}

fn groups(command: &clap::Command) -> String {
    let visible = || command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let width = visible().map(|sub| sub.get_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let mut lines = String::new();
        for name in *names {
            if let Some(sub) = visible().find(|sub| sub.get_name() == *name) {
                let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
                let _ = writeln!(lines, "  {name:width$}  {about}");
            }
        }
        if !lines.is_empty() {
            let _ = write!(text, "\n{heading}:\n{lines}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_subcommand_stands_under_one_heading_with_a_line() {
        let command = command();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            let groups = GROUPS
                .iter()
                .filter(|(_, names)| names.contains(&name))
                .count();
            assert_eq!(groups, 1, "`{name}` stands under {groups} headings");
            assert!(sub.get_about().is_some(), "`{name}` has no line");
        }
    }

    #[test]
    fn the_help_lists_commands_under_workstation_host_and_both() {
        let help = command().render_help().to_string();
        let place = |words: &str| help.find(words).unwrap_or_else(|| panic!("no {words:?}"));
        assert!(place("Workstation:\n  check") < place("\nBoth:\n"));
        assert!(place("Workstation:") < place("\nHost:\n  setup "));
        assert!(place("\n  setup ") < place("\n  status "));
        assert!(place("  man ") < place("Options:"));
    }
}
