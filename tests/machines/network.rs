//! A host that finds no network, another one, or none but IPv6's.

use crate::site::{Site, UP, wait};
use serde_json::json;
use std::time::Duration;

/// Plugs the machine's network cable in, or out.
pub fn cable(site: &Site, plugged: bool) {
    let arguments = json!({ "name": "network", "up": plugged });
    let answer = site.qemu().execute_with("set_link", arguments);
    answer.expect("QEMU has the card");
}

/// The host's last words on the console, of this start.
pub fn console(site: &Site) -> String {
    let bytes = std::fs::read(site.folder().join("office/serial.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let start = text.rfind("Linux version").unwrap_or(0);
    text[start..].to_owned()
}

#[test]
fn a_host_without_cable_is_green_and_reachable_once_it_has_one_also_by_ipv6_alone() {
    let site = Site::fork("network");
    // On one processor, while it is at it.
    site.must(&[&UP[..], &["--cpus", "1"]].concat());
    cable(&site, false);
    let waited = site.run(&[&UP[..], &["--wait"]].concat());
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(waited.status.success(), "{said}\n{}", console(&site));
    site.saw("without a cable all is green");
    cable(&site, true);
    wait("the host to be reachable", Duration::from_secs(300), || {
        site.green().then_some(())
    });
    site.saw("with the cable plugged in late it is reachable, and green");

    // From now on its network is another, as after `muster setup`: IPv6 and nothing else.
    site.on_host(
        r#"perl -pi -e 's|"mode":\s*"dhcp"|"mode":"static","address":"fec0::15/64","gateway":"fec0::2","dns":["fec0::3"]|' /var/lib/muster/site.json
        grep -q fec0::15 /var/lib/muster/site.json"#,
    );
    site.must(&["down", "starter"]);
    let waited = site.run(&[&UP[..], &["--wait"]].concat());
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(waited.status.success(), "{said}\n{}", console(&site));
    let console = console(&site);
    assert!(console.contains("address fec0::15"), "{console}");
    site.saw("with IPv6 alone all is green");
}
