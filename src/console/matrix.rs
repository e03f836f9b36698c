//! The status as text: hosts, phases, and the integration matrix.

use crate::bringup::board::TaskStand;
use crate::bringup::status::{
    Colour, DeputyStatus, HostStand, HostStatus, Outcome, ProbeStatus, Status,
};
use jiff::Timestamp;

/// The whole status, readable at 80 columns as far as its words allow.
pub fn text(status: &Status, now: Timestamp, colours: bool) -> String {
    let mut text = format!("{}: {}\n", status.stack, status.organisation);
    for host in &status.hosts {
        text.push_str(&format!(
            "  {:<28} {:<16} {} of {} tasks done{}\n",
            host.fqdn,
            host.address,
            host.done,
            host.tasks,
            presence(host, now)
        ));
    }
    if let Some(deputy) = &status.deputy {
        text.push_str(&format!("  {}\n", standby(deputy)));
    }
    text.push_str("\nPhases\n");
    for (number, phase) in status.phases.iter().enumerate() {
        text.push_str(&format!(
            "  {} {:<40} {:<8} {:>3}/{}\n",
            number + 1,
            phase.title,
            stand(phase.stand),
            phase.done,
            phase.tasks
        ));
    }
    text.push_str("\nIntegrations\n");
    for edge in &status.integrations {
        let name = format!("{}.{} -> {}", edge.consumer, edge.need, edge.provider);
        line(&mut text, &name, edge.colour, &edge.probes, now, colours);
    }
    text.push_str("\nServices\n");
    for service in &status.services {
        line(
            &mut text,
            &service.id,
            service.colour,
            &service.probes,
            now,
            colours,
        );
    }
    if !status.attention.is_empty() {
        text.push_str("\nNeeds attention\n");
        let (blocked, own): (Vec<_>, Vec<_>) = status
            .attention
            .iter()
            .partition(|attention| attention.stand == TaskStand::Blocked);
        for attention in own {
            text.push_str(&format!(
                "  {:<8} {}: {}\n",
                stand(attention.stand),
                attention.task,
                attention.reason
            ));
            if attention.stand == TaskStand::Failed {
                text.push_str(&format!("           {}\n", attention.next));
            }
        }
        if !blocked.is_empty() {
            text.push_str(&format!("  blocked  {} tasks behind it\n", blocked.len()));
        }
    }
    if !status.routes.is_empty() {
        text.push('\n');
    }
    for route in &status.routes {
        text.push_str(&format!("{:<40} {}\n", route.url, route.summary));
    }
    text.push_str(&format!(
        "\n{} of {} proven: {}\n",
        status.proven,
        status.total,
        match status.outcome {
            Outcome::Green => "green",
            Outcome::Red => "red",
            Outcome::Unfinished => "bring-up has not ended",
        }
    ));
    text
}

/// What is to be said of a host that cannot be heard.
fn presence(host: &HostStatus, now: Timestamp) -> String {
    match host.stand {
        HostStand::Joined => String::new(),
        HostStand::Absent => ", absent".into(),
        HostStand::Silent => format!(", silent, heard {}", age(&host.heard, now)),
    }
}

/// Whether somebody could take the lead's place.
fn standby(deputy: &DeputyStatus) -> String {
    let DeputyStatus {
        role, held, note, ..
    } = deputy;
    let mut text = match (deputy.current, held) {
        (true, held) => format!("deputy {role}: its copy of the site, number {held}, is current"),
        (false, 0) => format!("deputy {role}: has no copy of the site yet"),
        (false, held) => format!("deputy {role}: its copy of the site, number {held}, is old"),
    };
    if !note.is_empty() {
        text.push_str(&format!(": {note}"));
    }
    if !deputy.words_shown {
        text.push_str("\n  nobody has seen the recovery words: sudo muster recovery");
    }
    text
}

fn line(
    text: &mut String,
    name: &str,
    colour: Colour,
    probes: &[ProbeStatus],
    now: Timestamp,
    colours: bool,
) {
    let latest = probes.iter().map(|probe| probe.at.as_str()).max();
    text.push_str(&format!(
        "  {:<54} {} {}\n",
        name,
        painted(colour, colours),
        age(latest.unwrap_or(""), now)
    ));
    // A red one says why; a green one is a line.
    for probe in probes {
        if matches!(probe.colour, Colour::Red | Colour::Stale) {
            text.push_str(&format!("      {}: {}\n", probe.probe, probe.words));
        }
    }
}

fn stand(stand: TaskStand) -> &'static str {
    match stand {
        TaskStand::Waiting => "waiting",
        TaskStand::Running => "running",
        TaskStand::Done => "done",
        TaskStand::Failed => "failed",
        TaskStand::Blocked => "blocked",
    }
}

fn painted(colour: Colour, colours: bool) -> String {
    let word = format!("{:<8}", colour.word());
    let code = match colour {
        Colour::Green => "32",
        Colour::Stale | Colour::Unproven => "33",
        Colour::Red => "31",
    };
    match colours {
        true => format!("\x1b[{code}m{word}\x1b[0m"),
        false => word,
    }
}

fn age(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else {
        return "never".into();
    };
    match now.as_second().saturating_sub(at.as_second()) {
        seconds @ ..60 => format!("{} s ago", seconds.max(0)),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bringup::status::{FORMAT, IntegrationStatus};

    #[test]
    fn a_red_edge_says_why_and_a_green_one_is_one_line() {
        let probe = |colour, words: &str| ProbeStatus {
            id: "p".into(),
            probe: "imap-login".into(),
            colour,
            at: "2026-01-01T00:00:00Z".into(),
            took: 3,
            words: words.into(),
        };
        let edge = |need: &str, colour, words: &str| IntegrationStatus {
            id: "i".into(),
            consumer: "office/roundcube".into(),
            need: need.into(),
            interface: "imap".into(),
            provider: "office/dovecot".into(),
            colour,
            probes: vec![probe(colour, words)],
        };
        let status = Status {
            format: FORMAT,
            stack: "starter".into(),
            organisation: "Example".into(),
            plan: String::new(),
            written: String::new(),
            outcome: Outcome::Red,
            proven: 1,
            total: 2,
            hosts: Vec::new(),
            phases: Vec::new(),
            integrations: vec![
                edge(
                    "mailboxes",
                    Colour::Red,
                    "connection refused by 127.0.0.1:993",
                ),
                edge("database", Colour::Green, "fine"),
            ],
            services: Vec::new(),
            attention: Vec::new(),
            routes: Vec::new(),
            deputy: None,
        };
        let now: Timestamp = "2026-01-01T00:02:05Z".parse().expect("a time");
        let shown = text(&status, now, false);
        let lines: Vec<&str> = shown.lines().skip(5).take(3).collect();
        assert_eq!(
            lines,
            [
                "  office/roundcube.mailboxes -> office/dovecot           red      2 min ago",
                "      imap-login: connection refused by 127.0.0.1:993",
                "  office/roundcube.database -> office/dovecot            green    2 min ago",
            ],
            "{shown}"
        );
        assert!(text(&status, now, true).contains("\x1b[31mred     \x1b[0m"));
    }

    #[test]
    fn a_deputy_says_how_old_its_copy_is_and_that_words_belong_to_it() {
        let deputy = |held, current, words_shown, note: &str| {
            standby(&DeputyStatus {
                role: "edge".into(),
                copy: 9,
                held,
                current,
                words_shown,
                note: note.into(),
            })
        };
        assert_eq!(
            deputy(9, true, true, ""),
            "deputy edge: its copy of the site, number 9, is current"
        );
        assert_eq!(
            deputy(8, false, true, "the disk is full"),
            "deputy edge: its copy of the site, number 8, is old: the disk is full"
        );
        assert_eq!(
            deputy(0, false, false, ""),
            "deputy edge: has no copy of the site yet\n  nobody has seen the recovery words: sudo \
             muster recovery"
        );
    }

    #[test]
    fn a_host_that_is_not_heard_says_so_in_its_line() {
        let now: Timestamp = "2026-01-01T00:02:05Z".parse().expect("a time");
        let host = |stand| HostStatus {
            role: "edge".into(),
            fqdn: "edge.example.org".into(),
            address: "10.0.0.6".into(),
            image: String::new(),
            done: 1,
            tasks: 2,
            outcome: Outcome::Green,
            stand,
            heard: "2026-01-01T00:00:00Z".into(),
        };
        for (stand, words) in [
            (HostStand::Joined, ""),
            (HostStand::Absent, ", absent"),
            (HostStand::Silent, ", silent, heard 2 min ago"),
        ] {
            assert_eq!(presence(&host(stand), now), words);
        }
    }
}
