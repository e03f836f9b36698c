//! One machine brought up without a person, looked at from outside, started again on other
//! hardware, and then broken on purpose.

use crate::site::Site;
use crate::{browser, firmware, outside, red, stranger};

#[test]
fn unattended_bring_up_is_green_also_seen_from_outside() {
    let site = Site::new("unattended");
    site.must(&["up", "starter", "--no-input", "--wait", "--out", "out"]);
    site.saw("bring-up ended green");

    let rows = site.verify();
    assert!(rows.len() >= 10, "only {} integrations", rows.len());
    for (id, green, reason) in &rows {
        assert!(green, "{id}: {reason}");
    }
    site.saw(&format!("{} integrations green on request", rows.len()));

    let again = site.run(&["up", "starter", "--no-input", "--wait", "--out", "out"]);
    assert!(again.status.success(), "a second up leaves it as it is");

    outside::probe(&site);
    browser::mail(&site);
    outside::look_inside(&site);
    stranger::look(&site);
    firmware::change_hardware(&site);
    red::break_everything(&site);

    if site.borrowed() {
        return;
    }
    let stopped = std::time::Instant::now();
    site.must(&["down", "starter"]);
    site.saw(&format!("shut down in {} s", stopped.elapsed().as_secs()));
}
