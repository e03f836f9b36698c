//! A workstation of its own for each test.

use assert_cmd::Command;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub const STACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
const GUEST: &[u8] = include_bytes!("../fixtures/machine/guest.img");

/// A workstation of its own; its machines end with it.
pub struct Workstation {
    pub dir: tempfile::TempDir,
}

impl Workstation {
    pub fn new() -> Workstation {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("out/tiny")).unwrap();
        std::fs::write(dir.path().join("out/tiny/box.raw"), GUEST).unwrap();
        Workstation { dir }
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("muster/tiny")
    }

    pub fn muster(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("muster").unwrap();
        command
            .current_dir(self.dir.path())
            .env("XDG_STATE_HOME", self.dir.path())
            .env("NO_COLOR", "1")
            .args(words);
        command
    }

    /// Exit code, standard output, standard error.
    pub fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.muster(words).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Starts the machine of a stack on ports of its own: tests run beside each other. Gives the
    /// exit code, standard output and standard error.
    pub fn starts(&self, stack: &str) -> (i32, String, String) {
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let (ssh, https) = (format!("22={}", free()), format!("443={}", free()));
        let forwards = ["--forward", &ssh, "--forward", &https];
        self.run(&[&["up", stack, "--accel", "tcg"][..], &forwards].concat())
    }

    pub fn up(&self) {
        let (code, _, said) = self.starts(STACK);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.starts_with("box is started (tcg: asked for)\n"),
            "{said}"
        );
        self.wait_for("ready");
    }

    pub fn wait_for(&self, text: &str) {
        let log = self.folder().join("box/serial.log");
        let end = Instant::now() + Duration::from_secs(60);
        while !std::fs::read_to_string(&log).is_ok_and(|said| said.contains(text)) {
            assert!(Instant::now() < end, "the console never said {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn row(&self) -> serde_json::Value {
        let (_, json, _) = self.run(&["ps", "tiny", "--json"]);
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["machines"][0].clone()
    }

    pub fn kill(&self) {
        let pid = self.row()["pid"].to_string();
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    /// What the guest's agent would say.
    pub fn says(&self, event: &str) {
        let log = self.folder().join("box/events.jsonl");
        let mut log = OpenOptions::new().append(true).open(log).unwrap();
        writeln!(log, "{event}").unwrap();
    }
}

impl Drop for Workstation {
    fn drop(&mut self) {
        let _ = self
            .muster(&["down", "tiny", "--purge", "--yes", "--grace", "1"])
            .output();
    }
}
