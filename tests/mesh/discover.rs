//! Looking for leads on a wire: a network namespace with one card, or none.
//!
//! Each test starts itself again in a namespace that it makes, where `MUSTER_WIRE` is set.

use muster::mesh::discover::{Announced, PORT, Rival, cards, leads, question, respond, rivals};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::process::Command;
use std::time::Duration;
use tokio::net::UdpSocket;

const PATIENCE: Duration = Duration::from_millis(2500);
const WIRE: &str = "MUSTER_WIRE";

/// Whether this is inside; else the test is run there, and this is not the place to go on.
fn inside(test: &str, script: &str) -> bool {
    if std::env::var_os(WIRE).is_some() {
        return true;
    }
    let script = format!(
        "set -e; ip link set lo up; {script}; exec \"$0\" --exact discover::{test} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(WIRE, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// A card whose neighbours are all here: a bridge without ports.
const ONE_CARD: &str = "ip link add wire0 type bridge; ip link set wire0 up";

fn lead(role: &str, port: u16) -> Announced {
    Announced {
        protocol: [1, 1],
        plan: super::PLAN.into(),
        role: role.into(),
        port,
    }
}

async fn until_a_card() {
    for _ in 0..500 {
        if !cards().unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no card has a link-local address");
}

/// Time to be heard on the card.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_lead_on_the_wire_is_found_with_what_it_says_of_itself() {
    let name = "a_lead_on_the_wire_is_found_with_what_it_says_of_itself";
    if !inside(name, ONE_CARD) {
        return;
    }
    until_a_card().await;
    let announced = lead("core", 7433);
    let own = announced.clone();
    tokio::spawn(async move { respond(&own).await });
    settle().await;
    let found = leads(PATIENCE).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].announced, announced);
    assert_eq!(found[0].card, "wire0");
    let card = cards().unwrap().remove(0);
    let address = SocketAddrV6::new(card.address, 7433, 0, card.index);
    assert_eq!(found[0].address, address);
}

#[tokio::test]
async fn two_leads_are_both_found() {
    if !inside("two_leads_are_both_found", ONE_CARD) {
        return;
    }
    until_a_card().await;
    for (role, port) in [("core", 7433), ("office", 7434)] {
        tokio::spawn(async move { respond(&lead(role, port)).await });
    }
    settle().await;
    let found = leads(PATIENCE).await.unwrap();
    let mut roles: Vec<&str> = found.iter().map(|one| &*one.announced.role).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["core", "office"]);
}

#[tokio::test]
async fn a_second_lead_of_the_plan_is_told_about_the_first_and_not_about_itself() {
    let name = "a_second_lead_of_the_plan_is_told_about_the_first_and_not_about_itself";
    if !inside(name, ONE_CARD) {
        return;
    }
    until_a_card().await;
    let stranger = Announced {
        plan: "f".repeat(32),
        ..lead("office", 7435)
    };
    for announced in [lead("core", 7433), lead("core", 7434), stranger] {
        tokio::spawn(async move { respond(&announced).await });
    }
    settle().await;
    let found = leads(PATIENCE).await.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    let own = cards().unwrap();
    // They share a card here, and differ by their ports.
    for port in [7433, 7434] {
        let seen = rivals(&found, super::PLAN, &own, port);
        let rival = Rival {
            role: "core".into(),
            address: format!("{}%wire0", own[0].address),
        };
        assert_eq!(seen, [rival].into(), "{port}");
    }
    // Alone among strangers.
    let alone: Vec<_> = found
        .into_iter()
        .filter(|one| one.address.port() != 7434)
        .collect();
    assert!(rivals(&alone, super::PLAN, &own, 7433).is_empty());
}

#[tokio::test]
async fn without_a_lead_or_without_a_card_nobody_is_found() {
    let name = "without_a_lead_or_without_a_card_nobody_is_found";
    if !inside(name, "true") {
        return;
    }
    assert_eq!(cards().unwrap(), []);
    assert_eq!(leads(Duration::from_millis(200)).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_no_question_is_not_answered_and_stops_nothing() {
    let name = "what_is_no_question_is_not_answered_and_stops_nothing";
    if !inside(name, ONE_CARD) {
        return;
    }
    until_a_card().await;
    tokio::spawn(async move { respond(&lead("core", 7433)).await });
    settle().await;
    let card = cards().unwrap().remove(0);
    let group: Ipv6Addr = "ff02::fb".parse().unwrap();
    let to = SocketAddrV6::new(group, PORT, 0, card.index);
    let stranger = UdpSocket::bind("[::]:0").await.unwrap();
    let whole = question(9);
    let garbage: Vec<Vec<u8>> = (0..whole.len())
        .map(|end| whole[..end].to_vec())
        .chain([vec![0xff; 1400], vec![0; 12], b"\xc0\x0c".repeat(300)])
        .collect();
    for bytes in &garbage {
        stranger.send_to(bytes, to).await.unwrap();
    }
    let mut answer = [0; 1500];
    let heard = tokio::time::timeout(Duration::from_millis(300), stranger.recv(&mut answer));
    assert!(heard.await.is_err(), "garbage was answered");
    assert_eq!(leads(PATIENCE).await.unwrap().len(), 1);
}
