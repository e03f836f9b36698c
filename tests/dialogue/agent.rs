//! `muster agent setup` as a host runs it, in namespaces of its own: its consoles are
//! terminals of this test, and all that it has besides is a folder.

use crate::person::{Person, stack};
use muster::agent::facts::Facts;
use nix::fcntl::OFlag;
use std::fs::{File, read_to_string};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Namespaces that an ordinary person may make too. The host has terminals, nothing to write
/// away to and random numbers; nothing of it reaches this machine's name, network or mounts.
const ENTER: &str = "\
    root=$1 muster=$2; shift 2\n\
    mount --bind \"$muster\" \"$root/muster\"\n\
    mount --rbind /dev/pts \"$root/dev/pts\"\n\
    for device in null random urandom; do mount --bind \"/dev/$device\" \"$root/dev/$device\"; done\n\
    exec chroot \"$root\" /muster \"$@\"";

/// A host before its first answer.
pub struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    /// With these consoles.
    pub fn new(consoles: &[&str]) -> Host {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let host = Host { folder };
        let facts = Facts {
            image_id: "0".repeat(64),
            role: "office".into(),
            stack: stack(),
        };
        let facts = serde_json::to_string(&facts).expect("JSON");
        for (path, content) in [
            ("usr/share/muster/image.json", facts.as_str()),
            ("sys/class/tty/console/active", &consoles.join(" ")),
            ("proc/cmdline", "root=PARTLABEL=root-a rw"),
            ("proc/sys/kernel/printk", "4\t4\t1\t7\n"),
            ("etc/default/keyboard", "XKBLAYOUT=\"us\"\n"),
            ("muster", ""),
            ("dev/null", ""),
            ("dev/random", ""),
            ("dev/urandom", ""),
            ("dev/pts/none", ""),
            ("dev/virtio-ports/org.muster.events", ""),
            ("var/lib/muster/ssh/ssh_host_ed25519_key", "private"),
            (
                "var/lib/muster/ssh/ssh_host_ed25519_key.pub",
                "ssh-ed25519 AAAA",
            ),
        ] {
            let path = host.path(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        std::fs::remove_file(host.path("dev/pts/none")).expect("removed");
        host
    }

    /// A file of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Somebody at a console of the host.
    pub fn person(&self, console: &str) -> Person {
        Person::sits_down_at(&self.path("dev").join(console))
    }

    /// Starts the agent; TERM as a service may find it.
    pub fn starts(&self, term: Option<&str>) -> Agent {
        let log = |name: &str| {
            let mut log = File::options();
            let log = log.append(true).create(true).open(self.path(name));
            Stdio::from(log.expect("a log"))
        };
        let mut command = self.muster(&["agent", "setup"], by_root());
        command.stdout(log("out.log")).stderr(log("err.log"));
        if let Some(term) = term {
            command.env("TERM", term);
        }
        Agent(command.spawn().expect("unshare starts"))
    }

    /// A command of this host, by somebody who sits at no terminal.
    fn muster(&self, words: &[&str], who: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--uts", "--net", "--ipc"])
            .args(who)
            .args(["sh", "-ec", ENTER, "sh"])
            .arg(self.folder.path())
            .arg(env!("CARGO_BIN_EXE_muster"))
            .args(words)
            .env_remove("TERM")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// The same by root at a console of this host.
    pub fn runs_at(&self, console: &str, words: &[&str]) -> Agent {
        let device = self.path("dev").join(console);
        let open = || {
            let mut options = File::options();
            let options = options.read(true).write(true);
            let device = options.custom_flags(OFlag::O_NOCTTY.bits()).open(&device);
            Stdio::from(device.expect("a terminal"))
        };
        let mut command = self.muster(words, by_root());
        command.stdin(open()).stdout(open()).stderr(open());
        Agent(command.spawn().expect("unshare starts"))
    }

    /// What a command says to root on standard error, on one line, and how it ends.
    pub fn says(&self, words: &[&str]) -> (String, Option<i32>) {
        ended(self.muster(words, by_root()))
    }

    /// The same, said to anybody else.
    pub fn says_to_a_user(&self, words: &[&str]) -> (String, Option<i32>) {
        // Who makes the namespaces may still mount and chroot in them.
        let user = ["--map-user=1000", "--map-group=1000", "--keep-caps"];
        ended(self.muster(words, &user))
    }

    /// What the agent has said on standard error so far, on one line.
    pub fn has_said(&self) -> String {
        tight(&std::fs::read(self.path("err.log")).unwrap_or_default())
    }

    /// The site, once everything is answered.
    pub fn site(&self) -> serde_json::Value {
        let text = read_to_string(self.path("var/lib/muster/site.json")).expect("a site");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Every file of the host that holds one of these words.
    pub fn holding(&self, words: &[&str]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(self.folder.path()) {
            let entry = entry.expect("a file");
            if entry.file_type().is_file() {
                let content = std::fs::read(entry.path()).expect("read");
                let content = String::from_utf8_lossy(&content).into_owned();
                if words.iter().any(|word| content.contains(word)) {
                    found.push(entry.into_path());
                }
            }
        }
        found
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = |name: &str| read_to_string(self.path(name)).unwrap_or_default();
            println!("the agent said:\n{}{}", log("out.log"), log("err.log"));
        }
    }
}

/// The agent while it runs.
pub struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// Pulls the ground from under it.
    pub fn dies(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }

    /// Waits until it has ended by itself.
    pub fn ends(mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            if Instant::now() > end {
                self.dies();
                panic!("the agent did not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

/// Options of unshare, for somebody who is root in the namespaces.
fn by_root() -> &'static [&'static str] {
    match nix::unistd::geteuid().is_root() {
        true => &[],
        false => &["--map-root-user"],
    }
}

fn ended(mut command: Command) -> (String, Option<i32>) {
    let output = command.output().expect("unshare starts");
    (tight(&output.stderr), output.status.code())
}

/// Words alone, without what a report draws around them.
fn tight(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let words = said.split_whitespace();
    let words = words.filter(|word| !["×", "│", "╰─▶", "├─▶"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// The mode of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).expect("a file");
    metadata.permissions().mode() & 0o7777
}
