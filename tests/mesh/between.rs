//! Who stands between a host and its lead.

use super::{Host, Lead, PLAN};
use muster::mesh::door::Knows;
use muster::mesh::frame;
use muster::mesh::identity::Identity;
use muster::mesh::join::member::Secret;
use muster::mesh::join::{JoinError, ToLead, ToMember};
use muster::mesh::tls;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn identity(folder: &tempfile::TempDir) -> Identity {
    Identity::open_or_create(folder.path()).unwrap()
}

/// Connects to a lead as a stranger.
async fn stranger(at: SocketAddr, own: &Identity) -> tokio_rustls::client::TlsStream<TcpStream> {
    let connector = TlsConnector::from(tls::client(own).unwrap());
    let socket = TcpStream::connect(at).await.unwrap();
    let name = ServerName::IpAddress(at.ip().into());
    connector.connect(name, socket).await.unwrap()
}

/// One who shows each side a certificate of its own and hands on what they say. Returns where
/// it stands and what it heard.
async fn man_in_the_middle(lead: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        let folder = tempfile::tempdir().unwrap();
        let own = identity(&folder);
        let acceptor = TlsAcceptor::from(tls::server(&own).unwrap());
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut member = acceptor.accept(socket).await.unwrap();
            let mut lead = stranger(lead, &own).await;
            while let Ok(said) = frame::read::<ToLead>(&mut member, 1 << 20).await {
                log.lock()
                    .unwrap()
                    .push(serde_json::to_string(&said).unwrap());
                frame::write(&mut lead, &said).await.unwrap();
                let Ok(answer) = frame::read::<ToMember>(&mut lead, 1 << 20).await else {
                    break;
                };
                log.lock()
                    .unwrap()
                    .push(serde_json::to_string(&answer).unwrap());
                frame::write(&mut member, &answer).await.unwrap();
            }
        }
    });
    (address, heard)
}

#[tokio::test]
async fn one_who_swaps_the_certificates_is_noticed_and_learns_nothing() {
    let lead = Lead::start(None).await;
    let (between, heard) = man_in_the_middle(lead.address).await;
    let host = Host::new();
    let code = lead.code();
    let words = host.refused(between, "edge", &code).await;
    assert!(words.starts_with("that is not the code"), "{words}");
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
    assert!(lead.log.asked.lock().unwrap().is_empty());
    // A guess is all it had: the code is burnt, and nothing that was said holds it.
    let Secret::Code(code) = code else {
        unreachable!("a code");
    };
    let heard = heard.lock().unwrap().join("\n");
    // One of its words may be one of the protocol's (`edge`), or hexadecimal digits (`face`).
    let code = code.to_string();
    let known = code.split(' ').filter(|word| heard.contains(word));
    assert!(known.count() < 2, "{code} in {heard}");
    assert!(!heard.contains("the CA"));
    // Without it the host joins with the next code.
    host.join(lead.address, "edge", &lead.code()).await.unwrap();
}

#[tokio::test]
async fn one_who_plays_the_lead_cannot_prove_that_it_knows_the_code() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let play = tokio::spawn(async move {
        let folder = tempfile::tempdir().unwrap();
        let own = identity(&folder);
        let acceptor = TlsAcceptor::from(tls::server(&own).unwrap());
        let (socket, _) = listener.accept().await.unwrap();
        let mut member = acceptor.accept(socket).await.unwrap();
        let hear = frame::read::<ToLead>;
        hear(&mut member, 1 << 20).await.unwrap();
        frame::write(&mut member, &ToMember::Welcome { protocol: 1 })
            .await
            .unwrap();
        let exchange = hear(&mut member, 1 << 20).await.unwrap();
        let ToLead::Exchange { .. } = exchange else {
            panic!("{exchange:?}");
        };
        // Any message of the lead's side will do: it does not know the code.
        let binding = muster::mesh::pake::Binding {
            role: "edge".into(),
            lead: own.print().0,
            member: [0; 32],
            session: [0; 32],
        };
        let side = muster::mesh::pake::Side::Lead;
        let begun = muster::mesh::pake::Exchange::begin(side, b"a guess", binding);
        let message = hex::encode(&begun.message);
        frame::write(&mut member, &ToMember::Exchange { message })
            .await
            .unwrap();
        hear(&mut member, 1 << 20).await.unwrap();
        let record = muster::mesh::members::Record {
            site: "6".repeat(32),
            role: "edge".into(),
            lead: "core".into(),
            lead_key: own.print(),
            ca: "another CA".into(),
            certificate: String::new(),
        };
        let joined = ToMember::Joined {
            proof: "00".repeat(32),
            record: Box::new(record),
            time: 0,
        };
        frame::write(&mut member, &joined).await.unwrap();
    });
    let secret = Secret::Code(muster::mesh::code::Code::draw().unwrap());
    let error = Host::new()
        .join(address, "edge", &secret)
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::NotTheLead { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "what answers at {address} does not know the code: it is not the lead, or somebody \
             stands between; nothing was told to it. Compare the address with the one on the \
             lead's screen"
        )
    );
    play.await.unwrap();
}

#[tokio::test]
async fn a_recorded_join_cannot_be_played_again() {
    let lead = Lead::start(None).await;
    // What a host says in a good join, recorded where it is readable: by the host itself.
    let host = Host::new();
    let code = lead.code();
    let Secret::Code(words) = &code else {
        unreachable!("a code");
    };
    let recorded = record(&lead, &host, &words.secret()).await;
    assert_eq!(lead.lobby.missing(), ["files"]);
    lead.lobby.revoke("edge").unwrap();
    // Played by another, and by one who has even stolen the host's key.
    let folder = tempfile::tempdir().unwrap();
    for thief in [identity(&folder), host.identity()] {
        let mut stream = stranger(lead.address, &thief).await;
        let mut last = None;
        for said in &recorded {
            if frame::write(&mut stream, said).await.is_err() {
                break;
            }
            last = frame::read::<ToMember>(&mut stream, 1 << 20).await.ok();
            if matches!(last, Some(ToMember::Refused { .. })) {
                break;
            }
        }
        assert!(matches!(last, Some(ToMember::Refused { .. })), "{last:?}");
    }
    assert_eq!(lead.lobby.missing(), ["edge", "files"]);
}

/// Joins as the host would, and returns what it said.
async fn record(lead: &Lead, host: &Host, secret: &[u8]) -> Vec<ToLead> {
    let own = host.identity();
    let mut stream = stranger(lead.address, &own).await;
    let (_, connection) = stream.get_ref();
    let binding = muster::mesh::pake::Binding {
        role: "edge".into(),
        lead: tls::peer(connection).unwrap().0,
        member: own.print().0,
        session: connection
            .export_keying_material([0; 32], tls::SESSION, None)
            .unwrap(),
    };
    let side = muster::mesh::pake::Side::Member;
    let exchange = muster::mesh::pake::Exchange::begin(side, secret, binding);
    let mut said = vec![
        ToLead::Knock {
            protocol: muster::mesh::PROTOCOL,
            role: "edge".into(),
            plan: PLAN.into(),
        },
        ToLead::Exchange {
            knows: Knows::Code,
            message: hex::encode(&exchange.message),
        },
    ];
    frame::write(&mut stream, &said[0]).await.unwrap();
    frame::read::<ToMember>(&mut stream, 1 << 20).await.unwrap();
    frame::write(&mut stream, &said[1]).await.unwrap();
    let ToMember::Exchange { message } = frame::read(&mut stream, 1 << 20).await.unwrap() else {
        panic!("no exchange");
    };
    let shared = exchange.finish(&hex::decode(message).unwrap()).unwrap();
    said.push(ToLead::Proof {
        proof: hex::encode(shared.proof(side)),
    });
    frame::write(&mut stream, &said[2]).await.unwrap();
    let waits: ToMember = frame::read(&mut stream, 1 << 20).await.unwrap();
    assert_eq!(waits, ToMember::Waits {});
    let end: ToMember = frame::read(&mut stream, 1 << 20).await.unwrap();
    assert!(matches!(end, ToMember::Joined { .. }), "{end:?}");
    said
}

#[tokio::test]
async fn a_host_that_hangs_up_anywhere_uses_up_nothing() {
    let lead = Lead::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let own = identity(&folder);
    let said = [
        ToLead::Knock {
            protocol: muster::mesh::PROTOCOL,
            role: "edge".into(),
            plan: PLAN.into(),
        },
        ToLead::Exchange {
            knows: Knows::Code,
            message: String::new(),
        },
    ];
    // After the handshake, after the knock, in the middle of a message.
    drop(TcpStream::connect(lead.address).await.unwrap());
    drop(stranger(lead.address, &own).await);
    let mut stream = stranger(lead.address, &own).await;
    frame::write(&mut stream, &said[0]).await.unwrap();
    drop(stream);
    let mut stream = stranger(lead.address, &own).await;
    stream.write_all(&[0, 0, 1]).await.unwrap();
    drop(stream);
    // A message that is none, and one that is far too long.
    let mut stream = stranger(lead.address, &own).await;
    frame::write(&mut stream, &said[1]).await.unwrap();
    let answer: ToMember = frame::read(&mut stream, 1 << 20).await.unwrap();
    assert_eq!(
        answer,
        ToMember::Refused {
            words: "a join begins with a knock".into(),
            again: false
        }
    );
    let mut stream = stranger(lead.address, &own).await;
    stream.write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the lead hangs up");
    assert_eq!(lead.lobby.code().unwrap().1, 5);
    Host::new()
        .join(lead.address, "edge", &lead.code())
        .await
        .unwrap();
}

#[tokio::test]
async fn somebody_who_is_no_lead_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.write_all(b"220 mail.example.org ESMTP\r\n").await;
        }
    });
    let secret = Secret::Code(muster::mesh::code::Code::draw().unwrap());
    let words = Host::new().refused(address, "edge", &secret).await;
    assert!(
        words.starts_with(&format!(
            "what answers at {address} is no lead of a muster site: "
        )),
        "{words}"
    );
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    assert_eq!(
        Host::new().refused(address, "edge", &secret).await,
        format!("the lead at {address}: Connection refused (os error 111)")
    );
}
