//! The dialogue of first boot on real terminals (pty pairs), as a person types.

use muster::console::dialogue::DialogueError;
use muster::console::events::Events;
use muster::console::lobby;
use muster::console::tty::Tty;
use muster::site::answers::Answers;
use muster::site::question::Questions;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{OpenptyResult, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// One end of a terminal line: what the console shows, and keys.
struct Person {
    keys: File,
    shown: Receiver<u8>,
    seen: String,
    device: PathBuf,
    there: Arc<AtomicBool>,
    screen: std::thread::JoinHandle<()>,
}

impl Person {
    /// A new terminal with a person in front of it.
    fn sit_down() -> Person {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a pty");
        let device = nix::unistd::ttyname(&slave).expect("a name");
        let (send, shown) = channel();
        let keys = File::from(master);
        let mut reader = keys.try_clone().expect("another handle");
        let there = Arc::new(AtomicBool::new(true));
        let sits = there.clone();
        let screen = std::thread::spawn(move || {
            // The slave stays open here, or the line would hang up before it is used.
            let _slave = slave;
            let mut byte = [0];
            while sits.load(Relaxed) {
                let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut fds, 20_u16).expect("a poll") > 0;
                if ready && (reader.read_exact(&mut byte).is_err() || send.send(byte[0]).is_err()) {
                    break;
                }
            }
        });
        Person {
            keys,
            shown,
            seen: String::new(),
            device,
            there,
            screen,
        }
    }

    /// Pulls the plug of this terminal.
    fn hangs_up(self) {
        self.there.store(false, Relaxed);
        self.screen.join().expect("it ends");
        drop(self.keys);
    }

    /// Waits until these words are on the screen, behind those waited for before.
    fn reads(&mut self, words: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        let mut bytes = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(byte) = self.shown.recv_timeout(left) else {
                panic!(
                    "waited for {words:?}, saw {:?}",
                    String::from_utf8_lossy(&bytes)
                );
            };
            bytes.push(byte);
            self.seen.push(char::from(byte));
            if bytes.ends_with(words.as_bytes()) {
                return;
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }

    /// Reads a prompt and answers it.
    fn answers(&mut self, prompt: &str, answer: &str) {
        self.reads(prompt);
        self.types(&format!("{answer}\r"));
    }
}

/// Holds the dialogue on these terminals in a thread; its end and the answers.
fn hold(
    people: &[&Person],
    mut answers: Answers,
) -> std::thread::JoinHandle<(Result<(), DialogueError>, Answers, Vec<String>)> {
    let mut ttys: Vec<Tty> = people
        .iter()
        .map(|person| Tty::open(&person.device).expect("a terminal"))
        .collect();
    std::thread::spawn(move || {
        let questions = Questions::of_any_stack();
        let mut order = Vec::new();
        let ended = lobby::run(
            &mut ttys,
            "Welcome.",
            &questions,
            &mut answers,
            &Events::none(),
            &mut |id, _| {
                order.push(id.to_string());
                Ok(())
            },
        );
        (ended, answers, order)
    })
}

const PASSWORD: &str = "correct horse battery";

fn verifies(hash: &str, password: &str) -> bool {
    use sha_crypt::{PasswordHash, PasswordVerifier, ShaCrypt};
    let hash = PasswordHash::new(hash).expect("a hash");
    ShaCrypt::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

#[test]
fn a_person_answers_over_serial_with_mistakes_that_are_refused_where_they_are_typed() {
    let mut person = Person::sit_down();
    let held = hold(&[&person], Answers::default());
    person.reads("Press Enter to begin.");
    // As many serial programs send it; the line feed must not answer the first question.
    person.types("\r\n");
    person.answers("Keyboard layout [us]: ", "german");
    person.reads("No: there is no keyboard layout `german`; did you mean de?.");
    person.answers("Keyboard layout [us]: ", "de");
    person.answers("Name of the organisation: ", "");
    person.reads("No: this cannot be empty.");
    person.answers("Name of the organisation: ", "Exx\x7fample\x1b[D Ltd");
    person.answers("Domain: ", "firma.local");
    person.reads("multicast DNS owns .local");
    person.answers("Domain: ", "?");
    person.reads("A domain that you own");
    person.answers("Domain: ", "half a thought\x03");
    person.answers("Domain: ", "example.org");
    person.reads("1) dhcp: from the network (DHCP)");
    person.answers("Number [dhcp]: ", "2");
    person.answers("Address with prefix length: ", "192.0.2.10");
    person.reads("No: write the address with its prefix length");
    person.answers("Address with prefix length: ", "192.0.2.10/24");
    person.answers("Gateway (empty: none): ", "198.51.100.1");
    person.reads("No: 198.51.100.1 is not in 192.0.2.0/24, so this host cannot reach it.");
    person.answers("Gateway (empty: none): ", "192.0.2.1");
    person.answers("Name servers (empty: none): ", "192.0.2.1, 192.0.2.2");
    person.answers("Time zone [UTC]: ", "");
    person.answers("Login name of the administrator [admin]: ", "root");
    person.reads("No: `root` is the name of an account");
    person.answers("Login name of the administrator [admin]: ", "anna");
    person.answers(
        "Full name of the administrator [Administrator]: ",
        "Änna Müller",
    );
    person.answers("Password of the administrator (not shown): ", "anna");
    person.reads("No: the password contains the account's name.");
    person.answers("Password of the administrator (not shown): ", PASSWORD);
    person.answers("The same once more (not shown): ", "something else");
    person.reads("No: the two passwords differ.");
    person.answers("Password of the administrator (not shown): ", PASSWORD);
    person.answers("The same once more (not shown): ", PASSWORD);
    person.answers("SSH public key of the administrator (empty: none): ", "");
    person.reads(" 1) Keyboard layout: de");
    person.answers("or the number of an answer to change: ", "4");
    person.answers("Number [static]: ", "1");
    person.reads("All right?");
    person.answers("or the number of an answer to change: ", "99");
    person.reads("No: there is no answer \"99\".");
    person.answers("or the number of an answer to change: ", "yes");

    let (ended, answers, order) = held.join().expect("it ends");
    ended.expect("answered");
    let value = |id: &str| answers.values.get(id).map(String::as_str);
    assert_eq!(value("keyboard.layout"), Some("de"));
    assert_eq!(value("organisation.name"), Some("Example Ltd"));
    assert_eq!(value("organisation.domain"), Some("example.org"));
    assert_eq!(value("network.mode"), Some("dhcp"));
    assert_eq!(
        value("network.address"),
        None,
        "an address means nothing with DHCP"
    );
    assert_eq!(value("time.zone"), Some("UTC"));
    assert_eq!(value("admin.name"), Some("anna"));
    assert_eq!(value("admin.full-name"), Some("Änna Müller"));
    assert_eq!(value("admin.ssh-key"), Some(""));
    assert!(verifies(
        value("admin.password-hash").expect("hashed"),
        PASSWORD
    ));
    assert_eq!(
        order[0], "keyboard.layout",
        "applied before anything else is typed"
    );
    assert!(!person.seen.contains(PASSWORD) && !person.seen.contains("something else"));
}

#[test]
fn whoever_presses_enter_first_answers_and_the_other_console_says_where() {
    let (mut screen, mut serial) = (Person::sit_down(), Person::sit_down());
    let held = hold(&[&screen, &serial], almost());
    screen.reads("Press Enter to begin.");
    serial.reads("Press Enter to begin.");
    serial.types("\n");
    screen.reads("The questions are being answered on ");
    let name = serial
        .device
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    screen.reads(&format!("{name}."));
    serial.answers("Domain: ", "example.org");
    serial.answers("or the number of an answer to change: ", "yes");
    held.join().expect("it ends").0.expect("answered");
}

#[test]
fn a_terminal_that_hangs_up_gives_the_dialogue_back_with_what_was_answered() {
    let (mut screen, mut serial) = (Person::sit_down(), Person::sit_down());
    let held = hold(&[&screen, &serial], Answers::default());
    serial.reads("Press Enter to begin.");
    serial.types("\r");
    serial.answers("Keyboard layout [us]: ", "fr");
    serial.reads("Name of the organisation: ");
    serial.hangs_up();
    screen.reads("Press Enter to begin.");
    screen.reads("Press Enter to begin.");
    screen.types("\r");
    screen.reads("Name of the organisation: ");
    screen.hangs_up();
    let (ended, answers, _) = held.join().expect("it ends");
    assert!(matches!(ended, Err(DialogueError::Lost(_))));
    assert_eq!(
        answers.values.get("keyboard.layout").map(String::as_str),
        Some("fr")
    );
}

/// Everything but the domain.
fn almost() -> Answers {
    let text = format!(
        "[keyboard]\nlayout = \"us\"\n[organisation]\nname = \"Example\"\n[network]\nmode = \
         \"dhcp\"\n[time]\nzone = \"UTC\"\n[admin]\nname = \"admin\"\nfull-name = \"A\"\nssh-key = \
         \"\"\npassword-hash = \"$6$salt${}\"\n",
        "a".repeat(86)
    );
    let (answers, problems) = Answers::read(&text, &Questions::of_any_stack());
    assert_eq!(problems, []);
    answers
}
