//! `muster setup` on a computer that is no host.

use crate::desk::Desk;

#[test]
fn setup_on_a_workstation_says_that_it_is_for_hosts_and_names_up() {
    let output = Desk::new().muster(&["setup"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        said,
        "× setup is a command of hosts: there is no /usr/share/muster/image.json here \
         help: on a workstation, make a host and start it: muster up STACK"
    );
}
