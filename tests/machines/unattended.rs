//! A host brought up without a person, looked at from outside after a start on other hardware.

use crate::site::Site;
use crate::{browser, firmware, install, outside, stranger};

#[test]
fn unattended_bring_up_is_green_on_other_hardware_also_seen_from_outside() {
    let site = Site::fork("unattended");
    let recording = firmware::start_elsewhere(&site);
    let rows = site.verify();
    assert!(rows.len() >= 10, "only {} integrations", rows.len());
    for (id, green, reason) in &rows {
        assert!(green, "{id}: {reason}");
    }
    site.saw(&format!("{} integrations green on request", rows.len()));

    let again = site.run(&["up", "office", "--no-input", "--wait", "--out", "out"]);
    assert!(again.status.success(), "a second up leaves it as it is");

    outside::probe(&site);
    browser::mail(&site);
    outside::look_inside(&site);
    stranger::look(&site);
    recording.nobody_was_told(&site);
    install::more(&site);

    let stopped = std::time::Instant::now();
    site.must(&["down", "office"]);
    site.saw(&format!("shut down in {} s", stopped.elapsed().as_secs()));
}
