//! One site of the stack `starter`, as a person has it on a workstation: its own state folder,
//! machines started and stopped by the `muster` command.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The command under test.
pub const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// The folder with the images, built once per run of the suite; while a test is written, the
/// one that `MUSTER_TEST_IMAGES` names.
static IMAGES: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("MUSTER_TEST_IMAGES").map_or_else(|| build("debian-12"), PathBuf::from)
});

/// The same on the other base.
static DEBIAN_13: LazyLock<PathBuf> = LazyLock::new(|| build("debian-13"));

fn build(base: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(base);
    std::fs::create_dir_all(&folder).expect("the folder for images can be made");
    let status = Command::new(MUSTER)
        .current_dir(&folder)
        .args(["build", "starter", "--base", base, "--out", "out"])
        .stdin(Stdio::null())
        .status()
        .expect("muster starts");
    assert!(status.success(), "muster build starter failed");
    folder
}

/// Where images and the lock are; `muster` runs in it.
pub fn images() -> &'static Path {
    &IMAGES
}

/// A site with its own machines. Dropping it stops them.
pub struct Site {
    state: PathBuf,
    /// Machines that were up before the test stay up after it.
    borrowed: bool,
    /// Where images and the lock are; `muster` runs in it.
    images: fn() -> &'static Path,
    name: &'static str,
    started: Instant,
}

impl Site {
    /// A site without machines yet; or, while a test is written, the machines below the
    /// state folder that `MUSTER_TEST_STATE` names.
    pub fn new(name: &'static str) -> Site {
        let borrowed = std::env::var_os("MUSTER_TEST_STATE").map(PathBuf::from);
        let own = || {
            let folder = tempfile::Builder::new()
                .prefix("muster-test-")
                .tempdir_in("/var/tmp");
            folder.expect("a state folder").keep()
        };
        Site {
            borrowed: borrowed.is_some(),
            state: borrowed.unwrap_or_else(own),
            images,
            name,
            started: Instant::now(),
        }
    }

    /// The same from images of Debian 13.
    pub fn on_debian_13(name: &'static str) -> Site {
        let mut site = Site::new(name);
        site.images = || &DEBIAN_13;
        site
    }

    /// Whether the machines were up before.
    pub fn borrowed(&self) -> bool {
        self.borrowed
    }

    /// Says what has been seen, with the time since the site began.
    pub fn saw(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!(
            "[{} {:>2}m{:02}s] {what}",
            self.name,
            seconds / 60,
            seconds % 60
        );
    }

    /// The folder of the stack's machines.
    pub fn folder(&self) -> PathBuf {
        self.state.join("muster/starter")
    }

    /// `muster ARGS…` in this site.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        let folder = if self.borrowed {
            Path::new("/")
        } else {
            (self.images)()
        };
        command
            .current_dir(folder)
            .env("XDG_STATE_HOME", &self.state)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs `muster ARGS…` and gives its output whatever its exit code.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("muster starts")
    }

    /// Runs `muster ARGS…`, which must succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "muster {} ended with {}\n{}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            self.tail(&output),
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn tail(&self, output: &Output) -> String {
        let serial = std::fs::read_to_string(self.folder().join("office/serial.log"))
            .or_else(|_| std::fs::read_to_string(self.folder().join("serial.log")))
            .unwrap_or_default();
        let lines: Vec<&str> = serial.lines().collect();
        format!(
            "{}\nlast serial lines:\n{}",
            String::from_utf8_lossy(&output.stderr),
            lines[lines.len().saturating_sub(40)..].join("\n")
        )
    }

    /// The clear password of a person of the demonstration.
    pub fn password(&self, person: &str) -> String {
        let file = self.folder().join("demo-passwords.toml");
        let text = std::fs::read_to_string(file).expect("demo passwords");
        let table: toml::Table = text.parse().expect("TOML");
        let password = table.get(person).and_then(|value| value.as_str());
        password.expect("a password").to_owned()
    }

    /// Runs a shell command as root on the host; it must succeed.
    pub fn on_host(&self, script: &str) -> String {
        self.on_host_as(&self.password("admin"), script)
    }

    /// The same, where the administrator has this password: sudo asks for it.
    pub fn on_host_as(&self, password: &str, script: &str) -> String {
        let script = quote(script);
        let sudo = ["sudo", "-S", "-p", "''", "sh", "-euc", &script];
        let mut child = self
            .command(&[&["ssh", "starter", "office", "--"], &sudo[..]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("muster starts");
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "{password}").expect("ssh takes a line");
        drop(stdin);
        let output = child.wait_with_output().expect("muster ends");
        assert!(
            output.status.success(),
            "{script} ended with {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            self.tail(&output),
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Every integration of `muster verify` by id: (green, reason).
    pub fn verify(&self) -> Vec<(String, bool, String)> {
        let output = self.run(&["verify", "starter", "--json"]);
        let value: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("verify gave no JSON: {error}\n{}", self.tail(&output)));
        value["integrations"]
            .as_array()
            .expect("integrations")
            .iter()
            .map(|row| {
                let words = row["probes"].as_array().expect("probes").iter();
                let red = words.filter(|probe| probe["colour"] != "green");
                let reasons: Vec<&str> = red.filter_map(|probe| probe["words"].as_str()).collect();
                (
                    row["id"].as_str().expect("id").to_owned(),
                    row["colour"] == "green",
                    reasons.join("; "),
                )
            })
            .collect()
    }

    /// Pulls the plug: QEMU is killed.
    pub fn cut_power(&self) {
        let pid = self.ps()["machines"][0]["pid"].as_i64().expect("pid");
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.expect("kill starts").success());
        // It has ended when its last thread has: then ports and disk are free again.
        wait("QEMU to be gone", Duration::from_secs(30), || {
            (self.ps()["machines"][0]["condition"] == "died").then_some(())
        });
    }

    /// `ps --json`.
    pub fn ps(&self) -> Value {
        serde_json::from_str(&self.must(&["ps", "starter", "--json"])).expect("JSON")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failed-{}", self.name));
            let _ = std::fs::remove_dir_all(&kept);
            let _ = std::fs::create_dir_all(&kept);
            let _ = Command::new("sh")
                .arg("-c")
                .arg("find \"$1\" \\( -name '*.log' -o -name '*.jsonl' \\) -exec cp {} \"$2\" \\;")
                .arg("sh")
                .args([self.folder(), kept.clone()])
                .status();
            println!("[{}] logs kept in {}", self.name, kept.display());
        }
        if !self.borrowed {
            let _ = self.run(&["down", "starter", "--purge", "--yes", "--grace", "1"]);
            let _ = std::fs::remove_dir_all(&self.state);
        }
    }
}

/// Quotes a script for the shell that sshd starts.
fn quote(script: &str) -> String {
    format!("'{}'", script.replace('\'', "'\\''"))
}

/// Waits until `condition` gives a value; panics with `what` after `limit`.
pub fn wait<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
