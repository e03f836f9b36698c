//! `ucf [--three-way] [--debconf-ok] NEW DESTINATION` (ucf(1)) for a destination that is not
//! there and was never registered: it is created, and its digest and a copy are noted.

use super::{diverted, ends_with, harmless, rotate, say, ucf_is_plain};
use md5::{Digest, Md5};
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const STATE: &str = "/var/lib/ucf";
/// Longer files are only kept for three-way comparisons.
const KEPT: u64 = 25_600;

struct Call<'a> {
    new: &'a str,
    destination: &'a str,
    three_way: bool,
}

/// Does it, or returns `None` for what is not this case.
pub fn run(arguments: &[String]) -> Option<u8> {
    let call = parse(arguments)?;
    let found = fs::symlink_metadata(call.new).ok()?;
    // A link is followed by name first, and the name is what is noted.
    let real = fs::canonicalize(call.new).ok()?;
    let fits = found.is_file()
        && real == Path::new(call.new)
        && harmless(call.new)
        && harmless(call.destination)
        && fs::symlink_metadata(call.destination).is_err()
        && Path::new(call.destination).parent()?.is_dir()
        && Path::new(STATE).join("cache").is_dir()
        && ucf_is_plain()
        && !diverted(call.destination);
    if !fits {
        return None;
    }
    let hashes = format!("{STATE}/hashfile");
    let before = match fs::read_to_string(&hashes) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => return None,
    };
    let lines = before.as_deref().unwrap_or_default().lines();
    if lines
        .into_iter()
        .any(|line| ends_with(line, call.destination))
    {
        return None;
    }
    say(format_args!(
        "\nCreating config file {} with new version",
        call.destination
    ));
    match create(&call, before.as_deref()) {
        Ok(()) => Some(0),
        Err(error) => {
            say(format_args!("ucf: {}: {error}", call.destination));
            Some(1)
        }
    }
}

fn parse(arguments: &[String]) -> Option<Call<'_>> {
    let mut three_way = false;
    let mut files = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--three-way" => three_way = true,
            "--debconf-ok" => {}
            option if option.starts_with('-') => return None,
            file => files.push(file),
        }
    }
    match files[..] {
        [new, destination] => Some(Call {
            new,
            destination,
            three_way,
        }),
        _ => None,
    }
}

fn create(call: &Call, before: Option<&str>) -> io::Result<()> {
    copy(call.new, call.destination)?;
    let hashes = format!("{STATE}/hashfile");
    let digest = hex::encode(Md5::digest(fs::read(call.new)?));
    let line = format!("{digest}  {}\n", call.destination);
    if let Some(before) = before {
        rotate(STATE, "hashfile")?;
        let next = format!("{hashes}.tmp");
        fs::write(&next, before.to_owned() + &line)?;
        fs::rename(next, hashes)?;
    } else {
        fs::write(hashes, line)?;
    }
    if call.three_way || fs::metadata(call.new)?.len() < KEPT {
        let name = call.destination.replace('/', ":");
        copy(call.new, &format!("{STATE}/cache/{name}"))?;
    }
    Ok(())
}

/// As `cp -p`.
fn copy(from: &str, to: &str) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    let _ = fs::remove_file(to);
    let mut reader = File::open(from)?;
    let mut writer = File::create_new(to)?;
    io::copy(&mut reader, &mut writer)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    writer.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    writer.set_times(FileTimes::new().set_modified(metadata.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_may_stand_anywhere_and_unknown_ones_are_passed_on() {
        let line = words("/usr/share/a --debconf-ok /etc/a --three-way");
        let call = parse(&line).expect("known");
        assert_eq!((call.new, call.destination), ("/usr/share/a", "/etc/a"));
        assert!(call.three_way);
        for line in [
            "--purge /etc/a",
            "/a",
            "/a /b /c",
            "--three /a /b",
            "-n /a /b",
        ] {
            assert!(parse(&words(line)).is_none(), "{line}");
        }
    }
}
