//! A password is nowhere but in its hash.

use crate::agent::Host;
use crate::person::{PASSWORD, PROMPTS, verifies};

/// All that is typed where a password is asked for, rightly and wrongly.
const TYPED: [&str; 7] = [
    PASSWORD,
    "tooshort9",
    "second-one-differs",
    "given-up-halfway",
    "hung-up-halfway",
    "taken-over-halfway",
    "killed-halfway",
];

#[test]
fn no_password_is_ever_shown_logged_or_stored_in_clear() {
    let host = Host::new(&["tty0", "ttyS0"]);
    let mut screen = host.person("tty1");
    let mut serial = host.person("ttyS0");
    let agent = host.starts(Some("linux"));
    let first = "Password of the administrator (not shown): ";
    let again = "The same once more (not shown): ";
    serial.answers("Press Enter to begin.", "");
    for (_, prompt, answer) in &PROMPTS[..10] {
        serial.answers(prompt, answer);
    }
    serial.answers(first, TYPED[1]);
    serial.reads("No: a password has at least 10 characters.");
    for _ in 0..2 {
        serial.answers(first, PASSWORD);
        serial.answers(again, TYPED[2]);
        serial.reads("No: the two passwords differ.");
    }
    serial.reads(first);
    serial.types(&format!("{}\x03", TYPED[3]));
    serial.answers(first, PASSWORD);
    serial.reads(again);
    serial.types(&format!("{}\x04", TYPED[3]));
    serial.reads(first);
    serial.types("wrong\x7f\x7f\x7f\x7f\x7f\x15");
    serial.types(TYPED[4]);
    let mut seen = serial.hangs_up();

    screen.reads("The questions are being answered on ttyS0.");
    screen.answers("Press Enter to begin.", "");
    screen.reads(first);
    let mut serial = host.person("ttyS0");
    serial.reads("The questions are being answered on tty1.");
    let (start, end) = TYPED[5].split_at(6);
    screen.types(start);
    serial.types("here\r");
    screen.reads("The questions are being answered on ttyS0.");
    screen.types(&format!("{end}\r{}\r", TYPED[5]));
    screen.reads("The questions are being answered on ttyS0.");
    serial.answers(first, PASSWORD);
    serial.reads(again);
    serial.types(TYPED[6]);
    agent.dies();
    seen.extend(serial.hangs_up());
    seen.extend(screen.hangs_up());

    let mut serial = host.person("ttyS0");
    let screen = host.person("tty1");
    let agent = host.starts(Some("linux"));
    serial.answers("Press Enter to begin.", "");
    serial.answers_from(10);
    serial.reads("Thank you.");
    agent.ends();
    seen.extend(serial.hangs_up());
    seen.extend(screen.hangs_up());
    let seen = String::from_utf8(seen).expect("text");
    for word in TYPED {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
    // Neither its letters nor as many signs stand behind a prompt.
    for line in seen.lines().filter(|line| line.contains("(not shown): ")) {
        assert!(
            line.trim_end_matches('\r').ends_with("(not shown): "),
            "{line:?}"
        );
    }
    let hash = host.site()["admin"]["password-hash"].clone();
    assert!(verifies(hash.as_str().expect("a hash"), PASSWORD));
    // Answers, journal, events and logs; the words of the person who watched are there neither.
    for name in ["out.log", "err.log", "dev/virtio-ports/org.muster.events"] {
        assert!(host.path(name).exists(), "{name}");
    }
    assert_eq!(host.holding(&TYPED), Vec::<std::path::PathBuf>::new());
    // The search finds what is there.
    assert!(!host.holding(&["Example Ltd"]).is_empty());
}
