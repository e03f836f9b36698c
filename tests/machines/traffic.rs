//! What a host sends by itself: nothing that reports to anybody.

use crate::site::Site;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The guest's own address, and those of QEMU's network: the workstation and its name server.
const GUEST: [u8; 4] = [10, 0, 2, 15];
const NETWORK: [u8; 3] = [10, 0, 2];

/// Names that a host may look up by itself: servers of the time, and who it is that connects to
/// its mail server.
const MAY_ASK: &[&str] = &["pool.ntp.org", ".in-addr.arpa", ".ip6.arpa"];

/// A recording of all that goes over the machine's network card.
pub struct Recording(PathBuf);

/// Begins to record; the machine has just been started.
pub fn record(site: &Site) -> Recording {
    let file = site.folder().join("office/traffic.pcap");
    let arguments = json!({
        "qom-type": "filter-dump", "id": "traffic", "netdev": "network",
        "file": file.to_str().expect("UTF-8"), "maxlen": 65536,
    });
    let answer = site.qemu().execute_with("object-add", arguments);
    answer.expect("QEMU records");
    Recording(file)
}

impl Recording {
    /// Ends it, and looks at every packet that the host has sent.
    pub fn nobody_was_told(self, site: &Site) {
        let ended = site
            .qemu()
            .execute_with("object-del", json!({"id": "traffic"}));
        ended.expect("QEMU recorded");
        let bytes = std::fs::read(&self.0).expect("a recording");
        let (mut count, mut asked, mut strange) = (0, BTreeSet::new(), BTreeSet::new());
        for packet in packets(&bytes) {
            count += 1;
            let Some(sent) = sent(packet) else { continue };
            if let Some(name) = &sent.asks {
                asked.insert(name.clone());
            } else if sent.to[..3] != NETWORK && !(sent.protocol == 17 && sent.port == 123) {
                strange.insert(format!("{:?} port {}", sent.to, sent.port));
            }
        }
        assert!(count > 1000, "only {count} packets were recorded");
        assert!(!asked.is_empty(), "not even the time was asked for");
        asked.retain(|name| !MAY_ASK.iter().any(|may| name.ends_with(may)));
        assert_eq!(asked, BTreeSet::new(), "names that were looked up");
        assert_eq!(strange, BTreeSet::new(), "addresses that were spoken to");
        site.saw(&format!(
            "in {count} packets the host asked others for the time and nothing else"
        ));
    }
}

/// What the host sent over IPv4 to somewhere.
struct Sent {
    to: [u8; 4],
    /// 6 is TCP, 17 is UDP.
    protocol: u8,
    port: u16,
    /// The name in a question to a name server.
    asks: Option<String>,
}

/// The packets of a file as libpcap writes it: a header of 24 bytes, then 16 bytes before each
/// packet, of which the third word is its length.
pub fn packets(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &file[24..];
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(rest.get(8..12)?.try_into().ok()?) as usize;
        let packet = rest.get(16..16 + length)?;
        rest = &rest[16 + length..];
        Some(packet)
    })
}

/// Reads Ethernet, IPv4, and UDP or TCP.
fn sent(frame: &[u8]) -> Option<Sent> {
    let packet = frame.get(14..).filter(|_| frame[12..14] == [8, 0])?;
    let (head, protocol) = (usize::from(packet[0] & 15) * 4, packet[9]);
    if packet[12..16] != GUEST || ![6, 17].contains(&protocol) {
        return None;
    }
    let payload = packet.get(head..)?;
    let port = u16::from_be_bytes([payload[2], payload[3]]);
    let asks = (protocol == 17 && port == 53)
        .then(|| payload.get(8 + 12..).map(name))
        .flatten();
    let to = [packet[16], packet[17], packet[18], packet[19]];
    Some(Sent {
        to,
        protocol,
        port,
        asks,
    })
}

/// The first name of a question (RFC 1035, 4.1.2): labels behind their lengths.
fn name(mut question: &[u8]) -> String {
    let mut labels = Vec::new();
    while let Some((&length @ 1.., rest)) = question.split_first() {
        let length = usize::from(length).min(rest.len());
        labels.push(String::from_utf8_lossy(&rest[..length]).into_owned());
        question = &rest[length..];
    }
    labels.join(".")
}
