//! Somebody at a terminal, and the dialogue held there.

use muster::console::dialogue::DialogueError;
use muster::console::events::Events;
use muster::console::lobby::Lobby;
use muster::profile::{Source, Stack};
use muster::site::answers::Answers;
use muster::site::question::Questions;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, Termios, tcsetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long words may take to come: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub const PASSWORD: &str = "correct horse battery";

/// Every prompt of the host `office` of the stack `office`, and an answer. The second of two
/// equal ids is the password once more.
pub const PROMPTS: [(&str, &str, &str); 18] = [
    ("keyboard.layout", "Keyboard layout [us]: ", "us"),
    (
        "organisation.name",
        "Name of the organisation: ",
        "Example Ltd",
    ),
    ("organisation.domain", "Domain: ", "example.org"),
    ("network.mode", "Number [dhcp]: ", "2"),
    (
        "network.address",
        "Address with prefix length: ",
        "192.0.2.10/24",
    ),
    ("network.gateway", "Gateway (empty: none): ", "192.0.2.1"),
    ("network.dns", "Name servers (empty: none): ", "192.0.2.1"),
    ("time.zone", "Time zone [UTC]: ", "Europe/Berlin"),
    (
        "admin.name",
        "Login name of the administrator [admin]: ",
        "anna",
    ),
    (
        "admin.full-name",
        "Full name of the administrator [Administrator]: ",
        "Änna Müller",
    ),
    (
        "admin.password-hash",
        "Password of the administrator (not shown): ",
        PASSWORD,
    ),
    (
        "admin.password-hash",
        "The same once more (not shown): ",
        PASSWORD,
    ),
    (
        "admin.ssh-key",
        "SSH public key of the administrator (empty: none): ",
        "",
    ),
    (
        "services.prometheus",
        "Run prometheus (Monitoring)? [yes]: ",
        "no",
    ),
    (
        "services.node-exporter",
        "Run node-exporter (Figures of the host)? [yes]: ",
        "no",
    ),
    (
        "services.postgres-exporter",
        "Run postgres-exporter (Figures of the database)? [yes]: ",
        "yes",
    ),
    ("", "or the number of an answer to change: ", "99"),
    ("", "or the number of an answer to change: ", "yes"),
];

/// Where the dialogue goes on for somebody who comes back to this prompt.
pub fn resumed(place: usize) -> usize {
    match PROMPTS[place].1.starts_with("The same") {
        true => place - 1,
        false => place,
    }
}

/// What [`PROMPTS`] answer, as far as `place`.
pub fn expect_answers(answers: &Answers, place: usize) {
    for (id, _, typed) in &PROMPTS[..place] {
        let expected = match *id {
            "network.mode" => "static",
            _ => typed,
        };
        let value = answers.values.get(*id).map(String::as_str);
        match *id {
            "" => {}
            "admin.password-hash" => match value {
                Some(hash) => assert!(verifies(hash, PASSWORD), "{hash}"),
                None => assert!(PROMPTS[place].1.starts_with("The same"), "no password"),
            },
            id => assert_eq!(value, Some(expected), "{id}"),
        }
    }
}

/// The questions of that host.
pub fn questions() -> Questions {
    Questions::of(&stack(), "office")
}

pub fn stack() -> Stack {
    Stack::load(&Source::new(None), "office", None).expect("a sound stack")
}

/// One end of a terminal line: what the console shows, and keys.
pub struct Person {
    keys: File,
    shown: Receiver<u8>,
    /// All that was ever on the screen and has been waited for.
    pub seen: Vec<u8>,
    device: PathBuf,
    there: Arc<AtomicBool>,
    reads: Arc<AtomicBool>,
    screen: JoinHandle<()>,
}

impl Person {
    /// A new terminal with a person in front of it; `device` becomes its name.
    pub fn sits_down_at(device: &Path) -> Person {
        Person::at(device, None, None)
    }

    /// The same behind a line that carries so many bytes a second each way.
    pub fn at_a_slow_line(device: &Path, bytes_a_second: u32) -> Person {
        let gap = Duration::from_secs(1) / bytes_a_second;
        Person::at(device, Some(gap), None)
    }

    /// The same where something else has set the terminal up.
    pub fn at_a_terminal_set_to(device: &Path, termios: &Termios) -> Person {
        Person::at(device, None, Some(termios))
    }

    /// The same where the terminal says that it has this size.
    pub fn at_a_screen_of(device: &Path, columns: u16, rows: u16) -> Person {
        let person = Person::sits_down_at(device);
        let stty = Command::new("stty")
            .arg("-F")
            .arg(device)
            .args(["columns", &columns.to_string(), "rows", &rows.to_string()])
            .status();
        assert!(stty.expect("stty starts").success());
        person
    }

    fn at(device: &Path, gap: Option<Duration>, termios: Option<&Termios>) -> Person {
        // Not openpty(3): programs that other tests start would hold the line open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a pty");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("unlocked");
        let own = PathBuf::from(ptsname_r(&master).expect("a name"));
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&own)
            .expect("a terminal");
        if let Some(termios) = termios {
            tcsetattr(&slave, SetArg::TCSANOW, termios).expect("set");
        }
        let beside = device.with_extension("new");
        std::os::unix::fs::symlink(own, &beside).expect("a link");
        std::fs::rename(&beside, device).expect("a name");
        let (send, shown) = channel();
        let keys = File::from(OwnedFd::from(master));
        let mut reader = keys.try_clone().expect("another handle");
        let there = Arc::new(AtomicBool::new(true));
        let reads = Arc::new(AtomicBool::new(true));
        let (sits, looks) = (there.clone(), reads.clone());
        let screen = std::thread::spawn(move || {
            // The slave stays open here, or the line would hang up before it is used.
            let _slave = slave;
            let mut bytes = [0; 512];
            let most = if gap.is_some() { 1 } else { bytes.len() };
            while sits.load(Relaxed) {
                let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
                if !looks.load(Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                if poll(&mut fds, 20_u16).expect("a poll") == 0 {
                    continue;
                }
                let Ok(count) = reader.read(&mut bytes[..most]) else {
                    break;
                };
                if bytes[..count].iter().any(|byte| send.send(*byte).is_err()) {
                    break;
                }
                gap.inspect(|gap| std::thread::sleep(*gap));
            }
        });
        Person {
            keys,
            shown,
            seen: Vec::new(),
            device: device.into(),
            there,
            reads,
            screen,
        }
    }

    /// Makes the line take nothing, or take it again.
    pub fn takes(&self, anything: bool) {
        self.reads.store(anything, Relaxed);
    }

    /// Pulls the plug of this terminal; gives all that was ever on it.
    pub fn hangs_up(mut self) -> Vec<u8> {
        // The number of its device is free for others soon, and whoever looks for this one again
        // must not find those.
        std::fs::remove_file(&self.device).expect("removed");
        self.there.store(false, Relaxed);
        self.screen.join().expect("it ends");
        self.seen.extend(self.shown.try_iter());
        drop(self.keys);
        self.seen
    }

    /// The name of the terminal.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Waits until these words are on the screen, behind those waited for before.
    pub fn reads(&mut self, words: &str) {
        self.reads_either(&[words]);
    }

    /// Waits until one of these is on the screen; its place in the list.
    pub fn reads_either(&mut self, list: &[&str]) -> usize {
        // Where a line is broken is no matter.
        let plain = |words: &&str| words.split_whitespace().collect::<Vec<_>>().join(" ");
        let list: Vec<String> = list.iter().map(plain).collect();
        let end = Instant::now() + PATIENCE;
        let mut text = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(byte) = self.shown.recv_timeout(left) else {
                panic!(
                    "waited for {list:?}, saw {:?}",
                    String::from_utf8_lossy(&text)
                );
            };
            self.seen.push(byte);
            if !byte.is_ascii_whitespace() {
                text.push(byte);
            } else if text.last().is_some_and(|last| *last != b' ') {
                text.push(b' ');
            }
            let found = |words: &String| text.ends_with(words.as_bytes());
            if let Some(place) = list.iter().position(found) {
                return place;
            }
        }
    }

    /// What else is on the screen by now.
    pub fn looks(&mut self) -> String {
        let before = self.seen.len();
        while let Ok(byte) = self.shown.recv_timeout(Duration::from_millis(300)) {
            self.seen.push(byte);
        }
        String::from_utf8_lossy(&self.seen[before..]).into_owned()
    }

    pub fn types(&mut self, keys: &str) {
        self.presses(keys.as_bytes());
    }

    pub fn presses(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("typed");
    }

    /// The same, with some time between the bytes.
    pub fn presses_slowly(&mut self, keys: &[u8], gap: Duration) {
        for byte in keys {
            self.presses(&[*byte]);
            std::thread::sleep(gap);
        }
    }

    /// Reads a prompt and answers it.
    pub fn answers(&mut self, prompt: &str, answer: &str) {
        self.reads(prompt);
        self.types(&format!("{answer}\r"));
    }

    /// Answers from one of [`PROMPTS`] to the end.
    pub fn answers_from(&mut self, place: usize) {
        for (_, prompt, answer) in &PROMPTS[place..] {
            self.answers(prompt, answer);
        }
    }
}

/// How a dialogue has ended: how, with which answers, and in which order they were given.
pub type Held = JoinHandle<(Result<(), DialogueError>, Answers, Vec<String>)>;

/// Holds the dialogue of `office` on these terminals in a thread.
pub fn hold(people: &[&Person], answers: Answers) -> Held {
    hold_with(people, answers, questions(), Events::none())
}

/// The same with other questions, and events.
pub fn hold_with(
    people: &[&Person],
    mut answers: Answers,
    questions: Questions,
    events: Events,
) -> Held {
    let devices: Vec<PathBuf> = people.iter().map(|person| person.device.clone()).collect();
    let (open, opened) = channel();
    let held = std::thread::spawn(move || {
        let mut lobby = Lobby::open(&devices, "Welcome.", &events).expect("a terminal");
        open.send(()).expect("somebody waits");
        let mut order = Vec::new();
        let ended = lobby.run(&questions, &mut answers, &mut |id, _, _| {
            order.push(id.to_string());
            Ok(())
        });
        (ended, answers, order)
    });
    // Before that the terminal itself would echo.
    opened.recv_timeout(PATIENCE).expect("opened");
    held
}

pub fn verifies(hash: &str, password: &str) -> bool {
    use sha_crypt::{PasswordHash, PasswordVerifier, ShaCrypt};
    let hash = PasswordHash::new(hash).expect("a hash");
    ShaCrypt::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

/// A folder for the names of terminals.
pub fn dev() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
