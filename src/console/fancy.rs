//! Prompts on a workstation's terminal, with dialoguer.

use super::dialogue::{Asker, Typed};
use dialoguer::console::Term;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Input, Password, Select};
use std::io;

/// Asks on the terminal of standard error, so that standard output stays data.
pub struct Fancy {
    theme: ColorfulTheme,
    terminal: Term,
}

impl Fancy {
    /// Asks on the terminal of standard error.
    pub fn new() -> Self {
        Fancy {
            theme: ColorfulTheme::default(),
            terminal: Term::stderr(),
        }
    }
}

impl Default for Fancy {
    fn default() -> Self {
        Self::new()
    }
}

fn told(error: dialoguer::Error) -> io::Error {
    let dialoguer::Error::IO(error) = error;
    error
}

impl Asker for Fancy {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.terminal.write_line(text)
    }

    fn line(&mut self, text: &str, default: Option<&str>) -> io::Result<Typed> {
        let mut input = Input::<String>::with_theme(&self.theme)
            .with_prompt(text)
            .allow_empty(true);
        if let Some(default) = default.filter(|default| !default.is_empty()) {
            input = input.default(default.to_string());
        }
        input
            .interact_text_on(&self.terminal)
            .map(Typed::Text)
            .map_err(told)
    }

    fn secret(&mut self, text: &str) -> io::Result<Typed> {
        Password::with_theme(&self.theme)
            .with_prompt(text)
            .allow_empty_password(true)
            .interact_on(&self.terminal)
            .map(Typed::Text)
            .map_err(told)
    }

    fn choose(
        &mut self,
        text: &str,
        choices: &[(String, String)],
        default: Option<&str>,
    ) -> io::Result<Typed> {
        let words: Vec<&str> = choices.iter().map(|(_, words)| words.as_str()).collect();
        let first = choices
            .iter()
            .position(|(value, _)| Some(value.as_str()) == default);
        let chosen = Select::with_theme(&self.theme)
            .with_prompt(text)
            .items(&words)
            .default(first.unwrap_or(0))
            .interact_on(&self.terminal)
            .map_err(told)?;
        Ok(Typed::Text(choices[chosen].0.clone()))
    }
}
