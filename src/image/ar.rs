//! ar archives as packages use them (deb(5)): plain names of at most sixteen letters, nothing
//! of what linkers keep in them.

use std::io::{self, BufRead, Read};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// An archive that is read from front to back; as a reader it gives the member it stands at.
#[derive(Debug)]
pub struct Archive<R> {
    inner: R,
    /// Bytes of the member that were not read yet.
    left: u64,
    /// Whether a byte follows the member that makes its length even.
    padded: bool,
}

impl<R: BufRead> Archive<R> {
    /// Reads the magic.
    pub fn new(mut inner: R) -> io::Result<Archive<R>> {
        let mut magic = [0; MAGIC.len()];
        match inner.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Err(invalid("it does not begin as an ar archive does")),
        }
        Ok(Archive {
            inner,
            left: 0,
            padded: false,
        })
    }

    /// Goes on to the next member and gives its name; `None` at the end.
    pub fn next_member(&mut self) -> io::Result<Option<String>> {
        io::copy(self, &mut io::sink())?;
        // The last member may lack the byte behind it.
        if std::mem::take(&mut self.padded) && !self.inner.fill_buf()?.is_empty() {
            self.inner.consume(1);
        }
        if self.inner.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.inner.read_exact(&mut header)?;
        if header[58..] != *b"`\n" {
            return Err(invalid("a member has no header"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let size = text(&header[48..58]);
        // `parse` alone would take a sign.
        let digits = size.bytes().all(|byte| byte.is_ascii_digit());
        self.left = match size.parse() {
            Ok(size) if digits => size,
            _ => return Err(invalid("the size of a member is no number")),
        };
        self.padded = self.left % 2 == 1;
        // Some writers end names as those of linkers do.
        Ok(Some(text(&header[..16]).trim_end_matches('/').to_owned()))
    }
}

impl<R: Read> Read for Archive<R> {
    /// The end of the file before that of the member is an error, where a tar or gzip reader
    /// alone would sometimes see a proper end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn member(name: &str, size: &str, content: &str) -> String {
        format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n{content}",
            0, 0, 0, 100644
        )
    }

    fn read(text: &str) -> io::Result<Vec<(String, String)>> {
        let mut archive = Archive::new(text.as_bytes())?;
        let mut all = Vec::new();
        while let Some(name) = archive.next_member()? {
            let mut content = String::new();
            archive.read_to_string(&mut content)?;
            all.push((name, content));
        }
        Ok(all)
    }

    #[test]
    fn members_are_read_with_and_without_the_byte_behind_them() {
        let text = format!(
            "!<arch>\n{}\n{}{}",
            member("a", "3", "abc"),
            member("b/", "2", "de"),
            member("c", "1", "f")
        );
        let pair = |name: &str, content: &str| (name.to_owned(), content.to_owned());
        let expected = [pair("a", "abc"), pair("b", "de"), pair("c", "f")];
        assert_eq!(read(&text).unwrap(), expected);
        assert_eq!(read(&(text + "\n")).unwrap(), expected);
    }

    #[test]
    fn what_is_no_archive_is_refused_in_words() {
        let words = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(words("<html>"), "it does not begin as an ar archive does");
        let broken = format!("!<arch>\n{}", member("a", "1", "x").replace('`', "'"));
        assert_eq!(words(&broken), "a member has no header");
        for size in ["", "-1", "+1", "1x"] {
            let broken = format!("!<arch>\n{}", member("a", size, "x"));
            assert_eq!(
                words(&broken),
                "the size of a member is no number",
                "{size}"
            );
        }
        // More digits than the field has columns: the end of the header is not where it must be.
        let wide = format!("!<arch>\n{}", member("a", "99999999999999999999999", "x"));
        assert_eq!(words(&wide), "a member has no header");
        let short = format!("!<arch>\n{}", member("a", "9", "x"));
        let error = read(&short).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // A name that leads into a table of long names, of which there is none.
        let long = format!("!<arch>\n{}", member("/200000", "0", ""));
        assert_eq!(read(&long).unwrap()[0].0, "/200000");
    }
}
