//! Plain prompts: numbered choices and lines, for a serial line or a bare screen.

use super::dialogue::{Asker, Typed, brief};
use super::line::{Line, Verdict};
use super::tty::Tty;
use std::io;

/// Asks on a terminal of which nothing is known.
#[derive(Debug)]
pub struct Plain<'t> {
    tty: &'t mut Tty,
    line: Line,
}

impl<'t> Plain<'t> {
    /// Asks on this terminal, on which `enter` has just been read.
    pub fn after(tty: &'t mut Tty, enter: u8) -> Self {
        Plain {
            tty,
            line: Line::after(enter),
        }
    }

    fn read(&mut self, silent: bool) -> io::Result<Typed> {
        self.line.begin(silent);
        loop {
            let byte = self.tty.byte()?;
            let mut echo = Vec::new();
            let verdict = self.line.feed(byte, &mut echo);
            self.tty.send(&echo)?;
            match verdict {
                Verdict::More => {}
                Verdict::Line => return Ok(Typed::Text(self.line.text())),
                Verdict::Cancelled => return Ok(Typed::Again),
            }
        }
    }
}

impl Asker for Plain<'_> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        // The terminal turns each line feed into carriage return and line feed.
        self.tty.send(format!("{text}\n").as_bytes())
    }

    fn line(&mut self, text: &str, default: Option<&str>) -> io::Result<Typed> {
        let default = match default {
            None | Some("") => String::new(),
            Some(default) => format!(" [{}]", brief(default)),
        };
        self.tty.send(format!("{text}{default}: ").as_bytes())?;
        self.read(false)
    }

    fn secret(&mut self, text: &str) -> io::Result<Typed> {
        self.tty.send(format!("{text} (not shown): ").as_bytes())?;
        self.read(true)
    }

    fn choose(
        &mut self,
        text: &str,
        choices: &[(String, String)],
        default: Option<&str>,
    ) -> io::Result<Typed> {
        let yes_no = choices.iter().all(|(value, words)| value == words);
        if yes_no {
            return self.line(text, default);
        }
        self.say(text)?;
        for (number, (value, words)) in choices.iter().enumerate() {
            self.say(&format!("  {}) {value}: {words}", number + 1))?;
        }
        let typed = self.line("Number", default)?;
        // A number stands for its choice; the value itself may be typed too.
        Ok(match typed {
            Typed::Text(text) => {
                let chosen = text.trim().parse::<usize>().ok();
                let chosen = chosen.and_then(|number| choices.get(number.wrapping_sub(1)));
                Typed::Text(chosen.map_or(text, |(value, _)| value.clone()))
            }
            Typed::Again => Typed::Again,
        })
    }
}
