//! Two hosts that meet in a VLAN, each with two bonded cards.

use crate::hosts::Hosts;
use crate::pair::{UP, all_green, attached, greeting};
use crate::site::wait;
use crate::traffic::packets;
use muster::profile::network::{Card, mac};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// What QEMU calls the cables of a host among the hosts, by the number of the card.
const CABLES: [&str; 2] = ["hosts", "hosts2"];
const PATIENCE: Duration = Duration::from_secs(90);

pub fn hosts_meet_in_a_vlan_over_bonds() {
    let pair = attached("vlan = 20", "bond = { mode = \"active-backup\" }");
    pair.must(&[&UP[..], &["--wait"]].concat());
    pair.saw("both have joined and are up");
    for (host, address) in [("core", "10.77.0.10/24"), ("edge", "10.77.0.11/24")] {
        has_its_address_in_the_vlan(&pair, host, address);
    }
    each_reaches_the_other(&pair);
    every_frame_has_the_tag(&pair);
    a_cable_is_lost(&pair);
    pair.until("core", "all green", all_green);
}

fn has_its_address_in_the_vlan(pair: &Hosts, host: &str, address: &str) {
    let on = |script: &str| pair.on(host, script).expect(script);
    let vlan = on("ip -d -o link show vlan20");
    assert!(vlan.contains("vlan20@bond0: "), "{vlan}");
    assert!(vlan.contains(" vlan protocol 802.1Q id 20 "), "{vlan}");
    let bond = on("ip -d -o link show bond0");
    assert!(bond.contains(" bond mode active-backup "), "{bond}");
    let state = on("cat /proc/net/bonding/bond0");
    assert_eq!(state.matches("Slave Interface: ").count(), 2, "{state}");
    assert_eq!(state.matches("MII Status: up").count(), 3, "{state}");
    for index in [0, 1] {
        let card = format!(
            "Permanent HW addr: {}",
            mac("pair", host, Card::Hosts(index))
        );
        assert!(state.contains(&card), "{card} is not in {state}");
    }

    // The name is the second word.
    let names = |script: &str| -> BTreeSet<String> {
        let said = on(script);
        let name = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        said.lines().filter_map(name).collect()
    };
    let having = names(&format!("ip -o address show to {address}"));
    assert_eq!(Vec::from_iter(having), ["vlan20"]);
    // What carries the VLAN meets nobody: where a lead is looked for, it is found once.
    let local = names("ip -o -6 address show scope link");
    assert!(
        local.contains("vlan20") && !local.contains("bond0"),
        "{local:?}"
    );
    let cards = names("ip -o link show master bond0");
    assert_eq!(cards.len(), 2, "{cards:?}");
    let bare = |card: &String| !local.contains(card.trim_end_matches(':'));
    assert!(cards.iter().all(bare), "{cards:?} {local:?}");
    pair.saw(&format!("{host} has {address} on a VLAN over a bond"));
}

fn each_reaches_the_other(pair: &Hosts) {
    for (from, to) in [("core", "edge"), ("edge", "core")] {
        assert_eq!(pair.on(from, &greeting(to)).as_deref(), Some("SSH-2.0"));
    }
    pair.saw("each reaches the other by name");
}

/// Records what passes the cables of one host while the other is reached.
fn every_frame_has_the_tag(pair: &Hosts) {
    let file = |cable: &str| pair.folder().join(format!("{cable}.pcap"));
    for cable in CABLES {
        let arguments = json!({
            "qom-type": "filter-dump", "id": format!("of-{cable}"), "netdev": cable,
            "file": file(cable).to_str().expect("UTF-8"), "maxlen": 65536,
        });
        let answer = pair.qemu("edge").execute_with("object-add", arguments);
        answer.expect("QEMU records");
    }
    each_reaches_the_other(pair);
    let (mut tagged, mut others) = (0, Vec::new());
    for cable in CABLES {
        let arguments = json!({ "id": format!("of-{cable}") });
        let ended = pair.qemu("edge").execute_with("object-del", arguments);
        ended.expect("QEMU recorded");
        let bytes = fs::read(file(cable)).expect("a recording");
        for frame in packets(&bytes) {
            // The type of 802.1Q, then three bits of priority, one of colour and the VLAN.
            match frame[12..16] {
                [0x81, 0x00, _, 20] if frame[14] & 0x0f == 0 => tagged += 1,
                _ => others.push(hex::encode(&frame[..frame.len().min(64)])),
            }
        }
    }
    assert_eq!(others, [""; 0], "frames without the tag");
    assert!(tagged > 10, "only {tagged} frames were recorded");
    pair.saw(&format!("each of {tagged} frames has the tag of VLAN 20"));
}

fn plug(pair: &Hosts, cable: usize, up: bool) {
    let arguments = json!({ "name": CABLES[cable], "up": up });
    let answer = pair.qemu("edge").execute_with("set_link", arguments);
    answer.expect("QEMU has the card");
}

/// The number of the card by which the edge is reached now; none while it has no cable.
fn active(pair: &Hosts) -> Option<usize> {
    let state = pair.on("edge", "cat /proc/net/bonding/bond0")?;
    let name = state
        .split("Currently Active Slave: ")
        .nth(1)?
        .lines()
        .next()?;
    let card = state
        .split("Slave Interface: ")
        .find(|card| card.lines().next() == Some(name))?;
    let address = card.split("Permanent HW addr: ").nth(1)?.lines().next()?;
    (0..CABLES.len()).find(|index| {
        let index = u8::try_from(*index).expect("few");
        mac("pair", "edge", Card::Hosts(index)) == address
    })
}

fn a_cable_is_lost(pair: &Hosts) {
    let first = active(pair).expect("one is active");
    let second = 1 - first;
    plug(pair, first, false);
    wait("the other card to take over", PATIENCE, || {
        (active(pair) == Some(second)).then_some(())
    });
    each_reaches_the_other(pair);
    pair.saw("the other card has taken over");

    // It was by that one, and by nothing else.
    plug(pair, second, false);
    wait("the edge to be off the network", PATIENCE, || {
        pair.on("core", &greeting("edge")).is_none().then_some(())
    });
    plug(pair, first, true);
    wait("the edge to be back", PATIENCE, || {
        pair.on("core", &greeting("edge")).map(drop)
    });
    assert_eq!(active(pair), Some(first));
    each_reaches_the_other(pair);
    pair.saw("without any cable it is off, with the first one it is back");
}
