//! A line editor for terminals of which nothing is known: no cursor tricks, only what a
//! teletype could do. Pure: bytes in, bytes to echo and a verdict out.

use dialoguer::console::measure_text_width;

/// Longer lines than any key or address are noise.
const MOST: usize = 8192;

/// Stands in the line for each byte that is no UTF-8.
const UNREADABLE: char = char::REPLACEMENT_CHARACTER;

/// What a byte has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The line goes on.
    More,
    /// Enter: the line stands.
    Line,
    /// Ctrl-C, Ctrl-D, Ctrl-Z or Ctrl-\: the line is given up.
    Cancelled,
}

/// The line being typed.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
    /// The start of a letter of several bytes, which may arrive split.
    letter: Vec<u8>,
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
    /// Right after `ESC [`.
    Begun,
    /// Further on in it: until a final byte.
    Control,
    /// After `ESC O`, or `ESC [ [` as Linux sends F1 to F5: one more byte behind any digits.
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
        self.letter.clear();
        self.silent = silent;
        self.escape = Escape::None;
    }

    /// What is typed so far; nothing when some of its bytes are no UTF-8.
    pub fn text(&self) -> Option<&str> {
        (!self.text.contains(UNREADABLE)).then_some(self.text.as_str())
    }

    /// Takes one byte; `echo` receives what the terminal must be sent.
    pub fn feed(&mut self, byte: u8, echo: &mut Vec<u8>) -> Verdict {
        let returned = std::mem::take(&mut self.returned);
        if self.escapes(byte) {
            return Verdict::More;
        }
        if byte >= 0x80 {
            self.part_of_a_letter(byte, echo);
            return Verdict::More;
        }
        if !self.letter.is_empty() {
            self.letter.clear();
            self.put(UNREADABLE, echo);
        }
        match byte {
            b'\n' if returned => Verdict::More,
            b'\r' | b'\n' => {
                self.returned = byte == b'\r';
                echo.extend_from_slice(b"\r\n");
                Verdict::Line
            }
            0x03 | 0x04 | 0x1a | 0x1c => {
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
                self.put(char::from(byte), echo);
                Verdict::More
            }
        }
    }

    /// Whether the byte belongs to an escape sequence.
    fn escapes(&mut self, byte: u8) -> bool {
        let before = std::mem::take(&mut self.escape);
        if byte < 0x20 {
            // Enter, or another sequence, in the middle of one: it ends here.
            return false;
        }
        self.escape = match (before, byte) {
            // ISO 8859 terminals have one byte for `ESC [` and one for `ESC O`.
            (Escape::None, 0x9b) if self.letter.is_empty() => Escape::Begun,
            (Escape::None, 0x8f) if self.letter.is_empty() => Escape::Single,
            (Escape::None, _) => return false,
            (Escape::Introduced, b'[') => Escape::Begun,
            (Escape::Introduced, b'O') => Escape::Single,
            // A lone Escape key: what follows was meant.
            (Escape::Introduced, _) => return false,
            (Escape::Begun, b'[') => Escape::Single,
            (Escape::Begun | Escape::Control, 0x40..=0x7e) => Escape::None,
            (Escape::Begun | Escape::Control, _) => Escape::Control,
            (Escape::Single, b'0'..=b'9' | b';') => Escape::Single,
            (Escape::Single, _) => Escape::None,
        };
        true
    }

    fn part_of_a_letter(&mut self, byte: u8, echo: &mut Vec<u8>) {
        self.letter.push(byte);
        match std::str::from_utf8(&self.letter).map(|text| text.chars().next()) {
            Ok(letter) => {
                self.letter.clear();
                match letter {
                    Some('\u{9b}') => self.escape = Escape::Begun,
                    Some('\u{8f}') => self.escape = Escape::Single,
                    Some(letter) if !letter.is_control() => self.put(letter, echo),
                    _ => {}
                }
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                let alone = self.letter.len() == 1;
                self.letter.clear();
                self.put(UNREADABLE, echo);
                if !alone {
                    // It did not continue the letter before; it may begin one.
                    self.part_of_a_letter(byte, echo);
                }
            }
        }
    }

    fn put(&mut self, letter: char, echo: &mut Vec<u8>) {
        if self.text.len() >= MOST {
            return;
        }
        self.text.push(letter);
        match letter {
            _ if self.silent => {}
            UNREADABLE => echo.push(b'?'),
            letter => echo.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// Takes back one letter, with the columns it has.
    fn rub_out(&mut self, echo: &mut Vec<u8>) {
        let Some(letter) = self.text.pop() else {
            return;
        };
        let columns = match letter {
            _ if self.silent => 0,
            UNREADABLE => 1,
            letter => measure_text_width(letter.encode_utf8(&mut [0; 4])),
        };
        for _ in 0..columns {
            echo.extend_from_slice(b"\x08 \x08");
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
                    lines.push(line.text().unwrap_or("not UTF-8").into());
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
        // Function keys: F1 of Linux, of a VT220, of xterm with Shift; in one byte, and in UTF-8.
        for key in [
            &b"\x1b[[A"[..],
            b"\x1bOP",
            b"\x1bO2P",
            b"\x1b[1;2P",
            b"\x9b11~",
            b"\x8fP",
            "\u{9b}11~".as_bytes(),
            "\u{8f}P".as_bytes(),
            b"\x1b\x1b[A",
            b"\x1bO\x1b[200~\x1b[201~",
        ] {
            let line = [b"a", key, b"b\r"].concat();
            assert_eq!(typed(&line, false).0, ["ab"], "{key:x?}");
        }
    }

    #[test]
    fn bytes_that_are_no_letter_are_seen_and_can_be_taken_back() {
        // Latin-1 letters: before another letter, at the end, two of them, one that begins like UTF-8.
        for bytes in [
            &b"M\xfcller\r"[..],
            b"Ren\xe9\r",
            b"\xe9\xe8\r",
            b"\xc3\xc3\xbc\r",
        ] {
            assert_eq!(typed(bytes, false).0, ["not UTF-8"], "{bytes:x?}");
        }
        let (lines, echo) = typed(b"M\xfc\x7f\xc3\xbcller\r", false);
        assert_eq!(lines, ["M\u{fc}ller"]);
        assert_eq!(echo, "M?\x08 \x08\u{fc}ller\r\n");
        // Nothing that moves a cursor is echoed.
        assert_eq!(
            typed("a\u{85}\u{9d}b\0\x07\r".as_bytes(), false).1,
            "ab\r\n"
        );
    }

    #[test]
    fn a_wide_letter_is_wiped_with_both_its_columns() {
        let (lines, echo) = typed("\u{6771}\x7fa\r".as_bytes(), false);
        assert_eq!(lines, ["a"]);
        assert_eq!(echo, "\u{6771}\x08 \x08\x08 \x08a\r\n");
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
    fn ctrl_c_and_its_like_give_the_line_up() {
        let (lines, _) = typed(b"abc\x03def\x04\x1a\x1cghi\x11\x13\r", false);
        assert_eq!(lines, ["^C", "^C", "^C", "^C", "ghi"]);
    }
}
