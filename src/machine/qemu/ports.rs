//! Which port of the workstation leads to a port of the guest.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

/// Whether nobody listens there.
pub fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

/// A port the system says is free; 0 if it has none.
pub fn any_free(address: Ipv4Addr) -> u16 {
    TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .map_or(0, |address| address.port())
}

/// Where the system's own ports for outgoing connections begin: one of those may be in use
/// by anybody at the next start.
const EPHEMERAL: u16 = 32768;

/// Chooses a port: guest + offset, or 1000, 2000, … above it, else whatever `any` gives; never
/// one of `taken` (those other machines remember, running or not).
pub fn choose(
    guest: u16,
    offset: u16,
    taken: &BTreeSet<u16>,
    free: impl Fn(u16) -> bool,
    mut any: impl FnMut() -> u16,
) -> u16 {
    let wished = guest.checked_add(offset).filter(|port| *port >= 1024);
    let rising = wished
        .into_iter()
        .flat_map(|port| (port..EPHEMERAL).step_by(1000));
    for port in rising {
        if !taken.contains(&port) && free(port) {
            return port;
        }
    }
    loop {
        let port = any();
        if port == 0 || !taken.contains(&port) {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wished_port_is_taken_when_nobody_has_or_remembers_it() {
        let none = BTreeSet::new();
        assert_eq!(choose(443, 8000, &none, |_| true, || 40001), 8443);
        assert_eq!(choose(443, 8000, &none, |_| false, || 40001), 40001);
        let remembered = BTreeSet::from([8443]);
        assert_eq!(
            choose(443, 8000, &remembered, |port| port != 9443, || 40001),
            10443
        );
        assert_eq!(choose(60000, 8000, &none, |_| true, || 40001), 40001);
        assert_eq!(choose(22, 0, &none, |_| true, || 40001), 40001);
        let mut offered = [40001, 40002].into_iter();
        let remembered = BTreeSet::from([40001]);
        assert_eq!(
            choose(22, 0, &remembered, |_| true, || offered.next().unwrap()),
            40002
        );
    }

    #[test]
    fn a_listener_makes_its_port_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(Ipv4Addr::LOCALHOST, port));
        drop(listener);
        assert!(is_free(Ipv4Addr::LOCALHOST, port));
    }
}
