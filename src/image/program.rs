//! Running programs of the new root, with a clean environment and their output in a log.

use super::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// Lines of output that an error shows.
const TAIL: usize = 25;

/// Runs programs in the root this process has entered.
#[derive(Debug)]
pub struct Programs {
    log: File,
    environment: Vec<(String, String)>,
}

impl Programs {
    /// Writes all output to `log`, which is open for reading and appending.
    pub fn new(log: File, epoch: i64) -> Programs {
        let fixed = [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("DEBCONF_NOWARNINGS", "yes"),
            ("SYSTEMD_OFFLINE", "1"),
            ("UCF_FORCE_CONFFNEW", "1"),
            ("PERL_HASH_SEED", "0"),
        ];
        let mut environment: Vec<(String, String)> = fixed
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        environment.push(("SOURCE_DATE_EPOCH".into(), epoch.to_string()));
        Programs { log, environment }
    }

    /// Runs a program to its end; `what` names it in an error.
    pub fn run(&self, what: &str, argv: &[&str]) -> Result<(), Error> {
        self.run_with(what, argv, &[], "")
    }

    /// As [`Programs::run`], with further environment and standard input.
    pub fn run_with(
        &self,
        what: &str,
        argv: &[&str],
        environment: &[(&str, &str)],
        stdin: &str,
    ) -> Result<(), Error> {
        let log = |file: std::io::Result<File>| file.map_err(Error::io("cannot open", "the log"));
        let mut output = log(self.log.try_clone())?;
        let start = output
            .seek(SeekFrom::End(0))
            .map_err(Error::io("cannot read", "the log"))?;
        let _ = writeln!(output, "+ {}", argv.join(" "));
        let failed = Error::io("cannot run", argv[0]);
        let mut command = Command::new(argv[0]);
        command
            .args(&argv[1..])
            .current_dir("/")
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .envs(environment.iter().copied())
            .stdin(if stdin.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(log(output.try_clone())?)
            .stderr(log(output.try_clone())?);
        let status = command.spawn().and_then(|mut child| {
            if let Some(mut pipe) = child.stdin.take() {
                pipe.write_all(stdin.as_bytes())?;
            }
            child.wait()
        });
        let status = status.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let mut text = Vec::new();
        let _ = output.seek(SeekFrom::Start(start));
        let _ = output.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        Err(Error::Program {
            what: what.to_owned(),
            status: status.to_string(),
            tail,
        })
    }
}
