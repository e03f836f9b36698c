//! The network cable, and what a host says of it.

use crate::site::Site;
use serde_json::json;

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
