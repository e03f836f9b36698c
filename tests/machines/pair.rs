//! Two machines of one stack, and the network between them.

use crate::person::Person;
use crate::site::{MUSTER, wait};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const STACK: &str = r#"
[stack]
name = "pair"
summary = "Two hosts that know each other"
base = "debian-12"

[network]
hosts = "10.77.0.0/24"

[[role]]
name = "core"
summary = "Reaches nobody else"
memory = 768
address = 10
services = ["node-exporter"]

[[role]]
name = "edge"
summary = "Reaches others, too"
memory = 768
address = 11
outside = true
services = ["node-exporter"]

[[phase]]
name = "figures"
title = "Each host knows its figures"
services = ["node-exporter"]

[demo.answers]
"organisation.name" = "Example Company"
"organisation.domain" = "example.org"
"network.mode" = "dhcp"
"time.zone" = "Etc/UTC"
"keyboard.layout" = "us"
"#;

struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Pair {
        let pair = Pair {
            folder: tempfile::tempdir_in("/var/tmp").expect("a folder"),
        };
        let stack: PathBuf = pair.folder.path().join("pair");
        fs::create_dir_all(&stack).expect("made");
        fs::write(stack.join("stack.toml"), STACK).expect("written");
        pair
    }

    /// What a command says to root on a host of [`PASSWORD`]; nothing where it fails.
    fn by_root(&self, host: &str, words: &[&str]) -> Option<String> {
        let sudo = ["ssh", "pair", host, "--", "sudo", "-S", "-p", "''"];
        let mut child = self
            .command(&[&sudo[..], words].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("muster starts");
        let mut stdin = child.stdin.take().expect("piped");
        // One that cannot log in yet takes nothing.
        let _ = writeln!(stdin, "{PASSWORD}");
        drop(stdin);
        let output = child.wait_with_output().expect("muster ends");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            println!("[pair] {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        output.status.success().then_some(said)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn must(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("muster starts");
        assert!(
            output.status.success(),
            "muster {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What a shell command says on a host; nothing where it fails.
    fn on(&self, host: &str, script: &str) -> Option<String> {
        let quoted = format!("'{}'", script.replace('\'', r"'\''"));
        let words = ["ssh", "pair", host, "--", "bash", "-euc", &quoted];
        let output = self.command(&words).output().expect("muster starts");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self
            .command(&["down", "pair", "--purge", "--yes", "--grace", "1"])
            .output();
    }
}

const UP: [&str; 6] = [
    "up",
    "./pair",
    "--no-input",
    "--direct-kernel",
    "--cpus",
    "1",
];

const PASSWORD: &str = "three quiet herons";

/// Of somebody who wants no token: the rest of `[join]` is theirs, too.
const ANSWERS: &str = r#"
[organisation]
name = "Example Company"
domain = "example.org"
[network]
mode = "dhcp"
[time]
zone = "Etc/UTC"
[keyboard]
layout = "us"
[join]
address = "10.77.0.10"
"#;

pub fn a_person_lets_a_host_join_with_the_code_of_the_lead() {
    let pair = Pair::new();
    let hash = muster::site::password::hash(PASSWORD).expect("hashed");
    let admin = format!("[admin]\npassword-hash = \"{hash}\"\n");
    fs::write(
        pair.folder.path().join("answers.toml"),
        [ANSWERS, &admin].concat(),
    )
    .expect("written");
    let patience = Duration::from_secs(300);
    pair.must(&[&UP[..], &["--answers", "answers.toml"]].concat());
    let shown = |role: &str| {
        let log = pair.folder.path().join("state/muster/pair").join(role);
        let bytes = fs::read(log.join("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    wait("the question on the console of edge", patience, || {
        shown("edge").contains("Press Enter to begin").then_some(())
    });
    let code = |text: &str| {
        let rest = text.split("the code:").nth(1)?;
        Some(rest.lines().next()?.trim().to_owned())
    };
    let on_screen = wait("the code on the console of core", patience, || {
        code(&shown("core"))
    });
    println!("[pair] the lead shows a code, and edge asks for it");
    let joining = || pair.by_root("core", &["muster", "join"]);
    let said = wait("muster join", patience, joining);
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    assert_eq!(code(&said), Some(on_screen));

    let mut person = Person::starts(pair.command(&["console", "pair", "edge"]));
    person.types("");
    let asked = "The three words on the lead's screen: ";
    person.answers(asked, "zoo zoo zooo");
    person.reads("No: `zooo` is no word of a join code", patience);
    person.answers(asked, "zoo zoo zoo");
    person.reads(
        "No: that is not the code; the lead shows a new one now (4 more",
        patience,
    );
    let said = wait("muster join", patience, joining);
    person.answers(asked, &code(&said).expect("a code"));
    person.reads("The code is right.", patience);
    let said = wait("muster join", patience, joining);
    assert!(
        said.contains("edge asks to join, from 10.77.0.11;"),
        "{said}"
    );
    assert!(shown("core").contains("edge asks to join, from 10.77.0.11;"));
    let confirm = ["muster", "join", "--confirm", "edge"];
    let said = pair.by_root("core", &confirm).expect("confirmed");
    assert!(
        said.starts_with("edge is let in: 10.77.0.11, key "),
        "{said}"
    );
    person.reads(
        "This host has joined the site of core and starts now.",
        patience,
    );
    println!("[pair] edge has joined");
    person.leaves();
    pair.must(&[&UP[..], &["--wait"]].concat());
    println!("[pair] both are up");
    let said = pair.by_root("core", &["muster", "join"]).expect("shown");
    assert_eq!(said, "All hosts of the site of core have joined.");
    assert!(
        !pair
            .by_root("core", &["nft", "list", "ruleset"])
            .expect("rules")
            .contains("5353")
    );
    assert!(
        !pair
            .by_root("edge", &["nft", "list", "ruleset"])
            .expect("rules")
            .contains("5353")
    );

    // Its role is given to another: this one is hung up, and may not come back.
    let replace = ["muster", "join", "--replace", "edge"];
    let said = pair.by_root("core", &replace).expect("replaced");
    assert!(
        said.starts_with("edge is free: the host that joined on "),
        "{said}"
    );
    assert!(
        said.contains("edge has not joined the site of core."),
        "{said}"
    );
    wait("the refusal in the log of edge", patience, || {
        let log = pair.by_root("edge", &["journalctl", "-u", "muster-agent"])?;
        log.contains("not a member of this site (any more)")
            .then_some(())
    });
    println!("[pair] edge was replaced and stays outside");
}

pub fn hosts_reach_each_other_by_name() {
    let pair = Pair::new();
    pair.must(&[&UP[..], &["--wait"]].concat());
    println!("[pair] both are up");

    // The words with which sshd of the other host begins.
    let greeting =
        |host: &str| format!("timeout 20 bash -c 'exec 3<>/dev/tcp/{host}/22; head -c 7 <&3'");
    for (from, to, address) in [
        ("core", "edge", "10.77.0.11"),
        ("edge", "core", "10.77.0.10"),
    ] {
        assert_eq!(pair.on(from, &greeting(to)).as_deref(), Some("SSH-2.0"));
        let name = format!("{to}.example.org");
        assert_eq!(pair.on(from, &greeting(&name)).as_deref(), Some("SSH-2.0"));
        let known = pair.on(from, &format!("getent hosts {to}")).expect("known");
        assert!(known.starts_with(address), "{known}");
    }
    println!("[pair] each reaches the other by name");

    // The one has joined the site of the other: it has its domain, its authority and its secrets.
    let joined = "for _ in {1..150}; do
        grep -q '\"outcome\":\"green\"' /var/lib/muster/status.json && break; sleep 1; done
        cat /var/lib/muster/status.json";
    let status = pair.on("edge", joined).expect("a status");
    assert!(status.contains("edge.example.org"), "{status}");
    let trusted = |host: &str| pair.on(host, "sha256sum < /etc/ssl/certs/muster-site-ca.pem");
    assert_eq!(
        trusted("core").expect("trusted"),
        trusted("edge").expect("trusted")
    );
    println!("[pair] both are of one site");

    // What the outside is here: this computer, by the address that QEMU gives it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"outside");
        }
    });
    let outside = format!("timeout 20 bash -c 'exec 3<>/dev/tcp/10.0.2.2/{port}; head -c 7 <&3'");
    assert_eq!(pair.on("edge", &outside).as_deref(), Some("outside"));
    assert_eq!(pair.on("core", &outside), None);
    println!("[pair] one reaches the outside, the other does not");
}
