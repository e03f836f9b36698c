//! The status as data, and as its schema says.

use super::*;

fn probe(colour: Colour, at: &str) -> ProbeStatus {
    ProbeStatus {
        id: "office/x/probe/p".into(),
        probe: "tcp".into(),
        colour,
        at: at.into(),
        took: 1,
        words: "ok".into(),
    }
}

/// A status with every kind of part.
fn example() -> Status {
    serde_json::from_str(include_str!("../../../tests/fixtures/status.json")).expect("a status")
}

#[test]
fn what_was_proven_too_long_ago_is_stale_and_no_longer_green() {
    let then: Timestamp = "2026-01-01T00:10:01Z".parse().expect("a time");
    let status = example().aged(then);
    assert_eq!(status.integrations[0].colour, Colour::Stale);
    assert_eq!(status.services[0].colour, Colour::Green);
    assert_eq!((status.proven, status.total), (1, 2));
    assert_eq!(status.outcome, Outcome::Red);
}

#[test]
fn the_worst_probe_is_the_colour_of_an_edge() {
    for (colours, colour) in [
        (&[][..], Colour::Unproven),
        (&[Colour::Green, Colour::Red], Colour::Red),
        (&[Colour::Green, Colour::Unproven], Colour::Unproven),
        (&[Colour::Stale, Colour::Green], Colour::Stale),
    ] {
        let probes: Vec<ProbeStatus> = colours.iter().map(|colour| probe(*colour, "")).collect();
        assert_eq!(worst(&probes), colour);
    }
}

/// Every key of a value is in its schema, and every required key is in the value.
fn conforms(value: &serde_json::Value, schema: &serde_json::Value, root: &serde_json::Value) {
    let schema = match schema.get("$ref").and_then(|link| link.as_str()) {
        Some(link) => root
            .pointer(link.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{link} is not in the schema")),
        None => schema,
    };
    match value {
        serde_json::Value::Object(map) => {
            let known = schema["properties"].as_object().expect("properties");
            for (key, value) in map {
                let inner = known
                    .get(key)
                    .unwrap_or_else(|| panic!("`{key}` is not in the schema"));
                conforms(value, inner, root);
            }
            for key in schema["required"].as_array().into_iter().flatten() {
                let key = key.as_str().expect("a name");
                assert!(map.contains_key(key), "`{key}` is missing");
            }
            assert_eq!(
                schema["required"].as_array().map(Vec::len),
                Some(known.len())
            );
        }
        serde_json::Value::Array(list) => {
            for value in list {
                conforms(value, &schema["items"], root);
            }
        }
        serde_json::Value::String(text) => {
            if let Some(words) = schema["enum"].as_array() {
                assert!(
                    words.iter().any(|word| word == text),
                    "`{text}` is no such word"
                );
            }
        }
        _ => {}
    }
}

#[test]
fn the_json_is_what_the_published_schema_says() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/schemas/status.json")).expect("JSON");
    let value = serde_json::to_value(example()).expect("JSON");
    conforms(&value, &schema, &schema);
}

#[test]
fn a_host_counts_what_is_proven_on_it_and_all_hosts_together_count_all() {
    let home = tempfile::tempdir().expect("a folder");
    let facts = crate::bringup::share::tests::three(home.path());
    let own = Status::of(&facts, &jobs_of(&facts, "core"), &Reports::default());
    let names = |status: &Status| {
        let edges = status.integrations.iter().map(|edge| edge.id.clone());
        let services = status.services.iter().map(|service| service.id.clone());
        edges.chain(services).collect::<Vec<_>>()
    };
    assert_eq!(names(&own), ["core/data", "core/people"]);
    assert_eq!((own.proven, own.total), (0, 2));
    let seen = ["edge", "files"].map(|role| {
        let blank = Status::blank(&facts, role);
        let edge = format!("{role}/app.database -> core/data");
        assert_eq!(names(&blank), [edge]);
        assert_eq!(blank.hosts[0].role, role);
        assert_eq!(blank.hosts[0].fqdn, format!("{role}.example.org"));
        assert_eq!(blank.outcome, Outcome::Unfinished);
        site::Seen {
            role: role.into(),
            blank,
            joined: false,
            up: false,
            quiet: std::time::Duration::ZERO,
            heard: String::new(),
            report: site::Report::Missing,
        }
    });
    let tasks = own.hosts[0].tasks;
    let all = site::merge(own, seen);
    assert_eq!(all.total, 4);
    assert_eq!(
        all.phases[0].tasks,
        tasks + all.hosts[1].tasks + all.hosts[2].tasks
    );
}

#[test]
fn a_host_with_something_stale_is_not_green_either() {
    let then: Timestamp = "2026-01-01T00:10:01Z".parse().expect("a time");
    let mut other = example();
    other.hosts[0].role = "edge".into();
    let mut both = example();
    both.hosts.extend(other.hosts);
    let outcomes: Vec<Outcome> = both
        .aged(then)
        .hosts
        .iter()
        .map(|own| own.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Red, Outcome::Green]);
}
