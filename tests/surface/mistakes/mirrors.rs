//! The way to the packages: proxies, addresses, networks that answer with a page of their own.

use super::Walk;
use crate::desk::Desk;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A port that nobody listens at any more.
fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server on the loopback interface that does this with every connection.
fn serving(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    format!("https://127.0.0.1:{port}/debian")
}

/// A certificate that no authority has signed.
fn stranger() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    Arc::new(config)
}

#[test]
fn a_wrong_address_is_told_from_a_wrong_mirror() {
    let desk = Desk::new();
    desk.file(
        "portal/dists/bookworm/InRelease",
        "<html>Please log in</html>\n",
    );
    let mut walk = Walk::default();
    let here = desk.path().display();
    for (why, mirror) in [
        ("no URL", "mirror.example".to_owned()),
        (
            "a scheme that is not spoken",
            "ftp://mirror.example/".to_owned(),
        ),
        (
            "an archive misspelt",
            "debain=http://mirror.example/".to_owned(),
        ),
        ("nothing there", format!("file://{here}/nowhere")),
        (
            "a network's page instead of the file",
            format!("file://{here}/portal"),
        ),
    ] {
        walk.takes(&desk, why, &["lock", "starter", "--mirror", &mirror]);
    }
    insta::assert_snapshot!(walk.0);
    assert!(!desk.there("starter"), "no lock was made");
}

#[test]
fn a_connection_that_is_not_to_be_trusted_is_not_tried_again() {
    let desk = Desk::new();
    let config = stranger();
    let strange = serving(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let _ = rustls::Stream::new(&mut tls, &mut stream).read(&mut [0; 100]);
    });
    let plain = serving(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let mut walk = Walk::default();
    for (why, mirror) in [("a certificate of nobody", strange), ("no TLS", plain)] {
        let output = desk
            .muster(&["lock", "starter", "--mirror", &mirror])
            .output()
            .unwrap();
        walk.notes(&desk, why, "muster lock starter --mirror [url]", &output);
        walk.0 = walk.0.replace(&mirror, "[url]");
    }
    insta::assert_snapshot!(walk.0);
}

#[test]
fn a_proxy_that_does_not_answer_is_named() {
    let desk = Desk::new();
    let port = closed();
    let output = desk
        .muster(&[
            "lock",
            "starter",
            "--mirror",
            "http://mirror.example/debian",
        ])
        .env(
            "http_proxy",
            format!("http://someone:secret@127.0.0.1:{port}"),
        )
        .output()
        .unwrap();
    let mut walk = Walk::default();
    let command = "muster lock starter --mirror http://mirror.example/debian";
    walk.notes(&desk, "a proxy of yesterday", command, &output);
    insta::assert_snapshot!(walk.0.replace(&port.to_string(), "[port]"));
}
