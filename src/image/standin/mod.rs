//! Scripts of packages that this program stands in for while packages are configured.
//!
//! A few small programs are called hundreds of times by maintainer scripts, and each call
//! starts dozens of processes: two thirds of all that a build starts. Where the text of such a
//! program is one that is known here, by its SHA-256, this program does the same for the usual
//! case, a file or a module that is new to the root, and leaves the same bytes. Everything else
//! is passed on to the program itself, before anything has been changed.

mod certificates;
mod php;
mod systemd;
mod ucf;
mod ucfr;

use super::error::Error;
use super::identity::digest_file;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where the programs themselves are while this one stands in for them.
pub const ORIGINALS: &str = "/run/muster-originals";

/// A program, and what it consists of in releases that are known: its own text and that of what
/// it reads, by SHA-256.
struct Program {
    path: &'static str,
    texts: &'static [&'static [(&'static str, &'static str)]],
    run: fn(&[String]) -> Option<u8>,
}

const UCF: &str = "/usr/bin/ucf";
const UCFR: &str = "/usr/bin/ucfr";
const UCF_LIBRARY: &str = "/usr/share/ucf/ucf_library.sh";
const PHPQUERY: &str = "/usr/sbin/phpquery";
const PHPENMOD: &str = "/usr/sbin/phpenmod";
const PHP_HELPER: &str = "/usr/lib/php/php-helper";

const SYSTEMD_HELPER: &str = "/usr/bin/deb-systemd-helper";
const UPDATE_CERTIFICATES: &str = "/usr/sbin/update-ca-certificates";

const PROGRAMS: [Program; 6] = [
    Program {
        path: UCF,
        texts: &[
            // ucf 3.0043+nmu1+deb12u1
            &[(
                UCF,
                "e64b3181b6b941b8d0e450d774b3c8ea014297feec3118c9ebc02630c289f8b5",
            )],
            // ucf 3.0052
            &[
                (
                    UCF,
                    "cc5c25b9d618d31489257be7d048b57e8a5e24febccaa0c13d7939c3c700bf11",
                ),
                (
                    UCF_LIBRARY,
                    "790989ffdf589a1fb79289732f07225108f711898c4f5988c59eaacf7fe9331b",
                ),
            ],
        ],
        run: ucf::run,
    },
    Program {
        path: UCFR,
        texts: &[
            // ucf 3.0043+nmu1+deb12u1
            &[(
                UCFR,
                "f547df79dc954eb9ce4fa5fd59bc9c10292f954e0bd3222754eb15dfdada11b1",
            )],
            // ucf 3.0052
            &[
                (
                    UCFR,
                    "ee2caa1c2c9ca0c738f3a1bb06c0614cddd6a350e232ec1ed7f66d8be0435a96",
                ),
                (
                    UCF_LIBRARY,
                    "790989ffdf589a1fb79289732f07225108f711898c4f5988c59eaacf7fe9331b",
                ),
            ],
        ],
        run: ucfr::run,
    },
    Program {
        path: PHPQUERY,
        texts: &[
            // php-common 2:93 and 2:96
            &[
                (
                    PHPQUERY,
                    "0e9daa717d1af9b4e069c1976e0aad9cb07141b26b7b9a680009fe322e1e0c89",
                ),
                (
                    PHP_HELPER,
                    "72445eb0e4d94093f9f5b78038370b01741222cb7498f15ccb5cf8d476dbd83a",
                ),
            ],
        ],
        run: php::query,
    },
    Program {
        path: PHPENMOD,
        texts: &[
            // php-common 2:93 and 2:96
            &[
                (
                    PHPENMOD,
                    "6387761716172daa06f6732fcc41997ee640ec7c2c4da6907ac62d9153983986",
                ),
                (
                    PHPQUERY,
                    "0e9daa717d1af9b4e069c1976e0aad9cb07141b26b7b9a680009fe322e1e0c89",
                ),
                (
                    PHP_HELPER,
                    "72445eb0e4d94093f9f5b78038370b01741222cb7498f15ccb5cf8d476dbd83a",
                ),
            ],
        ],
        run: php::enable,
    },
    Program {
        path: SYSTEMD_HELPER,
        texts: &[
            // init-system-helpers 1.65.2 and 1.69~deb13u1
            &[(
                SYSTEMD_HELPER,
                "a895d5f077651960b6ca4ed9c53f8b36eae422ae170f61c972d0c6579e9f8732",
            )],
        ],
        run: systemd::run,
    },
    Program {
        path: UPDATE_CERTIFICATES,
        texts: &[
            // ca-certificates 20250419~deb12u2 and 20250419+deb13u1
            &[(
                UPDATE_CERTIFICATES,
                "2cb06c85b5f01c4f6b72c3983d9f66d44aac0a7ac997ee55e7e429aedbc3934d",
            )],
        ],
        run: certificates::run,
    },
];

/// The programs of the root this process has entered that can be stood in for. One with a text
/// that is not known is left alone.
pub fn known() -> Result<Vec<&'static str>, Error> {
    let mut found = Vec::new();
    for program in &PROGRAMS {
        for texts in program.texts {
            if are(texts)? {
                found.push(program.path);
                break;
            }
        }
    }
    Ok(found)
}

fn are(texts: &[(&str, &str)]) -> Result<bool, Error> {
    for (path, digest) in texts {
        // One that is diverted is another program.
        let plain = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if !plain || digest_file(Path::new(path))? != *digest {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Does what a program would do that this one was called in the place of. `None` when it was
/// called by its own name.
pub fn called(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let name = arguments.next()?;
    let name = Path::new(&name).file_name()?.to_owned();
    let program = PROGRAMS
        .iter()
        .find(|program| Path::new(program.path).file_name() == Some(&name))?;
    let original = Path::new(ORIGINALS).join(&name);
    if !original.exists() {
        return None;
    }
    let arguments: Vec<OsString> = arguments.collect();
    let words: Option<Vec<String>> = arguments
        .iter()
        .map(|word| word.to_str().map(str::to_owned))
        .collect();
    if let Some(code) = words.and_then(|words| (program.run)(&words)) {
        return Some(ExitCode::from(code));
    }
    let error = Command::new(&original).args(&arguments).exec();
    say(format_args!("{}: {error}", original.display()));
    Some(ExitCode::FAILURE)
}

/// Says something where a script would.
fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// A path that means itself wherever a shell script puts it: between quotes, without them, in a
/// regular expression of grep or sed.
fn harmless(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
    path.starts_with('/') && path.bytes().all(plain)
}

/// Whether a line of a register ends with white space and this path, as `grep` looks for it.
fn ends_with(line: &str, path: &str) -> bool {
    line.strip_suffix(path)
        .is_some_and(|before| before.ends_with([' ', '\t']))
}

/// Whether nobody has configured ucf: `/etc/ucf.conf` is as the package brings it, and no
/// variable speaks of it but the one that every build sets.
fn ucf_is_plain() -> bool {
    let text = fs::read_to_string("/etc/ucf.conf").unwrap_or_default();
    let comments = text
        .lines()
        .all(|line| line.trim().is_empty() || line.starts_with('#'));
    let mut variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    comments && !variables.any(|name| name.starts_with("UCF_") && name != "UCF_FORCE_CONFFNEW")
}

/// Whether a package or a person has diverted a file (dpkg-divert(1)).
fn diverted(path: &str) -> bool {
    let text = fs::read_to_string("/var/lib/dpkg/diversions").unwrap_or_default();
    text.lines().any(|line| line == path)
}

/// Makes room for a new `name.0`: `name.6` becomes `name.7`, and so on.
fn rotate(folder: &str, name: &str) -> std::io::Result<()> {
    let at = |number: u32| format!("{folder}/{name}.{number}");
    for number in (0..=6).rev() {
        if !Path::new(&at(number)).exists() {
            continue;
        }
        if number == 0 || Path::new(&at(number - 1)).exists() {
            fs::rename(at(number), at(number + 1))?;
        } else {
            fs::copy(at(number), at(number + 1))?;
        }
    }
    fs::copy(format!("{folder}/{name}"), at(0)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_no_shell_reads_otherwise_are_harmless() {
        assert!(harmless("/etc/php/8.2/cli/php.ini"));
        for path in [
            "etc/a", "/etc/a b", "/etc/a*", "/etc/a|b", "/etc/&", "/etc/[a]",
        ] {
            assert!(!harmless(path), "{path}");
        }
    }

    #[test]
    fn a_line_is_of_a_path_only_as_a_whole_word() {
        assert!(ends_with("php8.2-cli \t /etc/php.ini", "/etc/php.ini"));
        assert!(!ends_with("x /usr/etc/php.ini", "/etc/php.ini"));
        assert!(!ends_with("/etc/php.ini", "/etc/php.ini"));
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn old_registers_move_up_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        for (name, content) in [("r", "c"), ("r.0", "b"), ("r.1", "a"), ("r.4", "x")] {
            fs::write(format!("{folder}/{name}"), content).unwrap();
        }
        rotate(folder, "r").unwrap();
        let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).ok();
        let found: Vec<_> = ["r", "r.0", "r.1", "r.2", "r.3", "r.4", "r.5"]
            .into_iter()
            .map(read)
            .collect();
        let wanted = [
            Some("c"),
            Some("c"),
            Some("b"),
            Some("a"),
            None,
            Some("x"),
            Some("x"),
        ];
        let wanted: Vec<_> = wanted.iter().map(|text| text.map(str::to_owned)).collect();
        assert_eq!(found, wanted);
    }
}
