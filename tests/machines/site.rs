//! One site of the stack `office`, as a person has it on a workstation: its own state folder,
//! machines started and stopped by the `muster` command.

use crate::contents::{self, Contents};
use muster::machine::qemu::qmp::Qmp;
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The command under test.
pub const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Images of Debian 12, built once per run of the suite.
static DEBIAN_12: LazyLock<PathBuf> = LazyLock::new(build);

/// While a test is written, images and the brought-up site of an earlier run are good enough.
fn again() -> bool {
    std::env::var_os("MUSTER_TEST_AGAIN").is_some()
}

fn build() -> PathBuf {
    let base = "debian-12";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(base);
    if again() && folder.join("out/office/office.manifest.json").is_file() {
        return folder;
    }
    std::fs::create_dir_all(&folder).expect("the folder for images can be made");
    let status = Command::new(MUSTER)
        .current_dir(&folder)
        .args(["build", "office", "--base", base, "--out", "out"])
        .stdin(Stdio::null())
        .status()
        .expect("muster starts");
    assert!(status.success(), "muster build office failed");
    folder
}

/// `up` for whoever tests neither firmware nor boot loader. Two tests run at the same time:
/// emulated processors that share a real one spend most of it on waiting for each other.
pub const UP: [&str; 8] = [
    "up",
    "office",
    "--no-input",
    "--direct-kernel",
    "--cpus",
    "1",
    "--out",
    "out",
];

/// Whether the suite may take as long as it likes.
pub fn soak() -> bool {
    std::env::var_os("MUSTER_SOAK").is_some()
}

/// Where the images of Debian 12 and their lock are.
pub fn images() -> &'static Path {
    &DEBIAN_12
}

/// The state folder of a site that was brought up without a person and has shut down, and
/// what was on its host.
pub struct BroughtUp {
    state: PathBuf,
    /// See [`contents::of`].
    pub contents: Contents,
}

/// Brought up once per run of the suite; every test forks its own from it.
pub static BROUGHT_UP: LazyLock<BroughtUp> = LazyLock::new(|| {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("brought-up");
    let listed = state.join("contents");
    if again()
        && let Ok(text) = std::fs::read_to_string(&listed)
    {
        let contents = contents::parse(&text);
        return BroughtUp { state, contents };
    }
    let _ = std::fs::remove_dir_all(&state);
    std::fs::create_dir_all(&state).expect("a state folder");
    let mut site = Site::new("brought-up");
    site.state = state.clone();
    // Which ports are taken when nobody asks for any is seen here.
    site.ports = None;
    let up = ["up", "office", "--no-input", "--cpus", "1", "--out", "out"];
    site.must(&[&up[..], &["--wait"]].concat());
    site.saw("bring-up ended green");
    let contents = contents::of(&site);
    site.must(&["down", "office"]);
    site.saw("shut down");
    std::fs::write(listed, contents::text(&contents)).expect("written");
    site.kept = true;
    BroughtUp { state, contents }
});

/// A site with its own machines. Dropping it stops them.
pub struct Site {
    state: PathBuf,
    /// Dropping it leaves all as it is.
    kept: bool,
    name: &'static str,
    /// The first of its own ports, in the order of [`OFFERED`].
    ports: Option<u16>,
    started: Instant,
}

/// Ports of the guest that lead somewhere.
const OFFERED: [u16; 6] = [22, 25, 80, 443, 587, 993];

/// Ports of this computer that no other site takes while this one's machine stands still, and
/// the system not for a connection of somebody's.
fn own_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let count = OFFERED.len() as u16;
    loop {
        let first = NEXT.fetch_add(count, Ordering::SeqCst);
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(free) {
            return first;
        }
    }
}

impl Site {
    /// A site without machines yet.
    pub fn new(name: &'static str) -> Site {
        let folder = tempfile::Builder::new()
            .prefix("muster-test-")
            .tempdir_in("/var/tmp");
        Site {
            state: folder.expect("a state folder").keep(),
            kept: false,
            name,
            ports: Some(own_ports()),
            started: Instant::now(),
        }
    }

    /// A site without machines yet whose people, passwords and key are those of
    /// [`BROUGHT_UP`].
    pub fn with_same_answers(name: &'static str) -> Site {
        let from = BROUGHT_UP.state.join("muster/office");
        let site = Site::new(name);
        let to = site.folder();
        std::fs::create_dir_all(&to).expect("a folder");
        for file in [
            "answers.toml",
            "demo-passwords.toml",
            "id_ed25519",
            "id_ed25519.pub",
        ] {
            std::fs::copy(from.join(file), to.join(file)).expect("copied");
        }
        site
    }

    /// Answers that its address is typed in; before it is first started.
    pub fn answers_address(&self, address: &str, gateway: &str, dns: &str) {
        let file = self.folder().join("answers.toml");
        let text = std::fs::read_to_string(&file).expect("readable");
        let mut answers: toml::Table = text.parse().expect("TOML");
        let network = [
            ("mode", "static"),
            ("address", address),
            ("gateway", gateway),
            ("dns", dns),
        ];
        let network = network.map(|(key, value)| (key.to_owned(), value.into()));
        answers.insert(
            "network".into(),
            toml::Value::Table(network.into_iter().collect()),
        );
        std::fs::write(&file, answers.to_string()).expect("written");
    }

    /// [`BROUGHT_UP`] with a disk over its disk, and ports of its own; not started.
    pub fn fork(name: &'static str) -> Site {
        let from = BROUGHT_UP.state.join("muster/office");
        let mut site = Site::new(name);
        let to = site.folder();
        std::fs::create_dir_all(to.join("office")).expect("a folder");
        for entry in walkdir::WalkDir::new(&from).min_depth(1) {
            let entry = entry.expect("readable");
            let path = entry.path().strip_prefix(&from).expect("below");
            // The image stays where it is; the record says where that is.
            let disk = ["disk.qcow2", "image.raw"]
                .iter()
                .any(|name| path.ends_with(name));
            if entry.file_type().is_file() && !disk {
                std::fs::copy(entry.path(), to.join(path)).expect("copied");
            }
        }
        let disk = from.join("office/disk.qcow2");
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .args([disk, to.join("office/disk.qcow2")])
            .status();
        assert!(made.expect("qemu-img starts").success());
        let record = to.join("office/machine.json");
        let text = std::fs::read_to_string(&record).expect("readable");
        let mut machine: Value = serde_json::from_str(&text).expect("JSON");
        for forward in machine["forwards"].as_array_mut().expect("ports") {
            let guest = forward["guest"]
                .as_u64()
                .and_then(|port| port.try_into().ok());
            forward["host"] = site.port(guest.expect("a port")).into();
        }
        std::fs::write(record, machine.to_string()).expect("written");
        site.started = Instant::now();
        site
    }

    /// Which port of this computer leads to one of the guest.
    fn port(&self, guest: u16) -> u16 {
        let index = OFFERED.iter().position(|offered| *offered == guest);
        self.ports.expect("ports of its own") + index.expect("it leads somewhere") as u16
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
        self.state.join("muster/office")
    }

    /// `muster ARGS…` in this site.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .current_dir(images())
            .env("XDG_STATE_HOME", &self.state)
            .args(arguments)
            .stdin(Stdio::null());
        let fresh = !self.folder().join("office/machine.json").exists();
        if arguments.first() == Some(&"up") && fresh && self.ports.is_some() {
            for guest in OFFERED {
                let forward = format!("{guest}={}", self.port(guest));
                command.args(["--forward", &forward]);
            }
        }
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
            .command(&[&["ssh", "office", "office", "--"], &sudo[..]].concat())
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
        let output = self.run(&["verify", "office", "--json"]);
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

    /// What `muster status` tells a person, and its exit code.
    pub fn status(&self) -> (String, Option<i32>) {
        let output = self.run(&["status", "office"]);
        let both = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&both).into_owned();
        (said, output.status.code())
    }

    /// Digests of all secrets and of the authority, one a line.
    pub fn secrets(&self) -> String {
        self.on_host("cd /var/lib/muster && find secrets ca -type f | sort | xargs sha256sum")
    }

    /// Sets the host's clock to the time it is.
    pub fn set_clock_right(&self) {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        self.on_host(&format!("systemctl stop chrony; date --set @{now}"));
    }

    /// Waits until all is green in the agent's eyes, and then in those of `muster verify`, which
    /// costs the host more than being asked how it stands.
    pub fn comes_back(&self, what: &str, limit: Duration) {
        let green = |command: &str| self.run(&[command, "office"]).status.success();
        wait(what, limit, || {
            let green = green("status") && green("verify");
            if !green {
                std::thread::sleep(Duration::from_secs(4));
            }
            green.then_some(())
        });
        self.saw(what);
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

    /// QEMU itself, for what no person would ask for.
    pub fn qemu(&self) -> Qmp {
        let socket = self.folder().join("office/qmp.sock");
        Qmp::connect(&socket, Duration::from_secs(30)).expect("QEMU answers")
    }

    /// `ps --json`.
    pub fn ps(&self) -> Value {
        serde_json::from_str(&self.must(&["ps", "office", "--json"])).expect("JSON")
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
        if !self.kept {
            let _ = self.run(&["down", "office", "--purge", "--yes", "--grace", "1"]);
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
