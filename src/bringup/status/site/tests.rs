//! A site of a lead and its members, as it is put together.

use super::*;
use crate::bringup::status::{Colour, FORMAT, HostStatus, ServiceStatus};

fn probe(id: &str, colour: Colour) -> ProbeStatus {
    ProbeStatus {
        id: id.into(),
        probe: "tcp".into(),
        colour,
        at: "2026-01-01T00:00:00Z".into(),
        took: 1,
        words: format!("{colour:?}"),
    }
}

/// The part of a host: one service of its own, and its probe of an edge that `core` probes too.
fn part(role: &str, colour: Colour, outcome: Outcome) -> Status {
    let done = usize::from(outcome != Outcome::Unfinished) * 2;
    let mut status = Status {
        format: FORMAT,
        stack: "pair".into(),
        organisation: "Example".into(),
        plan: "p".into(),
        written: String::new(),
        outcome,
        proven: 0,
        total: 0,
        hosts: vec![HostStatus {
            role: role.into(),
            fqdn: format!("{role}.example.org"),
            address: String::new(),
            image: format!("image of {role}"),
            done,
            tasks: 2,
            outcome,
            stand: HostStand::Joined,
            heard: String::new(),
        }],
        phases: vec![PhaseStatus {
            name: "data".into(),
            title: "Data has a home".into(),
            stand: match outcome {
                Outcome::Unfinished => TaskStand::Waiting,
                _ => TaskStand::Done,
            },
            done,
            tasks: 2,
        }],
        integrations: vec![IntegrationStatus {
            id: "edge/a.b -> core/c".into(),
            consumer: "edge/a".into(),
            need: "b".into(),
            interface: "tcp".into(),
            provider: "core/c".into(),
            colour,
            probes: vec![probe(&format!("{role}/a/b/c/p"), colour)],
        }],
        services: vec![ServiceStatus {
            id: format!("{role}/x"),
            colour,
            probes: vec![probe(&format!("{role}/x/probe/p"), colour)],
        }],
        attention: Vec::new(),
        routes: Vec::new(),
        deputy: None,
    };
    status.count();
    status
}

fn green(role: &str) -> Status {
    part(role, Colour::Green, Outcome::Green)
}

fn seen(role: &str, report: Option<Status>) -> Seen {
    Seen {
        role: role.into(),
        blank: part(role, Colour::Unproven, Outcome::Unfinished),
        joined: true,
        up: true,
        quiet: Duration::ZERO,
        heard: "2026-01-01T00:00:00Z".into(),
        report: report.map_or(Report::Missing, |status| Report::Status(Box::new(status))),
    }
}

fn silent(role: &str, report: Option<Status>, quiet: u64) -> Seen {
    Seen {
        up: false,
        quiet: Duration::from_secs(quiet),
        ..seen(role, report)
    }
}

fn absent(role: &str, quiet: u64) -> Seen {
    Seen {
        joined: false,
        heard: String::new(),
        ..silent(role, None, quiet)
    }
}

#[test]
fn a_site_has_ended_when_all_of_its_hosts_have_and_is_green_when_all_are() {
    let red = |role: &str| part(role, Colour::Red, Outcome::Red);
    let open = |role: &str| part(role, Colour::Unproven, Outcome::Unfinished);
    for (what, lead, others, outcome, proven) in [
        ("one host", green("core"), vec![], Outcome::Green, 2),
        (
            "all green",
            green("core"),
            vec![seen("edge", Some(green("edge")))],
            Outcome::Green,
            3,
        ),
        (
            "one is red",
            green("core"),
            vec![seen("edge", Some(red("edge")))],
            Outcome::Red,
            1,
        ),
        (
            "the lead is red",
            red("core"),
            vec![seen("edge", Some(green("edge")))],
            Outcome::Red,
            1,
        ),
        (
            "one is at work",
            red("core"),
            vec![seen("edge", Some(open("edge")))],
            Outcome::Unfinished,
            0,
        ),
        (
            "the lead is at work",
            open("core"),
            vec![seen("edge", Some(green("edge")))],
            Outcome::Unfinished,
            1,
        ),
        (
            "one has said nothing yet",
            green("core"),
            vec![seen("edge", None)],
            Outcome::Unfinished,
            1,
        ),
        (
            "one has not joined",
            green("core"),
            vec![seen("edge", Some(green("edge"))), absent("files", 5)],
            Outcome::Unfinished,
            2,
        ),
        (
            "one is silent for a moment",
            green("core"),
            vec![silent("edge", Some(green("edge")), 45)],
            Outcome::Green,
            3,
        ),
        (
            "one is silent for long",
            green("core"),
            vec![silent("edge", Some(green("edge")), 46)],
            Outcome::Red,
            3,
        ),
        (
            "one fell silent at work",
            green("core"),
            vec![silent("edge", Some(open("edge")), 46)],
            Outcome::Unfinished,
            1,
        ),
    ] {
        let hosts = others.len() + 1;
        let site = merge(lead, others);
        assert_eq!(site.outcome, outcome, "{what}");
        assert_eq!(site.proven, proven, "{what}");
        // Each host's service, and the edge that several probe counts once.
        assert_eq!(site.total, hosts + 1, "{what}");
    }
}

#[test]
fn what_several_hosts_do_is_summed_and_the_worst_is_what_it_comes_to() {
    let red = part("edge", Colour::Red, Outcome::Red);
    let others = vec![seen("edge", Some(red)), absent("files", 5)];
    let site = merge(green("core"), others);
    let roles: Vec<&str> = site.hosts.iter().map(|host| host.role.as_str()).collect();
    assert_eq!(roles, ["core", "edge", "files"]);
    let stands: Vec<_> = site
        .hosts
        .iter()
        .map(|host| (host.stand, host.outcome))
        .collect();
    assert_eq!(
        stands,
        [
            (HostStand::Joined, Outcome::Green),
            (HostStand::Joined, Outcome::Red),
            (HostStand::Absent, Outcome::Unfinished)
        ]
    );
    let phase = &site.phases[0];
    assert_eq!((phase.done, phase.tasks), (4, 6));
    assert_eq!(phase.stand, TaskStand::Running);
    assert_eq!(site.integrations.len(), 1);
    let probes = &site.integrations[0].probes;
    let ids: Vec<&str> = probes.iter().map(|probe| probe.id.as_str()).collect();
    assert_eq!(ids, ["core/a/b/c/p", "edge/a/b/c/p", "files/a/b/c/p"]);
    assert_eq!(site.integrations[0].colour, Colour::Red);
    let services: Vec<&str> = site.services.iter().map(|own| own.id.as_str()).collect();
    assert_eq!(services, ["core/x", "edge/x", "files/x"]);
    assert_eq!(
        awaited(&site).as_deref(),
        Some("bring-up waits for other hosts: files has not joined")
    );
}

#[test]
fn hosts_that_are_awaited_are_named_with_how_they_stand() {
    let others = vec![seen("edge", None), silent("files", None, 5)];
    let lead = part("core", Colour::Unproven, Outcome::Unfinished);
    let site = merge(lead, others);
    assert_eq!(
        awaited(&site).as_deref(),
        Some("bring-up waits for other hosts: edge is at work, files is silent")
    );
    assert_eq!(awaited(&merge(green("core"), [])), None);
}

#[test]
fn who_is_not_heard_for_long_needs_attention_with_why_and_what_to_do() {
    let reason = |other: Seen| {
        let site = merge(green("core"), [other]);
        let found: Vec<_> = site
            .attention
            .into_iter()
            .map(|attention| {
                let Attention {
                    task, reason, next, ..
                } = attention;
                assert_eq!(attention.stand, TaskStand::Failed);
                format!("{task}: {reason}; {next}")
            })
            .collect();
        found
    };
    assert_eq!(reason(absent("edge", 45)), [""; 0]);
    assert_eq!(
        reason(absent("edge", 46)),
        [
            "edge/muster-agent: this host has not joined the site; muster up pair   # or look at \
          its console"
        ]
    );
    assert_eq!(
        reason(silent("edge", Some(green("edge")), 46)),
        [
            "edge/muster-agent: nothing was heard of this host since 2026-01-01T00:00:00Z; ssh \
          edge.example.org systemctl status muster-agent"
        ]
    );
    let before = Seen {
        heard: String::new(),
        ..silent("edge", None, 46)
    };
    assert_eq!(
        reason(before),
        [
            "edge/muster-agent: nothing was heard of this host since the lead was started; ssh \
          edge.example.org systemctl status muster-agent"
        ]
    );
    let garbled = Seen {
        report: Report::Garbled("missing field `format`".into()),
        ..seen("edge", None)
    };
    assert_eq!(
        reason(garbled),
        [
            "edge/muster-agent: what it reports cannot be read: missing field `format`; muster \
          build   # all images of the stack together"
        ]
    );
}

#[test]
fn a_host_speaks_of_itself_alone() {
    let attention = |task: &str| Attention {
        task: task.into(),
        stand: TaskStand::Failed,
        attempt: 1,
        reason: "it says so".into(),
        output: String::new(),
        unit: None,
        next: String::new(),
    };
    let mut said = green("edge");
    said.organisation = "Mallory".into();
    said.hosts[0].done = 99;
    said.hosts[0].fqdn = "elsewhere.example.net".into();
    said.phases[0].done = 99;
    // Of the lead it says that nothing works, of itself also what it has not.
    let others = part("core", Colour::Red, Outcome::Red);
    said.hosts.extend(others.hosts);
    said.integrations.extend(others.integrations);
    said.services.extend(others.services);
    said.services.push(ServiceStatus {
        id: "edge/more".into(),
        colour: Colour::Red,
        probes: vec![probe("edge/more/probe/p", Colour::Red)],
    });
    said.attention = ["core/x/serve", "edge/x/serve", "edgewise/x", "muster-agent"]
        .map(attention)
        .to_vec();
    let mut expected = merge(green("core"), [seen("edge", Some(green("edge")))]);
    let site = merge(green("core"), [seen("edge", Some(said))]);
    let tasks: Vec<&str> = site.attention.iter().map(|own| own.task.as_str()).collect();
    assert_eq!(tasks, ["edge/x/serve", "edge/muster-agent"]);
    assert_eq!(site.attention[1].next, "muster diagnose edge/muster-agent");
    expected.attention.clone_from(&site.attention);
    assert_eq!(site, expected);
}

#[test]
fn a_host_that_calls_itself_green_and_has_not_proven_all_is_red() {
    let mut said = green("edge");
    said.services.clear();
    let site = merge(green("core"), [seen("edge", Some(said))]);
    assert_eq!(site.outcome, Outcome::Red);
    assert_eq!(site.hosts[1].outcome, Outcome::Red);
    assert_eq!((site.proven, site.total), (2, 3));
}
