//! Child processes: bounded in time, their last words kept, their way to repeat them shown.

use crate::site::accounts::Accounts;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes kept of each output stream; the rest is read and dropped from the front.
const KEPT: usize = 64 * 1024;

/// Lines shown when a child fails.
const TAIL: usize = 12;

/// Readers of the output need no more.
const READER_STACK: usize = 64 * 1024;

/// One program to run, with everything it gets.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Program and arguments; never a secret in them.
    pub command: Vec<String>,
    /// Local account; root when absent.
    pub user: Option<String>,
    /// Standard input; `/dev/null` when absent.
    pub stdin: Option<String>,
    /// Added to a small fixed environment.
    pub environment: BTreeMap<String, String>,
    /// `/` when absent.
    pub directory: Option<String>,
    /// The whole process group is killed after this; ten minutes when zero.
    pub limit: Duration,
}

/// Why a child did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// Nothing to run.
    #[error("the command is empty")]
    Empty,
    /// It could not be started.
    #[error("cannot start `{program}`: {reason}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        reason: String,
    },
    /// It ended with another status than 0.
    #[error("`{program}` {how}")]
    Failed {
        /// The program.
        program: String,
        /// `exited with status 2`, `was killed by signal 9`.
        how: String,
        /// Exit status, if it exited by itself.
        code: Option<i32>,
        /// Last lines of what it said.
        tail: String,
        /// A line for a shell that does it again.
        repeat: String,
    },
    /// It took too long.
    #[error("`{program}` did not end within {seconds} s and was stopped")]
    TooLong {
        /// The program.
        program: String,
        /// The limit.
        seconds: u64,
        /// Last lines of what it said.
        tail: String,
        /// A line for a shell that does it again.
        repeat: String,
    },
}

impl ProcessError {
    /// Last lines of output and how to repeat it, for people; may be empty.
    pub fn output(&self) -> String {
        match self {
            ProcessError::Failed { tail, repeat, .. }
            | ProcessError::TooLong { tail, repeat, .. } => {
                let mut text = tail.clone();
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str("repeat it with: ");
                text.push_str(repeat);
                text
            }
            _ => String::new(),
        }
    }

    /// How it ended, with the last line it said.
    pub fn whole(&self) -> String {
        match self.last_words() {
            words if words == self.to_string() => words,
            words => format!("{self}: {words}"),
        }
    }

    /// The last line the child said, or how it ended.
    pub fn last_words(&self) -> String {
        match self {
            ProcessError::Failed { tail, .. } | ProcessError::TooLong { tail, .. } => tail
                .lines()
                .rfind(|line| !line.trim().is_empty())
                .map_or_else(|| self.to_string(), |line| line.trim().to_string()),
            _ => self.to_string(),
        }
    }
}

/// What a successful child said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Program {
    /// A program with arguments, run as ourselves.
    pub fn new<'a>(command: impl IntoIterator<Item = &'a str>) -> Program {
        Program {
            command: command.into_iter().map(str::to_string).collect(),
            ..Program::default()
        }
    }

    fn limit(&self) -> Duration {
        if self.limit.is_zero() {
            Duration::from_secs(600)
        } else {
            self.limit
        }
    }

    /// The command line with the change of account in front. setpriv(1) keeps it one line
    /// that a person can type, gives the account's own groups, and logs no session.
    fn whole(&self) -> Vec<&str> {
        let mut words = Vec::new();
        if let Some(user) = &self.user {
            words.extend([
                "setpriv",
                "--reuid",
                user,
                "--regid",
                user,
                "--init-groups",
                "--",
            ]);
        }
        words.extend(self.command.iter().map(String::as_str));
        words
    }

    /// The line for a shell that does it again. What went in by standard input or by the
    /// environment is named, not shown: it may hold secrets.
    fn repeat(&self) -> String {
        let mut line = String::new();
        if let Some(directory) = self.directory.as_deref().filter(|path| *path != "/") {
            line.push_str(&format!("cd {} && ", shell_word(directory)));
        }
        let words: Vec<String> = self.whole().into_iter().map(shell_word).collect();
        line.push_str(&words.join(" "));
        if self.stdin.is_some() {
            line.push_str("   # with its standard input");
        }
        if !self.environment.is_empty() {
            let names: Vec<&str> = self.environment.keys().map(String::as_str).collect();
            line.push_str(&format!("   # with {} set", names.join(", ")));
        }
        line
    }

    /// The home of its account: libraries look there for what is the account's own, and must
    /// not stumble over root's, which they may not read.
    fn home(&self) -> String {
        let Some(user) = &self.user else {
            return "/root".into();
        };
        let accounts = Accounts::read(Path::new("/")).ok();
        let home = accounts.and_then(|accounts| Some(accounts.user(user)?.home.clone()));
        home.unwrap_or_else(|| "/".into())
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Said, ProcessError> {
        let words = self.whole();
        let program = self.command.first().ok_or(ProcessError::Empty)?.clone();
        let [first, arguments @ ..] = words.as_slice() else {
            return Err(ProcessError::Empty);
        };
        let start = |error: std::io::Error| ProcessError::Start {
            program: program.clone(),
            reason: match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no program `{first}`"),
                _ => error.to_string(),
            },
        };
        let mut child = Command::new(first)
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .envs(&self.environment)
            .current_dir(self.directory.as_deref().unwrap_or("/"))
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        if let (Some(text), Some(mut pipe)) = (self.stdin.clone(), child.stdin.take()) {
            // A child that does not read its input closes the pipe: its own status tells.
            in_background(move || drop(pipe.write_all(text.as_bytes())));
        }
        let stdout = Kept::reader(child.stdout.take());
        let stderr = Kept::reader(child.stderr.take());
        let status = wait(&mut child, self.limit()).map_err(start)?;
        let said = Said {
            stdout: stdout.text(),
            stderr: stderr.text(),
        };
        match status {
            Some(status) if status.success() => Ok(said),
            Some(status) => Err(ProcessError::Failed {
                program,
                how: how(status),
                code: status.code(),
                tail: tail(&said),
                repeat: self.repeat(),
            }),
            None => Err(ProcessError::TooLong {
                program,
                seconds: self.limit().as_secs(),
                tail: tail(&said),
                repeat: self.repeat(),
            }),
        }
    }
}

/// Waits for the end; at the limit stops the whole process group and gives `None`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    for (signal, patience) in [
        (nix::sys::signal::Signal::SIGTERM, 5000),
        (nix::sys::signal::Signal::SIGKILL, 5000),
    ] {
        // The group may have ended meanwhile.
        let _ = nix::sys::signal::killpg(group, signal);
        for _ in 0..patience / 20 {
            if child.try_wait()?.is_some() {
                // Members that outlive their leader go too.
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(None)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_string(),
    }
}

/// The end of what a child said: its errors, or its output when it gave none.
fn tail(said: &Said) -> String {
    let text = if said.stderr.trim().is_empty() {
        &said.stdout
    } else {
        &said.stderr
    };
    last_lines(text, TAIL)
}

/// The last lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A word as a POSIX shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn in_background(work: impl FnOnce() + Send + 'static) {
    // Without a thread the child sees its pipe closed, and says so.
    let _ = std::thread::Builder::new()
        .stack_size(READER_STACK)
        .spawn(work);
}

/// The end of a stream, read while the child runs.
struct Kept {
    text: Arc<Mutex<(Vec<u8>, bool)>>,
}

impl Kept {
    fn reader(stream: Option<impl Read + Send + 'static>) -> Kept {
        let kept = Kept {
            text: Arc::new(Mutex::new((Vec::new(), stream.is_none()))),
        };
        let Some(mut stream) = stream else {
            return kept;
        };
        let text = Arc::clone(&kept.text);
        in_background(move || {
            let mut chunk = [0; 4096];
            loop {
                let read = stream.read(&mut chunk).unwrap_or(0);
                let mut text = text.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if read == 0 {
                    text.1 = true;
                    return;
                }
                text.0.extend_from_slice(&chunk[..read]);
                if text.0.len() > 2 * KEPT {
                    let surplus = text.0.len() - KEPT;
                    text.0.drain(..surplus);
                }
            }
        });
        kept
    }

    /// What was said. A daemon that the child left behind may hold the pipe open for ever,
    /// so its end is not waited for longer than a second.
    fn text(&self) -> String {
        let start = Instant::now();
        loop {
            let text = self
                .text
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            if text.1 || start.elapsed() > Duration::from_secs(1) {
                return String::from_utf8_lossy(&text.0).into_owned();
            }
            drop(text);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_child_shows_its_last_words_and_how_to_repeat_it() {
        let error = Program {
            stdin: Some("secret".into()),
            ..Program::new(["sh", "-c", "cat >/dev/null; echo why >&2; exit 3"])
        }
        .run()
        .expect_err("it fails");
        assert_eq!(error.to_string(), "`sh` exited with status 3");
        assert_eq!(error.last_words(), "why");
        assert_eq!(
            error.output(),
            "why\nrepeat it with: sh -c 'cat >/dev/null; echo why >&2; exit 3'   \
             # with its standard input"
        );
    }

    #[test]
    fn a_child_of_another_account_is_at_home_there() {
        let home = |user: Option<&str>| {
            let program = Program {
                user: user.map(Into::into),
                ..Program::new(["env"])
            };
            program.home()
        };
        assert_eq!(home(None), "/root");
        assert_eq!(home(Some("mail")), "/var/mail");
        assert_eq!(home(Some("no-such-account")), "/");
    }

    #[test]
    fn a_child_that_does_not_end_is_stopped_with_all_its_children() {
        let directory = tempfile::tempdir().expect("a directory");
        let flag = directory.path().join("alive");
        let script = format!("(sleep 3; touch {}) & sleep 60", flag.display());
        let start = Instant::now();
        let error = Program {
            limit: Duration::from_secs(1),
            ..Program::new(["sh", "-c", &script])
        }
        .run()
        .expect_err("it takes too long");
        assert_eq!(
            error.to_string(),
            "`sh` did not end within 1 s and was stopped"
        );
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_secs(4));
        assert!(!flag.exists(), "the grandchild was left alive");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_hold_us() {
        let start = Instant::now();
        let said = Program::new(["sh", "-c", "echo up; sleep 20 &"])
            .run()
            .expect("it ends");
        assert_eq!(said.stdout, "up\n");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_absent_program_is_named() {
        assert_eq!(
            Program::new(["no-such-program"])
                .run()
                .expect_err("absent")
                .to_string(),
            "cannot start `no-such-program`: there is no program `no-such-program`"
        );
    }

    #[test]
    fn much_output_is_cut_from_the_front() {
        let said = Program::new(["sh", "-c", "yes | head -c 1000000; echo end"])
            .run()
            .expect("it ends");
        assert!(said.stdout.len() <= 2 * KEPT + 4096);
        assert!(said.stdout.ends_with("end\n"));
    }
}
