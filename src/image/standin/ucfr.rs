//! `ucfr PACKAGE FILE` (ucfr(1)) for a file that nobody has registered, or the same package has.

use super::{ends_with, harmless, rotate, say, ucf_is_plain};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const STATE: &str = "/var/lib/ucf";

/// Does it, or returns `None` for what is not this case.
pub fn run(arguments: &[String]) -> Option<u8> {
    let [package, file] = arguments else {
        return None;
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
    if package.starts_with('-') || !package.bytes().all(named) || !harmless(file) || !ucf_is_plain()
    {
        return None;
    }
    let real = resolve(Path::new(file))?;
    let real = real.to_str().filter(|real| harmless(real))?;
    // Only the first of them is a plain character to ucfr, and a dot may be any.
    let plain = real.bytes().filter(|byte| *byte == b'+').count() < 2;
    let before = fs::read_to_string(format!("{STATE}/registry")).ok()?;
    let alike: Vec<&str> = before.lines().filter(|line| alike(line, real)).collect();
    if !plain || alike.iter().any(|line| !ends_with(line, real)) {
        return None;
    }
    let mut owners = alike
        .iter()
        .map(|line| line.split_whitespace().next().unwrap_or_default());
    match (owners.next(), owners.next()) {
        (None, _) => {}
        (Some(owner), None) if owner == package => return Some(0),
        _ => return None,
    }
    match register(&format!("{package} \t {real}\n"), &before) {
        Ok(()) => Some(0),
        Err(error) => {
            say(format_args!("ucfr: {file}: {error}"));
            Some(1)
        }
    }
}

fn register(line: &str, before: &str) -> io::Result<()> {
    rotate(STATE, "registry")?;
    let next = format!("{STATE}/registry.tmp");
    fs::write(&next, before.to_owned() + line)?;
    fs::rename(next, format!("{STATE}/registry"))
}

/// Whether a line may be about this file if a dot of its path stands for any character.
fn alike(line: &str, path: &str) -> bool {
    let (line, path) = (line.as_bytes(), path.as_bytes());
    let Some(start) = line.len().checked_sub(path.len() + 1) else {
        return false;
    };
    let same = |(found, wanted): (&u8, &u8)| *wanted == b'.' || found == wanted;
    line[start].is_ascii_whitespace() && line[start + 1..].iter().zip(path).all(same)
}

/// As `readlink -m`: links are followed as far as they are there.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::Normal(_) => real.push(part),
            // Nobody writes them, and what they mean depends on what is there.
            _ => return None,
        }
        if let Ok(found) = fs::canonicalize(&real) {
            real = found;
        } else if fs::symlink_metadata(&real).is_ok() {
            // A link to nowhere.
            return None;
        }
    }
    Some(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_stands_for_any_character() {
        assert!(alike("php \t /etc/php/8.2/a.ini", "/etc/php/8.2/a.ini"));
        assert!(alike("php \t /etc/php/8-2/a.ini", "/etc/php/8.2/a.ini"));
        assert!(!alike("php \t /etc/php/8.2/a.ini", "/php/8.2/a.ini"));
        assert!(!alike("/a", "/a"));
    }
}
