//! One question to one server over UDP.

use super::Refusal;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A packet may be lost.
const ATTEMPTS: u32 = 3;
/// Longest answer that is taken: one packet of a card with the usual 1500 bytes.
pub const MOST: usize = 1400;

/// Asks until something answers. `make` makes a question, anew for each attempt, and what tells its
/// answer; `read` reads an answer, and gives nothing for what answers something else.
///
/// # Errors
/// Nothing answers within the limit, nothing listens there, or the server says why not.
pub fn ask<Q, T>(
    server: SocketAddr,
    limit: Duration,
    mut make: impl FnMut() -> Result<(Vec<u8>, Q), Refusal>,
    read: impl Fn(&[u8], &Q) -> Option<Result<T, String>>,
) -> Result<T, Refusal> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::ConnectionRefused => Refusal::Refused(server.to_string()),
        _ => Refusal::Unreachable {
            address: server.to_string(),
            reason: error.to_string(),
        },
    };
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).map_err(failed)?;
    // From now on only that server is heard.
    socket.connect(server).map_err(failed)?;
    let pause = (limit / ATTEMPTS).max(Duration::from_millis(1));
    let mut bytes = [0; MOST];
    for _ in 0..ATTEMPTS {
        let (question, told) = make()?;
        socket.send(&question).map_err(failed)?;
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left)).map_err(failed)?;
            let length = match socket.recv(&mut bytes) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(failed(error)),
            };
            // What answers something else came late.
            if let Some(answer) = read(&bytes[..length], &told) {
                return answer.map_err(|words| Refusal::said(server.to_string(), words));
            }
        }
    }
    Err(Refusal::Silent {
        address: server.to_string(),
        seconds: limit.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_something_else_is_passed_over_and_a_lost_question_is_asked_again() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("an address");
        let answering = std::thread::spawn(move || {
            let mut bytes = [0; 8];
            // The first is lost.
            server.recv(&mut bytes).expect("asked");
            let (_, from) = server.recv_from(&mut bytes).expect("asked again");
            server.send_to(b"late", from).expect("sent");
            server.send_to(&[bytes[0]], from).expect("sent");
        });
        let mut number = 0;
        let found = ask(
            address,
            Duration::from_secs(3),
            || {
                number += 1;
                Ok((vec![number], number))
            },
            |bytes, asked| (bytes == [*asked]).then_some(Ok(*asked)),
        );
        assert_eq!(found, Ok(2));
        answering.join().expect("answered");
        let none = |_: &[u8], _: &()| None::<Result<(), String>>;
        let refused = ask(address, Duration::from_secs(3), || Ok((vec![1], ())), none);
        assert_eq!(refused, Err(Refusal::Refused(address.to_string())));
    }
}
