//! Two machines of one stack, and the network between them.

use crate::hosts::{Hosts, each};
use crate::site::wait;
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

/// The stack, with these keys in `[network]` and in each role.
fn stack(network: &str, role: &str) -> String {
    format!(
        r#"
[stack]
name = "pair"
summary = "Two hosts that know each other"
base = "debian-12"

[network]
hosts = "10.77.0.0/24"
{network}

[[role]]
name = "core"
summary = "Reaches nobody else"
memory = 768
address = 10
{role}
services = ["node-exporter"]

[[role]]
name = "edge"
summary = "Reaches others, too"
memory = 768
address = 11
outside = true
{role}
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
"#
    )
}

/// Whether a host shows both as they should be.
pub fn all_green(shown: &Value) -> bool {
    shown["outcome"] == "green"
        && each(shown, "hosts", "role") == ["core", "edge"]
        && each(shown, "hosts", "outcome") == ["green", "green"]
        && each(shown, "hosts", "stand") == ["joined", "joined"]
        && each(shown, "services", "id") == ["core/node-exporter", "edge/node-exporter"]
        && each(shown, "services", "colour") == ["green", "green"]
}

/// The machines of the stack, not there yet.
pub fn pair() -> Hosts {
    Hosts::of("pair", &stack("", ""))
}

/// The same with these keys in `[network]` and in each role.
pub fn attached(network: &str, role: &str) -> Hosts {
    Hosts::of("pair", &stack(network, role))
}

/// The same with more lines in `[stack]`.
pub fn pair_with(lines: &str) -> Hosts {
    let text = stack("", "");
    let text = text.replacen("[network]", &format!("{lines}[network]"), 1);
    Hosts::of("pair", &text)
}

/// Asks a host's sshd for the words with which it begins, `SSH-2.0`.
pub fn greeting(host: &str) -> String {
    format!("timeout 20 bash -c 'exec 3<>/dev/tcp/{host}/22; head -c 7 <&3'")
}

/// `up` of it.
pub const UP: [&str; 6] = [
    "up",
    "./pair",
    "--no-input",
    "--direct-kernel",
    "--cpus",
    "1",
];

pub fn hosts_reach_each_other_by_name() {
    let pair = pair();
    pair.must(&[&UP[..], &["--wait"]].concat());
    pair.saw("both are up");

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
    pair.saw("each reaches the other by name");

    // The one has joined the site of the other: it has its domain, its authority and its secrets.
    let trusted = |host: &str| pair.on(host, "sha256sum < /etc/ssl/certs/muster-site-ca.pem");
    assert_eq!(
        trusted("core").expect("trusted"),
        trusted("edge").expect("trusted")
    );
    pair.saw("both are of one site");

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
    pair.saw("one reaches the outside, the other does not");
}

/// Whoever is asked, wherever: both hosts are shown.
fn one_site(pair: &Hosts) {
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
    pair.saw("each shows both, all green");
}

/// What fails on one host is red on the other, too, and nothing else is.
fn trouble_of_one(pair: &Hosts) {
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
fn parted(pair: &Hosts) {
    pair.as_root("core", "systemctl stop muster-agent");
    let alone = "this is how edge stands by itself\n";
    wait("edge to be alone", Duration::from_secs(60), || {
        let (shown, said) = pair.shows("edge", "status");
        let own = said.ends_with(alone) && each(&shown, "hosts", "outcome") == ["green"];
        own.then(|| pair.saw(&format!("edge adds: {}", said.trim())))
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
