//! What befalls disks, clocks and cables of a host that has been brought up: either it is green
//! all the same, or it names what is wrong and what to do, and doing that makes it green.
//! Nothing is lost.

use crate::site::{BROUGHT_UP, Site, UP, soak, wait};
use crate::{contents, faults, network};
use std::time::Duration;

const JOURNAL: &str = "/var/lib/muster/journal";
const LONG: Duration = Duration::from_secs(900);

#[test]
fn trouble_of_the_host_is_named_and_each_fault_turns_its_own_integration_red() {
    let site = Site::fork("trouble");
    site.must(&[&UP[..], &["--wait"]].concat());
    site.saw("green");
    befalls(&site);
    faults::break_everything(&site);
    site.must(&["down", "office"]);
}

/// All of it, on a host that is green.
fn befalls(site: &Site) {
    let secrets = site.secrets();
    torn_journal(site);
    damaged_journal(site);
    full_data(site);
    root_for_reading(site);
    cable_that_comes_late(site);
    if soak() {
        // Whatever waits for a time then catches up with 46 years, which takes minutes here.
        wrong_clock(site, "1980-01-01");
        wrong_clock(site, "2040-01-31");
    }
    assert_eq!(secrets, site.secrets(), "a secret changed");
    contents::same(&BROUGHT_UP.contents, &contents::of(site));
    site.saw("nothing was lost");
}

fn all_green(site: &Site, after: &str) {
    site.comes_back(&format!("all green after {after}"), LONG);
}

/// The last record ends in the middle; then it is whole, but one letter is another.
fn torn_journal(site: &Site) {
    for (what, change) in [
        ("a torn record", "truncate -s -20 $j"),
        (
            "a record with another letter",
            "size=$(stat -c %s $j); printf X | dd of=$j bs=1 seek=$((size - 40)) conv=notrunc status=none",
        ),
    ] {
        let said = site.on_host(&format!(
            "j={JOURNAL}; systemctl stop muster-agent; {change}; sleep 1; since=$(date +%s); \
             systemctl start muster-agent; sleep 5; \
             journalctl -u muster-agent --since @$since --output=cat | cat"
        ));
        assert!(said.contains("cut a torn end of"), "{what}: {said}");
        site.saw(&format!("{what} is cut off the journal"));
    }
    all_green(site, "torn records");
}

/// A record in the middle is damaged: that is no power cut, and a person is told what to do.
fn damaged_journal(site: &Site) {
    site.on_host(&format!(
        "systemctl stop muster-agent; cp -p {JOURNAL} /root/whole; sed -i '3s/./X/' {JOURNAL}; systemctl start muster-agent; sleep 8"
    ));
    let (said, code) = site.status();
    println!("{said}");
    let advice = "move it aside and restart muster-agent";
    assert!(
        said.contains("is damaged in line 3") && said.contains(advice),
        "{said}"
    );
    assert_eq!(code, Some(4), "{said}");
    site.saw("a damaged journal is named, with what to do");
    if soak() {
        site.on_host(&format!(
            "mv {JOURNAL} /root/damaged; systemctl restart muster-agent"
        ));
        all_green(site, "a damaged journal that was moved aside");
    } else {
        // Without it every task looks for itself, which takes minutes here. The agent is started
        // again by what befalls the host next.
        site.on_host(&format!("mv /root/whole {JOURNAL}"));
    }
}

/// Not a byte is free on the data partition, and the database is started again just then.
fn full_data(site: &Site) {
    site.on_host(
        "fallocate -l $(df --output=avail -B1 /data | tail -n1) /data/full || true; \
         dd if=/dev/zero of=/data/full2 bs=4k 2>/dev/null || true; \
         systemctl restart 'postgresql@*' || true; \
         rm /var/lib/muster/image-id; systemctl restart muster-agent; sleep 20",
    );
    let (said, code) = site.status();
    // By the agent that lives, or by the one that could not begin.
    let full = ["/data is full", "No space left on device"];
    let named = full.iter().find(|words| said.contains(**words));
    assert!(named.is_some() && said.contains("du -xhd3 /data"), "{said}");
    assert_eq!(code, Some(4), "{said}");
    site.saw(&format!(
        "a full data partition is named, with what to do: {named:?}"
    ));
    site.on_host("rm -f /data/full /data/full2");
    all_green(site, "a full data partition");
}

/// The kernel lets nobody write to the root any more, as after an error of its disk; a person
/// pulls the plug.
fn root_for_reading(site: &Site) {
    let said = site.on_host(
        "mount -o remount,abort / || true; touch /etc/written 2>/dev/null && echo written; \
         systemctl restart muster-agent; sleep 20; systemctl is-active muster-agent",
    );
    assert_eq!(said, "active\n");
    wait("the read-only root to be named", LONG, || {
        let (said, _) = site.status();
        let advice = "once the disk is well, restart the host";
        (said.contains("muster-agent: / is read-only: ") && said.contains(advice)).then_some(())
    });
    site.saw("a read-only root is named, with what to do");
    site.cut_power();
}

/// It starts without a cable.
fn cable_that_comes_late(site: &Site) {
    site.must(&UP);
    network::cable(site, false);
    let waited = site.run(&[&UP[..], &["--wait"]].concat());
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(
        waited.status.success(),
        "{said}\n{}",
        network::console(site)
    );
    site.saw("without a cable all is green");
    network::cable(site, true);
    all_green(site, "a cable that was plugged in late");

    let checked = site.on_host("touch /etc/written; rm /etc/written; cat /run/initramfs/fsck.log");
    println!("{checked}");
    assert!(
        checked.contains("root-a contains a file system with errors, check forced"),
        "{checked}"
    );
    site.saw("the root has been checked and may be written to");
}

/// Prometheus has figures of a time that is still to come, which is named with what to do.
pub fn put_later_figures_aside(site: &Site) {
    let command = wait("later figures to be named", LONG, || {
        let (said, _) = site.status();
        let advice = said.split("put them aside: ").nth(1)?;
        advice.lines().next().map(str::to_owned)
    });
    site.saw(&format!("figures of later are named, with: {command}"));
    site.on_host(&command);
}

/// Somebody, or an empty battery, sets the clock.
fn wrong_clock(site: &Site, date: &str) {
    site.on_host(&format!("systemctl stop chrony; date --set {date}"));
    let named = if date.starts_with("1980") {
        "muster-agent: the clock says 1980-01-0"
    } else {
        "but the authority of this site ended 20"
    };
    wait("the clock to be named", LONG, || {
        site.status().0.contains(named).then_some(())
    });
    site.saw(&format!("the clock of {date} is named, with what to do"));
    site.set_clock_right();
    site.on_host("systemctl start chrony");
    if date.starts_with("2040") {
        put_later_figures_aside(site);
    }
    all_green(site, &format!("a clock that was set right after {date}"));
}
