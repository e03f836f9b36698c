//! A line editor for terminals of which nothing is known: no cursor tricks, only what a
//! teletype could do. Pure: bytes in, bytes to echo and a verdict out.

/// Longer lines than any key or address are noise.
const MOST: usize = 8192;

/// What a byte has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The line goes on.
    More,
    /// Enter: the line stands.
    Line,
    /// Ctrl-C or Ctrl-D: the line is given up.
    Cancelled,
}

/// The line being typed.
#[derive(Debug, Default)]
pub struct Line {
    text: Vec<u8>,
    /// Whether what is typed is shown.
    silent: bool,
    escape: Escape,
    /// The last byte was a carriage return that ended a line: a line feed belongs to it.
    returned: bool,
}

/// Where in an escape sequence (ECMA-48 §5.4) we are; its bytes may arrive split.
#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Introduced,
    /// After `ESC [`: until a final byte.
    Control,
    /// After `ESC O`: one more byte.
    Single,
}

impl Line {
    /// A line editor for a terminal on which this byte has just been read.
    pub fn after(enter: u8) -> Self {
        Line {
            returned: enter == b'\r',
            ..Line::default()
        }
    }

    /// Starts a new line on the same terminal, shown or not.
    pub fn begin(&mut self, silent: bool) {
        self.text.clear();
        self.silent = silent;
        self.escape = Escape::None;
    }

    /// What is typed so far; bytes that are not UTF-8 become `U+FFFD`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Takes one byte; `echo` receives what the terminal must be sent.
    pub fn feed(&mut self, byte: u8, echo: &mut Vec<u8>) -> Verdict {
        let returned = std::mem::take(&mut self.returned);
        match std::mem::take(&mut self.escape) {
            Escape::None => {}
            Escape::Introduced => match byte {
                b'[' => {
                    self.escape = Escape::Control;
                    return Verdict::More;
                }
                b'O' => {
                    self.escape = Escape::Single;
                    return Verdict::More;
                }
                // A lone Escape key: what follows was meant.
                _ => {}
            },
            Escape::Control => {
                if !(0x40..=0x7e).contains(&byte) && byte >= 0x20 {
                    self.escape = Escape::Control;
                }
                if byte >= 0x20 {
                    return Verdict::More;
                }
            }
            Escape::Single => return Verdict::More,
        }
        match byte {
            b'\n' if returned => Verdict::More,
            b'\r' | b'\n' => {
                self.returned = byte == b'\r';
                echo.extend_from_slice(b"\r\n");
                Verdict::Line
            }
            0x03 | 0x04 => {
                echo.extend_from_slice(b"\r\n");
                Verdict::Cancelled
            }
            0x08 | 0x7f => {
                self.rub_out(echo);
                Verdict::More
            }
            0x15 => {
                while !self.text.is_empty() {
                    self.rub_out(echo);
                }
                Verdict::More
            }
            0x1b => {
                self.escape = Escape::Introduced;
                Verdict::More
            }
            0x00..0x20 => Verdict::More,
            _ => {
                if self.text.len() < MOST {
                    self.text.push(byte);
                    if !self.silent {
                        echo.push(byte);
                    }
                }
                Verdict::More
            }
        }
    }

    /// Takes back one character, which may be several bytes.
    fn rub_out(&mut self, echo: &mut Vec<u8>) {
        while let Some(byte) = self.text.pop() {
            if byte & 0xc0 != 0x80 {
                if !self.silent {
                    echo.extend_from_slice(b"\x08 \x08");
                }
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8], silent: bool) -> (Vec<String>, String) {
        let mut line = Line::default();
        line.begin(silent);
        let (mut lines, mut echo) = (Vec::new(), Vec::new());
        for byte in bytes {
            match line.feed(*byte, &mut echo) {
                Verdict::More => {}
                Verdict::Line => {
                    lines.push(line.text());
                    line.begin(silent);
                }
                Verdict::Cancelled => {
                    lines.push("^C".into());
                    line.begin(silent);
                }
            }
        }
        (lines, String::from_utf8(echo).expect("text"))
    }

    #[test]
    fn backspace_takes_back_whole_characters_and_ctrl_u_the_line() {
        assert_eq!(typed("Gr\u{fc}\x7fun\r".as_bytes(), false).0, ["Grun"]);
        assert_eq!(typed(b"\x08\x7fab\x08c\r", false).0, ["ac"]);
        let (lines, echo) = typed(b"abc\x15d\n", false);
        assert_eq!(lines, ["d"]);
        assert_eq!(echo, "abc\x08 \x08\x08 \x08\x08 \x08d\r\n");
    }

    #[test]
    fn arrow_keys_leave_no_trace_however_their_bytes_arrive() {
        assert_eq!(
            typed(b"a\x1b[Ab\x1b[1;5Cc\x1bOPd\x1b[3~e\r", false).0,
            ["abcde"]
        );
        assert_eq!(typed(b"\x1b\r", false).0, [""]);
        assert_eq!(typed(b"\x1bx\r", false).0, ["x"]);
        assert_eq!(typed(b"a\x1b[\r", false).0, ["a"]);
    }

    #[test]
    fn carriage_return_and_line_feed_together_are_one_enter() {
        assert_eq!(typed(b"a\r\nb\r\n", false).0, ["a", "b"]);
        assert_eq!(typed(b"a\rb\n\n", false).0, ["a", "b", ""]);
    }

    #[test]
    fn a_password_is_not_echoed_in_any_form() {
        let (lines, echo) = typed(b"secret\x7ft\x15geheim\r", true);
        assert_eq!(lines, ["geheim"]);
        assert_eq!(echo, "\r\n");
    }

    #[test]
    fn ctrl_c_and_ctrl_d_give_the_line_up() {
        assert_eq!(typed(b"abc\x03def\x04ghi\r", false).0, ["^C", "^C", "ghi"]);
    }
}
