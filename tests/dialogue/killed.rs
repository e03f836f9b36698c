//! The agent of a host, killed in every question and started again; and in any environment.

use crate::agent::{Host, mode};
use crate::person::{PASSWORD, PROMPTS, resumed, verifies};

const PARTIAL: &str = "var/lib/muster/answers.partial.toml";

#[test]
fn killed_in_every_question_the_agent_goes_on_there_with_what_was_answered() {
    let host = Host::new(&["ttyS0"]);
    for place in 0..PROMPTS.len() {
        let mut person = host.person("ttyS0");
        let agent = host.starts(None);
        person.answers("Press Enter to begin.", "");
        for (_, prompt, answer) in &PROMPTS[resumed(place)..place] {
            person.answers(prompt, answer);
        }
        person.reads(PROMPTS[place].1);
        person.types("half a thought");
        agent.dies();
        person.hangs_up();
        assert!(!host.path("var/lib/muster/site.json").exists());
        if place > 0 {
            assert_eq!(mode(&host.path(PARTIAL)), 0o600);
        }

        // Started again, it asks the same; that answer is kept, whatever comes next.
        let mut person = host.person("ttyS0");
        let mut agent = host.starts(None);
        person.answers("Press Enter to begin.", "");
        for (_, prompt, answer) in &PROMPTS[resumed(place)..=place] {
            person.answers(prompt, answer);
        }
        let Some(next) = PROMPTS.get(place + 1) else {
            person.reads("Thank you. The host starts now.");
            // Then it would configure a whole host, which is not here.
            agent.ends();
            continue;
        };
        person.reads(next.1);
        assert!(agent.runs());
        agent.dies();
    }
    let site = host.site();
    assert_eq!(site["organisations"][0]["name"], "Example Ltd");
    assert_eq!(site["admin"]["full-name"], "\u{c4}nna M\u{fc}ller");
    let hash = site["admin"]["password-hash"].as_str().expect("a hash");
    assert!(verifies(hash, PASSWORD));
    assert_eq!(mode(&host.path("var/lib/muster/site.json")), 0o600);
    assert!(!host.path(PARTIAL).exists());
    assert_eq!(host.holding(&[PASSWORD]), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_agent_asks_the_same_in_the_same_bytes_whatever_term_says() {
    let mut usual: Option<String> = None;
    for term in [
        None,
        Some("dumb"),
        Some("linux"),
        Some("vt220"),
        Some("xterm-256color"),
    ] {
        let host = Host::new(&["tty0", "ttyS0"]);
        let mut screen = host.person("tty1");
        let serial = host.person("ttyS0");
        let agent = host.starts(term);
        screen.answers("Press Enter to begin.", "");
        screen.answers(PROMPTS[0].1, "de");
        screen.reads("One moment: the keyboard gets this layout.");
        // What the kernel has to say would run through the questions.
        let printk = || std::fs::read_to_string(host.path("proc/sys/kernel/printk"));
        assert_eq!(printk().expect("there"), "1");
        screen.answers_from(1);
        screen.reads("Thank you. The host starts now.");
        screen.reads("the console shows how far it is.");
        agent.ends();
        assert_eq!(printk().expect("there"), "4");
        let mut seen = screen.hangs_up();
        seen.extend(serial.hangs_up());
        let seen = String::from_utf8(seen).expect("text");
        assert!(!seen.contains('\x1b'), "{seen:?}");
        assert_eq!(usual.get_or_insert_with(|| seen.clone()), &seen, "{term:?}");
        assert_eq!(host.site()["keyboard"], "de");
    }
}
