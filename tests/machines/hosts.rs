//! The machines of a stack of several hosts, started and stopped by the `muster` command.

use crate::site::{MUSTER, wait};
use muster::machine::qemu::qmp::Qmp;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Hosts of one stack. Dropping it stops and deletes them.
pub struct Hosts {
    stack: &'static str,
    folder: tempfile::TempDir,
    /// The administrator's; without it, that of the demonstration.
    password: Option<&'static str>,
    started: Instant,
}

impl Hosts {
    /// Hosts of this stack, none of which is there yet.
    pub fn new(stack: &'static str) -> Hosts {
        Hosts {
            stack,
            folder: tempfile::Builder::new()
                .prefix("muster-test-")
                .tempdir_in("/var/tmp")
                .expect("a folder"),
            password: None,
            started: Instant::now(),
        }
    }

    /// Hosts of a stack with this description, which stands in a folder of its name.
    pub fn of(stack: &'static str, description: &str) -> Hosts {
        let hosts = Hosts::new(stack);
        let folder = hosts.folder().join(stack);
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("stack.toml"), description).expect("written");
        hosts
    }

    /// The same where a person has chosen this password for the administrator.
    pub fn with_password(mut self, password: &'static str) -> Hosts {
        self.password = Some(password);
        self
    }

    /// Where `muster` runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the stack's machines.
    pub fn state(&self) -> PathBuf {
        self.folder().join("state/muster").join(self.stack)
    }

    /// Says what has been seen, with the time since it began.
    pub fn saw(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!(
            "[{} {:>2}m{:02}s] {what}",
            self.stack,
            seconds / 60,
            seconds % 60
        );
    }

    /// `muster ARGS…` among these hosts.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs `muster ARGS…`, which must succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("muster starts");
        assert!(
            output.status.success(),
            "muster {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What a shell command says on a host; nothing where it fails.
    pub fn on(&self, host: &str, script: &str) -> Option<String> {
        let output = self.run(host, script);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }

    /// Runs a shell command on a host.
    pub fn run(&self, host: &str, script: &str) -> Output {
        let quoted = quoted(script);
        let words = ["ssh", self.stack, host, "--", "sh", "-euc", &quoted];
        self.command(&words).output().expect("muster starts")
    }

    /// The same as root, which must succeed.
    pub fn as_root(&self, host: &str, script: &str) -> String {
        let output = self.run_as_root(host, script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} on {host}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The same; nothing where it fails, or the host does not answer.
    pub fn try_as_root(&self, host: &str, script: &str) -> Option<String> {
        let output = self.run_as_root(host, script);
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        output.status.success().then_some(said)
    }

    /// The administrator's password.
    pub fn password(&self) -> String {
        if let Some(chosen) = self.password {
            return chosen.to_owned();
        }
        let file = self.state().join("demo-passwords.toml");
        let text = fs::read_to_string(file).expect("demo passwords");
        let table: toml::Table = text.parse().expect("TOML");
        table["admin"].as_str().expect("a password").to_owned()
    }

    /// The same, whatever comes of it.
    pub fn run_as_root(&self, host: &str, script: &str) -> Output {
        let (password, script) = (self.password(), quoted(script));
        self.run(
            host,
            &format!("echo '{password}' | sudo -S -p '' sh -euc {script}"),
        )
    }

    /// The control socket of a host's QEMU.
    pub fn qemu(&self, host: &str) -> Qmp {
        let socket = self.state().join(host).join("qmp.sock");
        Qmp::connect(&socket, Duration::from_secs(30)).expect("QEMU answers")
    }

    /// Pulls the plug of a host: its QEMU is killed.
    pub fn cut_power(&self, host: &str) {
        let condition = |field: &str| {
            let ps: Value = serde_json::from_str(&self.must(&["ps", self.stack, "--json"])).ok()?;
            let machines = ps["machines"].as_array()?.clone();
            let machine = machines.into_iter().find(|one| one["role"] == host)?;
            Some(machine[field].clone())
        };
        let pid = condition("pid")
            .and_then(|pid| pid.as_i64())
            .expect("it runs");
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.expect("kill starts").success());
        wait("QEMU to be gone", Duration::from_secs(30), || {
            (condition("condition")? == "died").then_some(())
        });
    }

    /// What `muster status` or `muster verify` shows on a host, and says beside it.
    pub fn shows(&self, host: &str, command: &str) -> (Value, String) {
        let shown = self.try_shows(host, command);
        shown.unwrap_or_else(|said| panic!("{command} on {host}: {said}"))
    }

    fn try_shows(&self, host: &str, command: &str) -> Result<(Value, String), String> {
        let output = self.run(host, &format!("muster {command} --json"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match serde_json::from_slice(&output.stdout) {
            Ok(shown) => Ok((shown, said)),
            Err(error) => Err(format!("{error}: {said}")),
        }
    }

    /// Waits until a host shows the site so.
    pub fn until(&self, host: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        self.until_within(Duration::from_secs(150), host, what, holds);
    }

    /// The same with another limit.
    pub fn until_within(
        &self,
        limit: Duration,
        host: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) {
        let began = Instant::now();
        let said = loop {
            // One that starts does not answer yet.
            let shows = self.try_shows(host, "status");
            if let Ok((shown, said)) = &shows
                && holds(shown)
            {
                break said.trim().to_owned();
            }
            assert!(
                began.elapsed() < limit,
                "waited {limit:?} in vain for {host} to show {what}; it shows {}",
                shows.map_or_else(|said| said, |(shown, _)| unwell(&shown)),
            );
            std::thread::sleep(Duration::from_secs(2));
        };
        if !said.is_empty() {
            self.saw(&format!("{host} adds: {said}"));
        }
        let seconds = began.elapsed().as_secs();
        self.saw(&format!("{host} shows {what} after {seconds} s"));
    }
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r"'\''"))
}

/// What is not green of what a host shows, and what needs attention.
fn unwell(shown: &Value) -> String {
    let not_green = |list: &str| {
        let all = shown[list].as_array().cloned().unwrap_or_default();
        let unwell = all.into_iter().filter(|one| one["colour"] != "green");
        Value::from_iter(unwell)
    };
    format!(
        "{} of {} proven, {}; integrations {:#}; services {:#}; attention {:#}",
        shown["proven"],
        shown["total"],
        shown["outcome"],
        not_green("integrations"),
        not_green("services"),
        shown["attention"],
    )
}

/// One field of each thing in a list.
pub fn each<'a>(shown: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let list = shown[list].as_array().expect("a list").iter();
    list.map(|one| one[field].as_str().expect("a text"))
        .collect()
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self
            .command(&["down", self.stack, "--purge", "--yes", "--grace", "1"])
            .output();
    }
}
