//! Words of refusal, against real servers.

use super::*;
use crate::profile::probe_kinds::PROBE_KINDS;
use crate::site::authority::{Authority, Leaf, issue};
use crate::site::durable::Owner;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[test]
fn every_kind_that_profiles_may_name_is_there_and_no_other() {
    let known: Vec<&str> = PROBE_KINDS.iter().map(|kind| kind.name).collect();
    let here: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    assert_eq!(here, known);
}

/// A CA of its own with a certificate for the names.
struct Trust {
    directory: tempfile::TempDir,
}

impl Trust {
    fn new(names: &[&str]) -> Trust {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open_or_create(directory.path(), "Example").expect("a CA");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let owner = Owner {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
        };
        let leaf = Leaf {
            service: "server",
            name: "server",
            names: &names,
        };
        issue(&authority, &directory.path().join("leaf"), &leaf, owner).expect("a certificate");
        Trust { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn network(&self) -> Network {
        Network {
            names: BTreeMap::from([("mail.x".to_string(), Ipv4Addr::LOCALHOST.into())]),
            hosts: "/nonexistent".into(),
            ca: self.path("ca.pem"),
            limit: Duration::from_secs(3),
        }
    }
}

/// `openssl s_server`, stopped when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(trust: &Trust, more: &[&str]) -> Server {
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &port.to_string()])
            .arg("-cert")
            .arg(trust.path("leaf/certificate.pem"))
            .arg("-key")
            .arg(trust.path("leaf/key.pem"))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let start = Instant::now();
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn words(kind: &str, with: &[(&str, &str)], network: &Network) -> String {
    let probe = Probe {
        id: "p".into(),
        probe: kind.into(),
        with: with
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    match attempt(&probe, network) {
        Ok(words) => format!("green: {words}"),
        Err(refusal) => format!("red: {refusal}"),
    }
}

#[test]
fn a_closed_port_and_a_silent_one_are_told_apart() {
    let trust = Trust::new(&["mail.x"]);
    let port = free_port().to_string();
    for (kind, with) in [
        ("tcp", vec![("host", "127.0.0.1"), ("port", port.as_str())]),
        (
            "imap-login",
            vec![
                ("host", "mail.x"),
                ("port", port.as_str()),
                ("name", "mail.x"),
                ("user", "u"),
                ("password", "p"),
            ],
        ),
    ] {
        assert_eq!(
            words(kind, &with, &trust.network()),
            format!("red: connection refused by 127.0.0.1:{port}"),
            "{kind}"
        );
    }
    // It accepts, and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = silent.local_addr().expect("its address").port().to_string();
    let with = [
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("name", "mail.x"),
    ];
    assert_eq!(
        words("tls", &with, &trust.network()),
        format!("red: no answer from 127.0.0.1:{port} within 3 s")
    );
}

#[test]
fn a_certificate_must_be_of_the_site_and_for_the_name() {
    let ours = Trust::new(&["mail.x"]);
    let theirs = Trust::new(&["mail.x"]);
    let server = Server::start(&ours, &[]);
    let port = server.port.to_string();
    let with = |name: &'static str| {
        [
            ("host", "127.0.0.1"),
            ("port", port.as_str()),
            ("name", name),
        ]
        .to_vec()
    };
    assert_eq!(
        words("tls", &with("mail.x"), &ours.network()),
        format!("green: 127.0.0.1:{port} shows a certificate for mail.x signed by the site CA")
    );
    assert_eq!(
        words("tls", &with("web.x"), &ours.network()),
        format!("red: the certificate of 127.0.0.1:{port} is not for web.x, but for mail.x")
    );
    assert_eq!(
        words("tls", &with("mail.x"), &theirs.network()),
        format!("red: the certificate of 127.0.0.1:{port} is not signed by the site CA")
    );
    let nowhere = Network {
        ca: Path::new("/nonexistent/ca.pem").into(),
        ..ours.network()
    };
    let said = words("tls", &with("mail.x"), &nowhere);
    assert!(
        said.starts_with("red: the site CA /nonexistent/ca.pem cannot be read: "),
        "{said}"
    );
}

#[test]
fn an_expired_or_self_signed_certificate_is_called_that() {
    let trust = Trust::new(&["mail.x"]);
    let own = |arguments: &[&str]| {
        let said = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-subj",
                "/CN=mail.x",
                "-addext",
                "subjectAltName=DNS:mail.x",
            ])
            .arg("-keyout")
            .arg(trust.path("leaf/key.pem"))
            .arg("-out")
            .arg(trust.path("leaf/certificate.pem"))
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .expect("openssl");
        assert!(said.success());
    };
    own(&[]);
    let server = Server::start(&trust, &[]);
    let port = server.port.to_string();
    let with = [
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("name", "mail.x"),
    ];
    assert_eq!(
        words("tls", &with, &trust.network()),
        format!(
            "red: the certificate of 127.0.0.1:{port} is not signed by the site CA but by itself"
        )
    );
}

#[test]
fn a_server_that_does_not_speak_tls_is_called_that() {
    let trust = Trust::new(&["mail.x"]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener
        .local_addr()
        .expect("its address")
        .port()
        .to_string();
    std::thread::spawn(move || {
        use std::io::Write;
        for visitor in listener.incoming() {
            let mut visitor = visitor.expect("a visitor");
            visitor.write_all(b"220 hello\r\n").expect("said");
        }
    });
    let with = [
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("name", "mail.x"),
    ];
    assert_eq!(
        words("tls", &with, &trust.network()),
        format!("red: TLS with 127.0.0.1:{port}: the answer is not TLS")
    );
    let with = [("url", &*format!("http://127.0.0.1:{port}/"))];
    assert_eq!(
        words("http", &with, &trust.network()),
        format!("red: 127.0.0.1:{port} does not speak HTTP: 220 hello")
    );
}

#[test]
fn a_page_is_compared_with_its_status_and_its_text() {
    let trust = Trust::new(&["mail.x"]);
    let server = Server::start(&trust, &["-www"]);
    let url = format!("https://mail.x:{}/", server.port);
    let network = trust.network();
    let green = words("http", &[("url", &url), ("contains", "s_server")], &network);
    assert!(green.starts_with("green: "), "{green}");
    assert_eq!(
        words("http", &[("url", &url), ("status", "404")], &network),
        format!("red: {url} answers 200 ok, not 404")
    );
    assert_eq!(
        words(
            "metrics",
            &[("url", &url), ("contains", "pg_up 1")],
            &network
        ),
        format!("red: {url} answers 200 ok, but without `pg_up 1`")
    );
    // Where to connect is not what the certificate is for.
    let elsewhere = format!("127.0.0.1:{}", server.port);
    let with = [("url", "https://mail.x/"), ("address", elsewhere.as_str())];
    let green = words("http", &with, &network);
    assert!(green.starts_with("green: "), "{green}");
}

/// Says this as JSON to whoever asks for a page; the address.
fn says(body: String) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for visitor in listener.incoming() {
            let mut visitor = visitor.expect("a visitor");
            let mut request = [0; 4096];
            let _ = visitor.read(&mut request).expect("asked");
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
            write!(visitor, "{head} {}\r\n\r\n{body}", body.len()).expect("said");
        }
    });
    format!("http://{address}")
}

#[test]
fn a_target_that_was_too_late_for_prometheus_is_asked_whether_it_answers_now() {
    let trust = Trust::new(&["mail.x"]);
    let server = Server::start(&trust, &["-www"]);
    let late = "context deadline exceeded";
    let prometheus = |why: &str| {
        says(
            serde_json::json!({"data": {"activeTargets": [{
                "labels": {"job": "node", "instance": "mail.x:9100"},
                "scrapeUrl": format!("https://mail.x:{}/", server.port),
                "health": "down",
                "lastError": why,
            }]}})
            .to_string(),
        )
    };
    let said = |url: &str| {
        let with = [("url", url), ("job", "node"), ("instance", "mail.x:9100")];
        words("prometheus-target", &with, &trust.network())
    };
    let too_late = prometheus(late);
    assert_eq!(
        said(&too_late),
        "green: Prometheus scrapes mail.x:9100 of job node; the last answer came too late, and \
         now there is one"
    );
    let red = |why: &str| format!("red: Prometheus cannot scrape mail.x:9100: {why}");
    // It answers, but Prometheus has another reason.
    let other = "x509: certificate signed by unknown authority";
    assert_eq!(said(&prometheus(other)), red(other));
    drop(server);
    assert_eq!(said(&too_late), red(late));
}

#[test]
fn a_missing_argument_and_a_name_nobody_knows_are_named() {
    let trust = Trust::new(&["mail.x"]);
    let network = trust.network();
    assert_eq!(
        words("tcp", &[("host", ""), ("port", "1")], &network),
        "red: the probe's argument `host` is empty"
    );
    assert_eq!(
        words("tcp", &[("host", "mail.x"), ("port", "imap")], &network),
        "red: the probe's argument `port` is no port: `imap`"
    );
    assert_eq!(
        words("tcp", &[("host", "nobody.x"), ("port", "1")], &network),
        "red: no address is known for nobody.x: neither the plan nor /etc/hosts names it"
    );
    assert_eq!(words("ftp", &[], &network), "red: there is no probe `ftp`");
}

/// Answers every request with these bytes, again and again if `endless`; its port, and how many
/// requests there were.
fn page(bytes: Vec<u8>, endless: bool) -> (u16, Arc<AtomicUsize>) {
    use std::io::{Read, Write};
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut visitor in listener.incoming().flatten() {
            count.fetch_add(1, SeqCst);
            let _ = visitor.read(&mut [0; 4096]);
            while visitor.write_all(&bytes).is_ok() && endless {}
        }
    });
    (port, asked)
}

#[test]
fn a_page_without_end_is_left() {
    let trust = Trust::new(&["mail.x"]);
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    for (bytes, why) in [
        (
            format!("{head}Content-Length: 8388609\r\n\r\n"),
            "http://mail.x:[port]/ is too large",
        ),
        (
            format!("{chunked}800000\r\n"),
            "a chunk of 127.0.0.1:[port] is damaged",
        ),
        (
            format!("{chunked}ffffffffffffffff\r\n"),
            "a chunk of 127.0.0.1:[port] is damaged",
        ),
        (
            format!("{head}X: {}", "x".repeat(80_000)),
            "127.0.0.1:[port] sends a line without end",
        ),
        (
            format!("{head}{}\r\n", "X: y\r\n".repeat(501)),
            "127.0.0.1:[port] sends headers without end",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "http://mail.x:[port]/ redirects in a circle",
        ),
        (
            format!("{head}Content-Le"),
            "127.0.0.1:[port] closed the connection",
        ),
    ] {
        let (port, asked) = page(bytes.into_bytes(), false);
        let url = format!("http://mail.x:{port}/");
        assert_eq!(
            words("http", &[("url", &url)], &trust.network()),
            format!("red: {}", why.replace("[port]", &port.to_string()))
        );
        let hops = if why.contains("circle") { 8 } else { 1 };
        assert_eq!(asked.load(SeqCst), hops, "{why}");
    }
    let mut endless = format!("{head}\r\n").into_bytes();
    endless.resize(1 << 20, b'x');
    let url = format!("http://mail.x:{}/", page(endless, true).0);
    let said = words("http", &[("url", &url)], &trust.network());
    assert!(said.starts_with("green: "), "{said}");
}

/// Answers like a server that says these lines, one per line it hears.
fn parrot(lines: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut visitor, _) = listener.accept().expect("a visitor");
        let mut heard = BufReader::new(visitor.try_clone().expect("a clone")).lines();
        for line in lines {
            visitor.write_all(line.as_bytes()).expect("said");
            heard.next();
        }
    });
    port
}

#[test]
fn a_mail_server_is_refused_in_its_own_words() {
    let trust = Trust::new(&["mail.x"]);
    let network = trust.network();
    let mail = |port: u16| {
        words(
            "mail-delivery",
            &[
                ("host", "mail.x"),
                ("port", &port.to_string()),
                ("from", "a@x"),
                ("to", "b@x"),
                ("imap-host", "mail.x"),
                ("imap-port", "1"),
                ("imap-name", "mail.x"),
                ("user", "b"),
                ("password", "p"),
            ],
            &network,
        )
    };
    let port = parrot(&[
        "220 hello\r\n",
        "250 hello\r\n",
        "250 ok\r\n",
        "550 5.1.1 no b here\r\n",
    ]);
    assert_eq!(mail(port), "red: SMTP recipient b@x: 550 5.1.1 no b here");
    let port = parrot(&["554-not\r\n554 you\r\n"]);
    assert_eq!(mail(port), "red: SMTP greeting: 554-not 554 you");
    let takes = |port: u16| {
        words(
            "smtp-recipient",
            &[
                ("host", "mail.x"),
                ("port", &port.to_string()),
                ("from", "a@x"),
                ("to", "b@x"),
                ("nobody", "c@x"),
            ],
            &network,
        )
    };
    let port = parrot(&[
        "220 hello\r\n",
        "250 hello\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "550 5.1.1 who?\r\n",
    ]);
    assert_eq!(takes(port), "green: mail for b@x is taken");
    let port = parrot(&[
        "220 hello\r\n",
        "250 hello\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
    ]);
    assert_eq!(
        takes(port),
        "red: mail for c@x is taken, and nobody has that address"
    );
    let port = parrot(&[
        "220 hello\r\n",
        "250 hello\r\n",
        "250 ok\r\n",
        "451 4.3.0 lookup failure\r\n",
    ]);
    assert_eq!(
        takes(port),
        "red: SMTP recipient b@x: 451 4.3.0 lookup failure"
    );
    let port = parrot(&["220 hello\r\n", "250 hello\r\n"]);
    assert_eq!(
        words(
            "smtp-login",
            &[
                ("host", "mail.x"),
                ("port", &port.to_string()),
                ("name", "mail.x"),
                ("user", "b"),
                ("password", "p")
            ],
            &network
        ),
        format!("red: 127.0.0.1:{port} does not offer STARTTLS")
    );
}
