//! What is said on a host that cannot be set up or brought up, and by commands that come too
//! early, with what to do about it.

use crate::agent::Host;
use crate::person::PROMPTS;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

const SITE: &str = "var/lib/muster/site.json";
const PUBLIC_KEY: &str = "var/lib/muster/ssh/ssh_host_ed25519_key.pub";

fn put(host: &Host, path: &str, content: &[u8]) {
    let path = host.path(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, content).expect("written");
}

#[test]
fn what_keeps_a_host_from_being_set_up_is_named_with_what_to_do() {
    // SMBIOS 3.7, 6.1.3: type, length, handle, count of strings; then the strings.
    let oem = b"\x0b\x05\0\0\x01muster.answers=%%%\0\0";
    for (path, content, words) in [
        (
            "sys/class/tty/console/active",
            &b"\n"[..],
            "questions are open and there is no console to ask them on; add one, or give the host \
             an answers file: muster answers init FILE",
        ),
        (
            "sys/firmware/dmi/entries/11-0/raw",
            oem,
            "/sys/firmware/dmi/entries/11-0/raw: muster.answers is not the base64 of a text; make \
             it with: base64 -w0 muster.toml",
        ),
        (
            PUBLIC_KEY,
            b"ssh-dss AAAA\n",
            "/var/lib/muster/ssh/ssh_host_ed25519_key.pub: this is not the public half of an SSH \
             key; make it anew with: ssh-keygen -y -f /var/lib/muster/ssh/ssh_host_ed25519_key",
        ),
        (
            SITE,
            b"{",
            "/var/lib/muster/site.json: the answers of this host are damaged: EOF while parsing an \
             object at line 1 column 1; restore the file",
        ),
        (
            "usr/share/muster/image.json",
            b"[]",
            "/usr/share/muster/image.json: this image is damaged: invalid length 0, expected struct \
             Facts with 3 elements at line 1 column 2; write another one: muster build",
        ),
    ] {
        let host = Host::new(&["ttyS0"]);
        put(&host, path, content);
        assert_eq!(
            host.says(&["agent", "setup"]),
            (format!("this host is not set up {words}"), Some(1))
        );
        assert_eq!(
            std::fs::read(host.path(path)).expect("there"),
            content,
            "{path} was changed"
        );
    }
}

#[test]
fn a_host_that_cannot_keep_an_answer_says_where() {
    let host = Host::new(&["ttyS0"]);
    let kept = host.path("var/lib/muster/answers.partial.toml");
    std::fs::create_dir(&kept).expect("in its place");
    let mut person = host.person("ttyS0");
    let agent = host.starts(None);
    person.answers("Press Enter to begin.", "");
    person.answers("Keyboard layout [us]: ", "us");
    assert_eq!(agent.ends().code(), Some(1));
    assert_eq!(
        host.has_said(),
        "this host is not set up cannot keep the answers: \
         /var/lib/muster/answers.partial.toml: Is a directory (os error 21)"
    );
}

#[test]
fn a_host_that_cannot_be_started_with_its_answers_says_that_they_are_kept() {
    let host = Host::new(&["ttyS0"]);
    // Something is mounted for them, but nobody starts services here.
    put(
        &host,
        "proc/thread-self/mountinfo",
        b"1 1 0:1 / /data rw - ext4 /dev/vda5 rw\n",
    );
    let mut person = host.person("ttyS0");
    let setup = host.runs_at("ttyS0", &["setup"]);
    for (_, prompt, answer) in PROMPTS {
        person.answers(prompt, answer);
    }
    person.reads("the answers are kept, but this host could not be started with them: ");
    person.reads("help: systemctl status muster-setup muster-agent");
    assert_eq!(setup.ends().code(), Some(1));
    assert_eq!(host.site()["organisations"][0]["name"], "Example Ltd");
}

#[test]
fn a_disk_without_a_data_partition_and_a_site_without_answers_are_named() {
    let host = Host::new(&["ttyS0"]);
    put(
        &host,
        "proc/thread-self/mountinfo",
        b"1 1 0:1 / / rw - rootfs none rw\n",
    );
    put(&host, "sys/block/none", b"");
    std::fs::remove_file(host.path("sys/block/none")).expect("removed");
    assert_eq!(
        host.says(&["agent", "data"]),
        (
            "the data partition is not ready no disk has a partition named `data`; was this disk \
             written by muster?"
                .to_owned(),
            Some(1)
        )
    );
    let why = "/var/lib/muster/site.json: No such file or directory (os error 2)";
    assert_eq!(
        host.says(&["agent", "run"]),
        (format!("this host cannot be brought up {why}"), Some(1))
    );
    // Whoever asks for the status reads the same.
    assert_eq!(
        host.says(&["status"]),
        (
            format!("bring-up cannot begin: {why} help: its log: journalctl -u muster-agent"),
            Some(1)
        )
    );
}

#[test]
fn commands_of_a_host_that_come_too_early_or_too_late_name_the_next_one() {
    let host = Host::new(&["ttyS0"]);
    assert_eq!(
        host.says(&["verify"]),
        (
            "this host is not set up: /var/lib/muster/site.json: No such file or directory (os \
             error 2) help: answer its questions: sudo muster setup; or see: systemctl status \
             muster-setup"
                .to_owned(),
            Some(1)
        )
    );
    put(&host, "var/lib/muster/status.json", b"{}");
    for command in ["status", "diagnose"] {
        assert_eq!(
            host.says(&[command]),
            (
                "the status is of another muster: missing field `format` at line 1 column 2 help: \
                 the agent writes it anew: systemctl restart muster-agent"
                    .to_owned(),
                Some(1)
            )
        );
    }
    std::fs::remove_file(host.path("var/lib/muster/status.json")).expect("removed");
    std::fs::create_dir(host.path("var/lib/muster/status.json")).expect("in its place");
    assert_eq!(
        host.says(&["status"]),
        (
            "cannot read /var/lib/muster/status.json: Is a directory (os error 21) help: see who \
             may read it: ls -ld /var/lib/muster/status.json"
                .to_owned(),
            Some(1)
        )
    );
}

#[test]
fn a_host_of_several_whose_agent_is_silent_shows_what_is_left_and_says_so() {
    let host = Host::new(&["ttyS0"]);
    let status = r#"{"format":1,"stack":"pair","organisation":"","plan":"","written":"",
        "outcome":"green","proven":0,"total":0,"hosts":[],"phases":[],"integrations":[],
        "services":[],"attention":[],"routes":[]}"#;
    put(&host, "var/lib/muster/status.json", status.as_bytes());
    let words = "the agent does not answer; this is what it wrote last";
    assert!(!host.says(&["status"]).0.contains(words));
    let file = host.path("usr/share/muster/image.json");
    let text = std::fs::read(&file).expect("readable");
    let mut image: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let roles = image["stack"]["roles"].as_array_mut().expect("roles");
    roles.push(roles[0].clone());
    std::fs::write(&file, image.to_string()).expect("written");
    let (said, code) = host.says(&["status"]);
    assert!(said.contains(words), "{said}");
    assert_eq!(code, Some(0));
}

/// An agent that answers with these bytes, once.
fn answers(socket: &Path, bytes: &'static [u8]) {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        let (mut asker, _) = listener.accept().expect("asked");
        let mut line = String::new();
        let mut question = BufReader::new(&asker);
        question.read_line(&mut line).expect("a question");
        assert_eq!(line, "verify\n");
        asker.write_all(bytes).expect("answered");
    });
}

#[test]
fn an_agent_that_does_not_answer_is_asked_after_with_its_journal() {
    let host = Host::new(&["ttyS0"]);
    put(&host, "run/muster/none", b"");
    let socket = host.path("run/muster/agent.sock");
    for (bytes, words) in [
        (
            &b""[..],
            "the agent stopped while it was asked help: see why: journalctl -u muster-agent",
        ),
        (
            b"\xff",
            "the agent did not answer: stream did not contain valid UTF-8 help: see what it does: \
             journalctl -u muster-agent",
        ),
        (
            b"{}",
            "the status is of another muster: missing field `answer` at line 1 column 2 help: the \
             agent writes it anew: systemctl restart muster-agent",
        ),
        (
            br#"{"answer": "refused", "words": "too many ask at once"}"#,
            "the agent refuses: too many ask at once help: see what it does: journalctl -u \
             muster-agent",
        ),
    ] {
        answers(&socket, bytes);
        assert_eq!(host.says(&["verify"]), (words.to_owned(), Some(1)));
    }
}

#[test]
fn whoever_may_not_probe_alone_reads_why_the_agent_does_not() {
    let host = Host::new(&["ttyS0"]);
    let silent = |why: &str| {
        let words = format!(
            "the agent does not answer at /run/muster/agent.sock: {why} help: systemctl status \
             muster-agent; or run `muster verify` as root, without the agent"
        );
        (words, Some(1))
    };
    assert_eq!(
        host.says_to_a_user(&["verify"]),
        silent("No such file or directory (os error 2)")
    );
    put(&host, SITE, b"{");
    assert_eq!(host.says(&["agent", "run"]).1, Some(1));
    assert_eq!(
        host.says_to_a_user(&["verify"]),
        silent(
            "/var/lib/muster/site.json: the answers of this host are damaged: EOF while parsing \
             an object at line 1 column 1; restore the file"
        )
    );
}
