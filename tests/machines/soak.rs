//! What takes too long for every run: `./tests/run soak` has it.

use crate::site::{Site, UP, wait};
use crate::trouble::put_later_figures_aside;
use crate::{bonded, cuts, deputy, elsewhere, joining, mishaps, network, pair, starter};
use std::time::Duration;

#[test]
fn a_host_brought_up_with_its_clock_in_1980_is_green_when_the_clock_is_right() {
    wrong_clock("1980", "1980-01-01T00:00:00");
}

#[test]
fn a_host_brought_up_with_its_clock_in_2040_is_green_when_the_clock_is_right() {
    wrong_clock("2040", "2040-01-31T12:00:00");
}

#[test]
fn a_host_brought_up_without_a_cable_is_green_and_reachable_once_it_has_one() {
    let site = Site::new("no-cable");
    site.must(&UP);
    network::cable(&site, false);
    site.must(&[&UP[..], &["--wait"]].concat());
    site.saw("bring-up ended green");
    network::cable(&site, true);
    site.comes_back("reachable and green", Duration::from_secs(300));
    site.must(&["down", "office"]);
}

#[test]
fn a_host_brought_up_with_ipv6_alone_is_green() {
    let site = Site::with_same_answers("ipv6");
    site.answers_address("fec0::15/64", "fec0::2", "fec0::3");
    site.must(&[&UP[..], &["--wait"]].concat());
    let console = network::console(&site);
    assert!(console.contains("address fec0::15"), "{console}");
    site.saw("bring-up ended green");
}

#[test]
fn a_host_whose_kernel_panics_starts_again_by_itself() {
    let site = Site::fork("panic");
    site.must(&[&UP[..], &["--wait"]].concat());
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let before = site.on_host(boot);
    site.on_host("systemd-run --on-active=1 sh -c 'echo c >/proc/sysrq-trigger'");
    wait("the kernel to panic", Duration::from_secs(60), || {
        network::console(&site)
            .contains("Kernel panic - not syncing: sysrq triggered crash")
            .then_some(())
    });
    site.saw("its kernel has panicked");
    std::thread::sleep(Duration::from_secs(15));
    site.comes_back("every probe is green", Duration::from_secs(900));
    assert_ne!(before, site.on_host(boot));
    site.must(&["down", "office"]);
}

#[test]
fn builds_killed_at_a_hundred_moments_leave_nothing_half_made() {
    mishaps::killed_at_any_moment(100);
}

#[test]
fn builds_killed_while_they_change_the_disk_that_stands_leave_a_whole_one_or_none() {
    mishaps::killed_over_a_disk(60);
}

#[test]
fn builds_on_twenty_full_disks_are_refused_in_words_and_leave_nothing_half_made() {
    mishaps::disk_full(20);
}

#[test]
fn an_image_built_on_another_distribution_in_another_year_is_the_same() {
    elsewhere::an_image_of_another_workstation_is_the_same();
}

#[test]
fn two_hosts_of_a_stack_reach_each_other_by_name_and_only_one_the_outside() {
    pair::hosts_reach_each_other_by_name();
}

#[test]
fn two_hosts_meet_in_a_vlan_over_bonded_cards_and_lose_a_cable() {
    bonded::hosts_meet_in_a_vlan_over_bonds();
}

#[test]
fn a_small_office_on_two_hosts_holds_together() {
    starter::holds_together();
}

#[test]
fn power_cuts_all_through_the_bring_up_of_one_host_end_green_with_all_as_without_cuts() {
    cuts::all_through_the_bring_up_of_one_host();
}

#[test]
fn two_hosts_join_by_the_code_that_a_person_types() {
    joining::a_person_lets_a_host_join_with_the_code_of_the_lead();
}

#[test]
fn a_deputy_becomes_the_lead() {
    deputy::takes_the_place_of_a_lead_whose_disk_is_gone();
}

/// Brings a host up at another time, then sets its clock right while it runs: certificates are
/// renewed, the CA stays.
fn wrong_clock(name: &'static str, moment: &str) {
    let site = Site::new(name);
    site.must(&[&UP[..], &["--clock", moment, "--wait"]].concat());
    site.saw("bring-up ended green");
    let authority = "sha256sum /var/lib/muster/ca/ca.pem /var/lib/muster/ca/ca.key";
    let before = site.on_host(authority);
    site.set_clock_right();
    site.saw("its clock is right");
    if name == "2040" {
        put_later_figures_aside(&site);
    }
    site.comes_back("every probe is green", Duration::from_secs(900));
    assert_eq!(site.on_host(authority), before, "the CA was made again");
    // Good now, and for a month at least.
    site.on_host(
        "for leaf in /var/lib/muster/certificates/*/*/certificate.pem; do \
             openssl verify -CAfile /var/lib/muster/ca/ca.pem $leaf && \
             openssl x509 -in $leaf -noout -checkend 2592000; done",
    );
    site.saw("every integration is green with renewed certificates and the same CA");
    site.must(&["down", "office"]);
}
