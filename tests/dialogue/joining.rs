//! A host without a join token asks for the code of its lead.

use crate::person::{Person, dev};
use muster::console::dialogue::DialogueError;
use muster::console::events::Events;
use muster::console::joining::{Joining, Missed, Seen, Way};
use muster::console::lobby::Lobby;
use muster::mesh::code::Code;
use muster::site::rules::network::{Peer, peer};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

const CODE: &str = "The three words on the lead's screen: ";

/// What the wire shows and the lead says, in turn; and what was tried.
#[derive(Default)]
struct Wire {
    seen: Vec<io::Result<Vec<Seen>>>,
    /// None: a person at the lead is asked first, then it is let in.
    said: Vec<Result<(), Option<Missed>>>,
    tried: Arc<Mutex<Vec<String>>>,
}

impl Way for Wire {
    fn look(&mut self) -> io::Result<Vec<Seen>> {
        self.seen.remove(0)
    }

    fn join(&mut self, lead: &Peer, code: &Code, waits: &mut dyn FnMut()) -> Result<(), Missed> {
        self.tried
            .lock()
            .expect("not poisoned")
            .push(format!("{lead}: {code}"));
        match self.said.remove(0) {
            Ok(()) => Ok(()),
            Err(Some(missed)) => Err(missed),
            Err(None) => {
                waits();
                Ok(())
            }
        }
    }
}

fn seen(address: &str, role: &str, fits: bool) -> Seen {
    Seen {
        lead: at(address),
        role: role.into(),
        fits,
    }
}

fn at(address: &str) -> Peer {
    peer(address).expect("an address")
}

fn refused(words: &str) -> Result<(), Option<Missed>> {
    Err(Some(Missed::Refused(words.into())))
}

/// Holds the dialogue on these consoles.
fn hold(
    people: &[&Person],
    lead: Option<&str>,
    mut wire: Wire,
) -> JoinHandle<Result<(), DialogueError>> {
    let devices: Vec<PathBuf> = people.iter().map(|one| one.device().to_owned()).collect();
    let mut joining = Joining::new(lead.map(at));
    let (open, opened) = mpsc::channel();
    let held = std::thread::spawn(move || {
        let events = Events::none();
        let mut lobby = Lobby::open(&devices, "Welcome.", &events).expect("a terminal");
        open.send(()).expect("somebody waits");
        lobby.hold(&mut |asker| joining.run(asker, &mut wire))
    });
    opened.recv().expect("opened");
    held
}

#[test]
fn typing_errors_cost_nothing_and_a_wrong_code_is_told_and_asked_again() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let wire = Wire {
        said: vec![refused("that is not the code"), Err(None)],
        ..Wire::default()
    };
    let tried = Arc::clone(&wire.tried);
    let held = hold(&[&person], Some("10.77.0.10"), wire);
    person.answers("Press Enter to begin.", "");
    person.answers(CODE, "?");
    person.reads("`sudo muster join` there shows them, too.");
    person.answers(CODE, "zebra ocaen ladder");
    person.reads("No: `ocaen` is no word of a join code; did you mean ocean?");
    person.answers(CODE, "zebra ocean");
    person.reads("No: a join code has 3 words, and these are 2;");
    person.reads(CODE);
    person.types("zebra\x03");
    person.reads("This line is given up, and nothing else.");
    assert!(tried.lock().expect("not poisoned").is_empty());
    person.answers(CODE, "zebra ocean ladder");
    person.reads("No: that is not the code.");
    person.answers(CODE, "Zebr-Lion LADD");
    person.reads("The code is right. Now somebody at the lead lets this host in:");
    held.join().expect("it ends").expect("joined");
    assert_eq!(
        *tried.lock().expect("not poisoned"),
        [
            "10.77.0.10: zebra ocean ladder",
            "10.77.0.10: zebra lion ladder"
        ]
    );
}

#[test]
fn the_only_lead_on_the_wire_needs_no_address_and_leads_of_others_are_left_out() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let wire = Wire {
        seen: vec![Ok(vec![
            seen("fe80::1%eth0", "core", true),
            seen("fe80::2%eth0", "office", false),
        ])],
        said: vec![Ok(())],
        ..Wire::default()
    };
    let tried = Arc::clone(&wire.tried);
    let held = hold(&[&person], None, wire);
    person.answers("Press Enter to begin.", "");
    person.reads(
        "At fe80::2%eth0 is the lead office of other images than this host's: it is left out.",
    );
    person.reads("The lead core is at fe80::1%eth0.");
    person.answers(CODE, "zebra ocean ladder");
    held.join().expect("it ends").expect("joined");
    assert_eq!(
        *tried.lock().expect("not poisoned"),
        ["fe80::1%eth0: zebra ocean ladder"]
    );
}

#[test]
fn of_several_leads_a_person_chooses_one_or_types_an_address() {
    let several = || {
        Ok(vec![
            seen("fe80::1%eth0", "core", true),
            seen("fe80::2%eth1", "core", true),
        ])
    };
    for (choice, address) in [("2", "fe80::2%eth1"), ("3", "fd00::10")] {
        let dev = dev();
        let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
        let wire = Wire {
            seen: vec![several()],
            said: vec![Ok(())],
            ..Wire::default()
        };
        let tried = Arc::clone(&wire.tried);
        let held = hold(&[&person], None, wire);
        person.answers("Press Enter to begin.", "");
        person.reads("Several leads answer. Compare with the address on the screen of yours:");
        person.reads("2) fe80::2%eth1: the lead core");
        person.answers("Number: ", "7");
        person.reads("Type the number of one of them.");
        person.answers("Number: ", choice);
        if choice == "3" {
            person.answers("Address of the lead: ", "fd00::10");
        }
        person.answers(CODE, "zebra ocean ladder");
        held.join().expect("it ends").expect("joined");
        assert_eq!(
            *tried.lock().expect("not poisoned"),
            [format!("{address}: zebra ocean ladder")]
        );
    }
}

#[test]
fn without_a_lead_on_the_wire_its_address_is_typed_and_one_where_it_is_not_is_told() {
    let dev = dev();
    let mut person = Person::sits_down_at(&dev.path().join("ttyS0"));
    let lost = Missed::Lost("the lead at 192.0.2.9:7433: Connection refused".into());
    let wire = Wire {
        seen: vec![
            Ok(Vec::new()),
            Err(io::Error::other("the wire is on fire")),
            Ok(vec![seen("192.0.2.9", "core", true)]),
        ],
        said: vec![Err(Some(lost)), Ok(())],
        ..Wire::default()
    };
    let tried = Arc::clone(&wire.tried);
    let held = hold(&[&person], None, wire);
    person.answers("Press Enter to begin.", "");
    person.reads("No lead answers on this wire.");
    person.answers("Address of the lead: ", "?");
    person.reads("fe80::1%eth0 with the name of this host's network card.");
    person.answers("Address of the lead: ", "");
    person.reads("It cannot be looked for: the wire is on fire.");
    for (typed, words) in [
        ("core", "No: `core` is not an IP address."),
        (
            "10.0.0.1/24",
            "No: leave the prefix length out: only the address itself,",
        ),
        (
            "10.0.0.1%eth0",
            "No: `eth0` cannot stand behind this address:",
        ),
        (
            "::1",
            "No: ::1 is a loopback address; a host cannot have it.",
        ),
    ] {
        person.answers("Address of the lead: ", typed);
        person.reads(words);
    }
    person.answers("Address of the lead: ", "192.0.2.9");
    person.answers(CODE, "zebra ocean ladder");
    person.reads("No: the lead at 192.0.2.9:7433: Connection refused.");
    // Found there once more, it is not taken without a word.
    person.reads("No lead answers on this wire.");
    person.answers("Address of the lead [192.0.2.9]: ", "");
    // An address is taken there, too.
    person.answers(CODE, "192.0.2.10");
    person.answers(CODE, "zebra ocean ladder");
    held.join().expect("it ends").expect("joined");
    assert_eq!(
        *tried.lock().expect("not poisoned"),
        [
            "192.0.2.9: zebra ocean ladder",
            "192.0.2.10: zebra ocean ladder"
        ]
    );
}

#[test]
fn a_console_that_hangs_up_or_another_that_takes_over_goes_on_with_the_same_lead() {
    let dev = dev();
    let device = dev.path().join("ttyS0");
    let mut serial = Person::sits_down_at(&device);
    let mut screen = Person::sits_down_at(&dev.path().join("tty1"));
    let wire = Wire {
        seen: vec![Ok(vec![seen("fe80::1%eth0", "core", true)])],
        said: vec![refused("that is not the code"), Ok(())],
        ..Wire::default()
    };
    let tried = Arc::clone(&wire.tried);
    let held = hold(&[&serial, &screen], None, wire);
    screen.reads("Press Enter to begin.");
    serial.answers("Press Enter to begin.", "");
    screen.reads("The questions are being answered on ttyS0.");
    serial.answers(CODE, "zoo zoo zoo");
    serial.reads("No: that is not the code.");
    serial.reads(CODE);
    serial.types("half a thought");
    serial.hangs_up();
    screen.answers("Press Enter to begin.", "");
    screen.reads(CODE);
    let mut serial = Person::sits_down_at(&device);
    serial.reads("The questions are being answered on tty1.");
    serial.types("here\r");
    serial.answers(CODE, "zebra ocean ladder");
    held.join().expect("it ends").expect("joined");
    assert_eq!(
        *tried.lock().expect("not poisoned"),
        [
            "fe80::1%eth0: zoo zoo zoo",
            "fe80::1%eth0: zebra ocean ladder"
        ]
    );
}
