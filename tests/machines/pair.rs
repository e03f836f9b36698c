//! Two machines of one stack, and the network between them.

use crate::site::MUSTER;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
