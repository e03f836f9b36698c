//! The stack `starter`: a small office on two hosts.

use crate::derived;
use crate::hosts::{Hosts, each};
use crate::site::wait;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// `up` of it.
pub const UP: [&str; 6] = [
    "up",
    "starter",
    "--no-input",
    "--direct-kernel",
    "--cpus",
    "1",
];

/// After a power cut, on a busy machine.
pub const LONG: Duration = Duration::from_secs(900);

pub fn is_green(shown: &Value) -> bool {
    shown["outcome"] == "green" && shown["proven"] == shown["total"]
}

/// What is red: integrations and services.
fn red(shown: &Value) -> BTreeSet<String> {
    let name = |edge: &Value| {
        format!(
            "{}.{} -> {}",
            edge["consumer"].as_str().expect("a name"),
            edge["need"].as_str().expect("a name"),
            edge["provider"].as_str().expect("a name")
        )
    };
    let of = |list: &str| shown[list].as_array().expect("a list").clone();
    let edges = of("integrations").into_iter();
    let edges = edges.filter(|edge| edge["colour"] == "red");
    let services = of("services").into_iter();
    let services = services.filter(|service| service["colour"] == "red");
    edges
        .map(|edge| name(&edge))
        .chain(services.map(|service| service["id"].as_str().expect("an id").to_owned()))
        .collect()
}

/// Brings it up with a host that comes late, parts the hosts, fills a disk, cuts the power of each
/// and lets certificates age.
pub fn holds_together() {
    let site = Hosts::new("starter");
    late(&site);
    parted(&site);
    site.must(&[&UP[..], &["--wait", "--timeout", "900"]].concat());
    site.saw("both hosts are up");
    let shown: Value =
        serde_json::from_str(&site.must(&["status", "starter", "--json"])).expect("JSON");
    assert!(is_green(&shown), "{shown:#}");
    assert_eq!(each(&shown, "hosts", "role"), ["core", "edge"]);
    let between = shown["integrations"].as_array().expect("a list").iter();
    let between = between.filter(|edge| {
        let role = |end: &str| edge[end].as_str().and_then(|name| name.split('/').next());
        role("consumer") != role("provider")
    });
    // The time; names for the resolver, the signer and the mail transport; the directory twice,
    // mailboxes twice, the database and a target.
    assert_eq!(between.count(), 10, "{shown:#}");

    letter(&site);
    full_disk(&site);
    cuts(&site);
    derived::time_passes(&site);
}

/// The edge is switched on when the core has done what it can do alone, and its clock is two
/// years slow.
fn late(site: &Hosts) {
    site.must(&[&UP[..], &["--role", "core"]].concat());
    // What it needs nobody else for: nine tenths of its tasks, and the directory is proven.
    site.until_within(
        LONG,
        "core",
        "edge absent, and what core does alone done",
        |shown| {
            let count = |key: &str| shown["hosts"][0][key].as_u64().unwrap_or(0);
            let services = shown["services"].as_array().expect("a list");
            let green = |id: &str| {
                let mut all = services.iter();
                all.any(|one| one["id"] == id && one["colour"] == "green")
            };
            each(shown, "hosts", "stand") == ["joined", "absent"]
                && shown["outcome"] == "unfinished"
                && each(shown, "attention", "task") == ["edge/muster-agent"]
                && count("done") * 10 > count("tasks") * 8
                && ["core/slapd", "core/bind", "core/dovecot"]
                    .iter()
                    .all(|id| green(id))
        },
    );
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let then = now.datetime() - jiff::Span::new().years(2);
    let then = then.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    site.must(&[&UP[..], &["--role", "edge", "--clock", &then]].concat());
    site.until_within(LONG, "core", "edge joined", |shown| {
        each(shown, "hosts", "stand") == ["joined", "joined"]
    });
    // Its account is made after that.
    wait("edge to be logged in to", LONG, || {
        site.on("edge", "true").map(drop)
    });
    let apart = "test $(date +%s) -gt $(date -d 'last year' +%s)";
    site.as_root("edge", apart);
    let log = site.as_root(
        "edge",
        "journalctl --no-pager -u muster-agent -g 'the clock was'",
    );
    assert!(log.contains("days slow: it is set to the lead's"), "{log}");
    site.saw("the clock of edge is right");
}

/// In the middle of the edge's bring-up nothing comes through between the hosts for a minute.
fn parted(site: &Hosts) {
    let minute = "nft insert rule inet muster input ip saddr 10.77.0.11 drop; \
                  nft insert rule inet muster output ip daddr 10.77.0.11 drop || true; \
                  sleep 60; systemctl restart nftables";
    site.as_root("core", &format!("systemd-run --quiet sh -c {minute:?}"));
    let ended = site.try_as_root("edge", "test -e /var/lib/muster/status.json");
    assert!(ended.is_some(), "edge is at work");
    site.saw("for a minute the hosts do not hear each other");
}

/// From the edge, only the ports of the core answer that something there dials.
pub fn doors(site: &Hosts) {
    let listeners = site.as_root(
        "core",
        "ss -Hltn | awk '{ sub(/.*:/, \"\", $4); print $4 }' | sort -un | xargs",
    );
    let open = format!(
        "for port in {}; do timeout 5 bash -c \"exec 3<>/dev/tcp/core/$port\" 2>/dev/null && echo $port; done; true",
        listeners.trim()
    );
    let open = site.on("edge", &open).expect("tried");
    let open: Vec<&str> = open.lines().collect();
    // SSH, LMTP, DNS, LDAPS, IMAPS, PostgreSQL, and the lead's own.
    assert_eq!(
        open,
        ["22", "24", "53", "636", "993", "5432", "7433"],
        "of {listeners}"
    );
    site.saw(&format!(
        "of {} only 7 ports of core are open to edge",
        listeners.split_whitespace().count()
    ));
}

/// No host holds a secret that none of its tasks reads.
pub fn secrets(site: &Hosts) {
    let held = |host: &str| {
        let list = site.as_root(host, "cd /var/lib/muster/secrets && find . -type f | sort");
        list.lines()
            .map(|line| line.trim_start_matches("./").to_owned())
            .collect::<BTreeSet<_>>()
    };
    let (core, edge) = (held("core"), held("edge"));
    let wanted = [
        "core/postgresql/database/edge.roundcube.database/password",
        "core/slapd/directory/edge.postfix.people/password",
        "core/slapd/directory/edge.saslauthd.people/password",
        "edge/opendkim/key",
        "edge/opendkim/key_public",
        "edge/roundcube/session_key",
        "site/probe",
    ];
    assert_eq!(edge, BTreeSet::from(wanted.map(str::to_owned)));
    // The lead draws them all.
    assert!(edge.is_subset(&core) && edge.len() < core.len(), "{core:?}");
    let hash = |host: &str| {
        let people = "grep -o '\"\\$6' /var/lib/muster/site.json | wc -l";
        site.as_root(host, people).trim().to_owned()
    };
    // The administrator's account is on every host; the people's passwords are the directory's.
    assert_eq!((hash("core").as_str(), hash("edge").as_str()), ("2", "1"));
    site.saw(&format!(
        "edge holds {} of the {} secrets",
        edge.len(),
        core.len()
    ));
}

/// Mail that is there before the faults, and must be after them.
pub fn letter(site: &Hosts) {
    let send =
        "printf 'Subject: kept\\n\\nkept\\n' | sendmail -f admin@example.org staff@example.org";
    site.as_root("edge", send);
    let kept = "until grep -rqs kept /var/vmail/staff/Maildir/new /var/vmail/staff/Maildir/cur; \
                do sleep 1; done";
    site.as_root("core", &format!("timeout 90 sh -c {:?}", kept));
    site.saw("a letter went from edge into a mailbox on core");
}

fn is_kept(site: &Hosts) {
    // Only in letters: Dovecot's own files hold subjects too.
    let count = "cd /var/vmail/staff/Maildir && grep -rls 'Subject: kept' new cur | wc -l";
    assert_eq!(site.as_root("core", count).trim(), "1");
}

/// What is broken between the hosts is red by its own probe, everywhere, and nothing else is.
pub fn cable(site: &Hosts) {
    let target = "core/prometheus.targets -> edge/node-exporter";
    // The host itself still reaches it, or its own probe of the service were red too.
    site.as_root(
        "edge",
        "nft insert rule inet muster input iif != lo tcp dport 9100 drop",
    );
    for host in ["core", "edge"] {
        let wanted = BTreeSet::from([target.to_owned()]);
        site.until(host, &format!("{target} red"), |shown| red(shown) == wanted);
    }
    site.as_root("edge", "systemctl restart nftables");
    site.until("edge", "all green again", is_green);
}

/// The data partition of the database's host is full, and the database is started again just then:
/// the edge shows why, and all goes on by itself when there is room.
fn full_disk(site: &Hosts) {
    site.as_root(
        "core",
        "fallocate -l $(df --output=avail -B1 /data | tail -n1) /data/full || true; \
         dd if=/dev/zero of=/data/full2 bs=4k 2>/dev/null || true; \
         systemctl restart --no-block 'postgresql@*' || true",
    );
    site.until(
        "edge",
        "the disk of core full, and the database red",
        |shown| {
            let attention = shown["attention"].as_array().expect("a list");
            let mut full = attention
                .iter()
                .filter(|one| one["task"] == "core/muster-agent");
            red(shown).contains("edge/roundcube.database -> core/postgresql")
                && full.any(|one| {
                    let reason = one["reason"].as_str().unwrap_or_default();
                    reason.contains("/data is full") && reason.contains("du -xhd3 /data")
                })
        },
    );
    site.as_root("core", "rm -f /data/full /data/full2");
    site.until_within(LONG, "edge", "all green again", is_green);
    is_kept(site);
}

/// Cuts the power of each host in turn, and of both.
fn cuts(site: &Hosts) {
    let digests = "cd /var/lib/muster && find secrets ca mesh -type f ! -name '*.json' | sort | xargs -r sha256sum";
    let all = || ["core", "edge"].map(|host| site.as_root(host, digests));
    let before = all();
    let up = || {
        site.must(&[&UP[..], &["--wait", "--timeout", "900"]].concat());
    };
    for dark in [&["edge"][..], &["core"], &["core", "edge"]] {
        for host in dark {
            site.cut_power(host);
        }
        if dark == ["edge"] {
            site.until("core", "edge silent", |shown| {
                each(shown, "hosts", "stand") == ["joined", "silent"] && shown["outcome"] == "red"
            });
        }
        up();
        site.until_within(
            LONG,
            "edge",
            &format!("all green after {dark:?} had no power"),
            is_green,
        );
        is_kept(site);
        assert_eq!(all(), before, "secrets, keys and the authority stay");
    }
}
