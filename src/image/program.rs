//! Running programs of the new root, with a clean environment and their output in a log.

use super::error::Error;
use super::fence::{current_root, enter_root};
use super::namespace;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lines of output that an error shows.
const TAIL: usize = 25;

/// Runs programs in the root this process has entered.
#[derive(Debug)]
pub struct Programs {
    log: File,
    root: PathBuf,
    outside: OwnedFd,
    environment: Vec<(String, String)>,
}

impl Programs {
    /// Programs of the root that will be mounted at `root`; their output goes to `log`, which is
    /// open for reading and appending. Made before that root is entered.
    pub fn new(log: File, epoch: i64, root: &Path) -> Result<Programs, Error> {
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
        Ok(Programs {
            log,
            root: root.to_owned(),
            outside: current_root()?,
            environment,
        })
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
        let failed = || Error::io("cannot run", argv[0]);
        let mut command = namespace::command("program", &self.root);
        command
            .args(argv)
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
        let mut child = self.spawn(&mut command)?.map_err(failed())?;
        let fed = match child.stdin.take() {
            Some(mut pipe) => pipe.write_all(stdin.as_bytes()),
            None => Ok(()),
        };
        let status = child.wait().and_then(|status| fed.map(|()| status));
        let status = status.map_err(failed())?;
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

    /// Starts a process outside of the root: that is where it finds this program's binary, and
    /// the way into mounts of its own.
    fn spawn(&self, command: &mut Command) -> Result<std::io::Result<Child>, Error> {
        let inside = current_root()?;
        enter_root(&self.outside)?;
        let spawned = command.spawn();
        enter_root(&inside)?;
        Ok(spawned)
    }
}
