//! Plain prompts: numbered choices and lines, for a serial line or a bare screen.

use super::dialogue::{Asker, Typed, brief};
use super::line::{Line, Verdict};
use super::tty::Terminal;
use dialoguer::console::measure_text_width;
use std::io;

/// Columns of text: a screen has 80, and a serial line does not know.
const WIDTH: usize = 79;

/// Asks on a terminal of which nothing is known.
pub struct Plain<'t> {
    terminal: &'t mut dyn Terminal,
    line: Line,
}

impl<'t> Plain<'t> {
    /// Asks on this terminal, on which `enter` has just been read.
    pub fn after(terminal: &'t mut dyn Terminal, enter: u8) -> Self {
        Plain {
            terminal,
            line: Line::after(enter),
        }
    }

    fn read(&mut self, silent: bool) -> io::Result<Typed> {
        self.line.begin(silent);
        loop {
            let byte = self.terminal.byte()?;
            let mut echo = Vec::new();
            let verdict = self.line.feed(byte, &mut echo);
            self.terminal.send(&echo)?;
            match verdict {
                Verdict::More => {}
                Verdict::Line => {
                    let text = self.line.text();
                    return Ok(text.map_or(Typed::Unreadable, |text| Typed::Text(text.into())));
                }
                Verdict::Cancelled => return Ok(Typed::Again),
            }
        }
    }
}

impl Asker for Plain<'_> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        // The terminal turns each line feed into carriage return and line feed.
        let text = format!("{}\n", wrapped(text));
        self.terminal.send(text.as_bytes())
    }

    fn line(&mut self, text: &str, default: Option<&str>) -> io::Result<Typed> {
        let default = match default {
            None | Some("") => String::new(),
            Some(default) => format!(" [{}]", brief(default)),
        };
        let prompt = wrapped(&format!("{text}{default}:"));
        self.terminal.send(format!("{prompt} ").as_bytes())?;
        self.read(false)
    }

    fn secret(&mut self, text: &str) -> io::Result<Typed> {
        self.terminal
            .send(format!("{text} (not shown): ").as_bytes())?;
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
            other => other,
        })
    }
}

/// Lines of at most [`WIDTH`] columns, broken between words; what continues a line stands below
/// its start. A word that is wider has a line of its own.
pub(super) fn wrapped(text: &str) -> String {
    wrapped_to(text, WIDTH)
}

fn wrapped_to(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| narrowed(line, width)).collect();
    lines.join("\n")
}

fn narrowed(line: &str, width: usize) -> String {
    if measure_text_width(line) <= width {
        return line.to_string();
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut text = indent.to_string();
    let mut used = indent.len();
    for word in line.split_whitespace() {
        let columns = measure_text_width(word);
        if used > indent.len() && used + 1 + columns > width {
            text.push('\n');
            text.push_str(indent);
            used = indent.len();
        } else if used > indent.len() {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += columns;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped_to("short", 20), "short");
        assert_eq!(
            wrapped_to("  a line that is longer\nand another one here", 20),
            "  a line that is\n  longer\nand another one here"
        );
        assert_eq!(wrapped_to("a 0123456789 b", 5), "a\n0123456789\nb");
        assert_eq!(
            wrapped_to("\u{e4}\u{f6}\u{fc} \u{e4}\u{f6}", 6),
            "\u{e4}\u{f6}\u{fc} \u{e4}\u{f6}"
        );
        assert_eq!(
            wrapped_to("\u{6771}\u{4eac} \u{6771}", 6),
            "\u{6771}\u{4eac}\n\u{6771}"
        );
        assert_eq!(wrapped_to("  ", 1), "  ");
    }
}
