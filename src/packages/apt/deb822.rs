//! The paragraphs of apt's files (deb822(5)), borrowed from the text: an index has sixty
//! thousand of them, and most fields of most paragraphs are never looked at.

/// The paragraphs of a text, in order.
pub fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['\n', '\r']);
        if rest.is_empty() {
            return None;
        }
        let end = rest.find("\n\n").map_or(rest.len(), |found| found + 1);
        let (stanza, after) = rest.split_at(end);
        rest = after;
        Some(Stanza { text: stanza })
    })
}

/// One paragraph.
#[derive(Debug, Clone, Copy)]
pub struct Stanza<'a> {
    text: &'a str,
}

impl<'a> Stanza<'a> {
    /// Names and values in order. A folded value keeps its line breaks; comments are left out.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            loop {
                let end = field_end(rest)?;
                let (field, after) = rest.split_at(end);
                rest = after;
                if field.starts_with('#') {
                    continue;
                }
                // A line without a name takes the lines that continue it along.
                if let Some((name, value)) = field.split_once(':')
                    && !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_graphic())
                {
                    return Some((name, value.trim()));
                }
            }
        })
    }

    /// The value of a field; names are compared without regard to case.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Where the field at the start of `text` ends: after its last continuation line.
fn field_end(text: &str) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    let bytes = text.as_bytes();
    let comment = bytes[0] == b'#';
    let mut end = 0;
    loop {
        end += text[end..].find('\n').map_or(text.len() - end, |at| at + 1);
        match bytes.get(end) {
            Some(b' ' | b'\t') if !comment => {}
            _ => return Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_values_comments_and_blank_lines_are_understood() {
        let text = "\nA: 1\nB: x,\n y\n# no\nC:\n\n\nA: 2\n";
        let all: Vec<Vec<(&str, &str)>> = stanzas(text)
            .map(|stanza| stanza.fields().collect())
            .collect();
        assert_eq!(
            all,
            vec![
                vec![("A", "1"), ("B", "x,\n y"), ("C", "")],
                vec![("A", "2")]
            ]
        );
        let odd = "no colon\n x: y\nA: 1\n#\n b: 2\n: 3\n\n-\n\rC: 4\n";
        let odd: Vec<_> = stanzas(odd).flat_map(Stanza::fields).collect();
        assert_eq!(odd, [("A", "1")]);
        assert_eq!(
            stanzas(text).next().and_then(|s| s.get("b")),
            Some("x,\n y")
        );
    }
}
