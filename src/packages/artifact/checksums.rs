//! Files of checksums as publishers write them: the lines of sha256sum(1) and sha512sum(1), the
//! tagged lines of `--tag` and of the BSDs, and files that hold one digest and nothing else.

/// What a file of checksums says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256, lower-case hex.
    Sha256(String),
    /// SHA-512, lower-case hex.
    Sha512(String),
}

/// Why a file of checksums proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumsError {
    /// It does not speak of the file.
    #[error("it has no line for {0}")]
    Absent(String),
    /// It does, in digests that can be forged.
    #[error("of {0} it has no SHA-256 or SHA-512, only weaker digests")]
    Weak(String),
    /// It does, and does not agree with itself.
    #[error("it has several lines for {0}, which differ")]
    Several(String),
}

/// What `text` says of the file `name`; SHA-256 before SHA-512.
pub fn find(text: &str, name: &str) -> Result<Checksum, ChecksumsError> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut found: Vec<&str> = lines().filter_map(|line| digest_for(line, name)).collect();
    // One digest alone can only be that of the file it lies beside.
    if let (true, Some(only), 1) = (found.is_empty(), lines().next(), lines().count())
        && is_hex(only)
    {
        found.push(only);
    }
    let of = |length: usize| {
        let mut all: Vec<String> = found
            .iter()
            .filter(|digest| digest.len() == length)
            .map(|digest| digest.to_ascii_lowercase())
            .collect();
        all.sort();
        all.dedup();
        all
    };
    match (of(64).as_slice(), of(128).as_slice()) {
        ([sha256], _) => Ok(Checksum::Sha256(sha256.clone())),
        ([], [sha512]) => Ok(Checksum::Sha512(sha512.clone())),
        ([], []) if found.is_empty() => Err(ChecksumsError::Absent(name.to_owned())),
        ([], []) => Err(ChecksumsError::Weak(name.to_owned())),
        _ => Err(ChecksumsError::Several(name.to_owned())),
    }
}

/// The digest of a line, if it is that of `name`.
fn digest_for<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let same = |written: &str| {
        written == name
            || written
                .strip_suffix(name)
                .is_some_and(|rest| rest.ends_with('/'))
    };
    // `SHA256 (name) = digest`
    if let Some((file, digest)) = line
        .split_once(" (")
        .and_then(|(_, rest)| rest.rsplit_once(") = "))
    {
        return (same(file) && is_hex(digest)).then_some(digest);
    }
    // `digest  name`, or `digest *name` where the file was read as binary
    let (digest, file) = line.split_once([' ', '\t'])?;
    let file = file.trim_start();
    (is_hex(digest) && same(file.strip_prefix('*').unwrap_or(file))).then_some(digest)
}

fn is_hex(text: &str) -> bool {
    // From MD5 on.
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "app-1.tar.gz";

    #[test]
    fn publishers_write_checksums_in_many_ways() {
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let long = "C".repeat(128);
        let sha256 = Ok(Checksum::Sha256(one.clone()));
        for text in [
            format!("{two}  app-2.tar.gz\n{one}  {NAME}\n"),
            format!("{one} *{NAME}\r\n{two} *other\r\n"),
            format!("{one}  ./dist/{NAME}\n{two}  ./dist/not-{NAME}\n"),
            format!("# comment\nSHA256 ({NAME}) = {one}\nSHA256 (x) = {two}\n"),
            format!(
                "MD5 ({NAME}) = {}\nSHA256 ({NAME}) = {one}\n",
                "d".repeat(32)
            ),
            format!("{}  {NAME}\n{long}  {NAME}\n", one.to_uppercase()),
            format!("{one}\n"),
            format!("{one}\t{NAME}"),
        ] {
            assert_eq!(find(&text, NAME), sha256, "{text}");
        }
        assert_eq!(
            find(&format!("{long}  {NAME}\n"), NAME),
            Ok(Checksum::Sha512(long.to_lowercase()))
        );
    }

    #[test]
    fn what_proves_nothing_is_told_apart() {
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let name = NAME.to_owned();
        for (text, error) in [
            (
                format!("{one}  other\n"),
                ChecksumsError::Absent(name.clone()),
            ),
            (
                format!("{one}  {NAME}.asc\n"),
                ChecksumsError::Absent(name.clone()),
            ),
            (
                format!("{one}\n{two}\n"),
                ChecksumsError::Absent(name.clone()),
            ),
            ("<html>".to_owned(), ChecksumsError::Absent(name.clone())),
            (
                format!("{}  {NAME}\n", "a".repeat(40)),
                ChecksumsError::Weak(name.clone()),
            ),
            (
                format!("{one}  a/{NAME}\n{two}  b/{NAME}\n"),
                ChecksumsError::Several(name.clone()),
            ),
        ] {
            assert_eq!(find(&text, NAME), Err(error), "{text}");
        }
    }
}
