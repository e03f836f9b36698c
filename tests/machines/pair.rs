//! Two machines of one stack, and the network between them.

use crate::site::{MUSTER, wait};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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
        let output = self.run(host, script);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }

    fn run(&self, host: &str, script: &str) -> Output {
        let quoted = quoted(script);
        let words = ["ssh", "pair", host, "--", "sh", "-euc", &quoted];
        self.command(&words).output().expect("muster starts")
    }

    /// The same as root, which must succeed.
    fn as_root(&self, host: &str, script: &str) {
        let file = self
            .folder
            .path()
            .join("state/muster/pair/demo-passwords.toml");
        let table: toml::Table = fs::read_to_string(file)
            .expect("demo passwords")
            .parse()
            .expect("TOML");
        let password = table["admin"].as_str().expect("a password");
        let sudo = format!("echo {password} | sudo -S -p '' sh -euc {}", quoted(script));
        let output = self.run(host, &sudo);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} on {host}: {said}");
    }

    /// What `muster status` or `muster verify` shows on a host, and says beside it.
    fn shows(&self, host: &str, command: &str) -> (Value, String) {
        let output = self.run(host, &format!("muster {command} --json"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = serde_json::from_slice(&output.stdout);
        (
            shown.unwrap_or_else(|error| panic!("{error}: {said}")),
            said,
        )
    }

    /// Waits until a host shows the site so.
    fn until(&self, host: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        wait(what, Duration::from_secs(150), || {
            let (shown, said) = self.shows(host, "status");
            let all = holds(&shown);
            if !all {
                std::thread::sleep(Duration::from_secs(2));
            } else if !said.is_empty() {
                println!("[pair] {host} adds: {}", said.trim());
            }
            all.then_some(())
        });
        println!(
            "[pair] {host} shows {what} after {} s",
            began.elapsed().as_secs()
        );
    }
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r"'\''"))
}

/// One field of each thing in a list.
fn each<'a>(shown: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let list = shown[list].as_array().expect("a list").iter();
    list.map(|one| one[field].as_str().expect("a text"))
        .collect()
}

fn all_green(shown: &Value) -> bool {
    shown["outcome"] == "green"
        && each(shown, "hosts", "role") == ["core", "edge"]
        && each(shown, "hosts", "outcome") == ["green", "green"]
        && each(shown, "hosts", "stand") == ["joined", "joined"]
        && each(shown, "services", "id") == ["core/node-exporter", "edge/node-exporter"]
        && each(shown, "services", "colour") == ["green", "green"]
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self
            .command(&["down", "pair", "--purge", "--yes", "--grace", "1"])
            .output();
    }
}

pub fn hosts_reach_each_other_by_name() {
    let pair = Pair {
        folder: tempfile::tempdir_in("/var/tmp").expect("a folder"),
    };
    let stack: PathBuf = pair.folder.path().join("pair");
    fs::create_dir_all(&stack).expect("made");
    fs::write(stack.join("stack.toml"), STACK).expect("written");
    let up = [
        "up",
        "./pair",
        "--no-input",
        "--direct-kernel",
        "--cpus",
        "1",
    ];
    pair.must(&[&up[..], &["--wait"]].concat());
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
    let trusted = |host: &str| pair.on(host, "sha256sum < /etc/ssl/certs/muster-site-ca.pem");
    assert_eq!(
        trusted("core").expect("trusted"),
        trusted("edge").expect("trusted")
    );
    println!("[pair] both are of one site");

    one_site(&pair);
    trouble_of_one(&pair);
    parted(&pair);

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

/// Whoever is asked, wherever: both hosts are shown.
fn one_site(pair: &Pair) {
    let shown: Value =
        serde_json::from_str(&pair.must(&["status", "./pair", "--json"])).expect("JSON");
    assert!(all_green(&shown), "{shown:#}");
    for host in ["core", "edge"] {
        for command in ["status", "verify"] {
            let (shown, said) = pair.shows(host, command);
            assert!(all_green(&shown), "{command} on {host}: {shown:#}");
            assert_eq!(said, "");
        }
    }
    println!("[pair] each shows both, all green");
}

/// What fails on one host is red on the other, too, and nothing else is.
fn trouble_of_one(pair: &Pair) {
    pair.as_root("edge", "systemctl stop prometheus-node-exporter");
    let red = |shown: &Value| each(shown, "services", "colour") == ["green", "red"];
    pair.until("core", "the service of edge red", red);
    let (shown, _) = pair.shows("core", "status");
    assert_eq!(shown["outcome"], "red");
    assert_eq!(each(&shown, "hosts", "outcome"), ["green", "red"]);
    let diagnosed = pair.run("core", "muster diagnose");
    let said = String::from_utf8_lossy(&diagnosed.stdout).into_owned();
    assert!(
        said.starts_with("edge/node-exporter: metrics is red\n"),
        "{said}"
    );
    let journal = |unit: &str| {
        let ask = "use IO::Socket::UNIX; $s = IO::Socket::UNIX->new(Peer => \"/run/muster/agent.sock\") \
                   or die; print $s \"journal edge $ARGV[0]\\n\"; $s->flush; print while <$s>";
        pair.on("core", &format!("perl -e '{ask}' {unit}"))
            .expect("an answer")
    };
    let said = journal("prometheus-node-exporter.service");
    assert!(said.contains("Stopped prometheus-node-exporter"), "{said}");
    assert_eq!(
        journal("ssh.service"),
        r#"{"answer":"refused","words":"ssh.service is no unit of a task of edge"}"#
    );
    pair.as_root("edge", "systemctl start prometheus-node-exporter");
    pair.until("core", "all green again", all_green);
    pair.until("edge", "the same", all_green);
}

/// Hosts that do not hear each other: the one shows itself alone, the other a host that is silent.
fn parted(pair: &Pair) {
    pair.as_root("core", "systemctl stop muster-agent");
    let alone = "this is how edge stands by itself\n";
    wait("edge to be alone", Duration::from_secs(60), || {
        let (shown, said) = pair.shows("edge", "status");
        let own = said.ends_with(alone) && each(&shown, "hosts", "outcome") == ["green"];
        own.then(|| println!("[pair] edge adds: {}", said.trim()))
    });
    pair.as_root("core", "systemctl start muster-agent");
    pair.until("edge", "all green after the lead was away", all_green);

    pair.as_root("edge", "systemctl stop muster-agent");
    pair.until("core", "edge silent", |shown| {
        each(shown, "hosts", "stand") == ["joined", "silent"]
            && shown["outcome"] == "red"
            && each(shown, "attention", "task") == ["edge/muster-agent"]
    });
    pair.as_root("edge", "systemctl start muster-agent");
    pair.until("core", "all green after edge was away", all_green);
}
