//! What commands print, images bring along and hosts tell is what docs/schemas say.

use crate::desk::{Desk, PROFILES};
use crate::schema::{accepts, describes, folder, read, refuses};
use muster::agent::invite::{Standing, Waits};
use muster::bringup::board::TaskStand;
use muster::bringup::status::{Colour, Outcome, Status};
use muster::cli::diagnose::Diagnosis;
use muster::cli::join::Shown;
use muster::cli::ps::{Listing, Row};
use muster::cli::verify_image::Verified;
use muster::cli::{cache, help, lock};
use muster::image::artifact::Placed;
use muster::image::inspect::{Findings, Problem};
use muster::image::job::Format;
use muster::image::layout::Partition;
use muster::image::manifest::{Input, Inputs, Manifest, Output};
use muster::machine::events::{self, Event, Moment};
use muster::machine::record::{Backing, Boot, Bus, Condition, Forward, Machine, Run};
use muster::machine::{Folder, process::Process};
use muster::mesh::discover::Rival;
use muster::packages::lock::{Artifact, Blob, Change, Lock, Locked, OciImage, Part};
use muster::profile::artifact::{Kind, Placing};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn value(data: &impl serde::Serialize) -> Value {
    serde_json::to_value(data).unwrap()
}

fn names() -> BTreeSet<String> {
    std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_schema_is_one_and_describes_every_key() {
    fn described(schema: &Value, place: &str) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            let here = format!("{place}/{key}");
            // The conditions of `if` say nothing new about a key.
            if ["if", "then", "else"].contains(&key.as_str()) {
                continue;
            }
            if key == "properties" {
                for (name, property) in value.as_object().unwrap() {
                    let words = property["description"].as_str().unwrap_or_default();
                    assert!(!words.is_empty(), "{here}/{name} has no description");
                }
            }
            described(value, &here);
        }
        for (number, value) in schema.as_array().into_iter().flatten().enumerate() {
            described(value, &format!("{place}/{number}"));
        }
    }
    for name in names() {
        let schema = read(&name);
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        for key in ["title", "description"] {
            assert!(schema[key].is_string(), "{name} has no {key}");
        }
        described(&schema, &name);
    }
}

#[test]
fn every_json_option_names_its_schema_and_every_reading_command_has_one() {
    let mut found = BTreeMap::new();
    let mut open = vec![help::command()];
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().cloned());
        let option = command
            .get_arguments()
            .find(|option| option.get_long() == Some("json"));
        if let Some(option) = option {
            let words = option.get_help().map(ToString::to_string).unwrap();
            let name = words
                .split_once("(docs/schemas/")
                .and_then(|(_, rest)| rest.split_once(".json)"))
                .unwrap_or_else(|| panic!("{}: {words:?} names no schema", command.get_name()));
            assert!(names().contains(name.0), "{}", name.0);
            found.insert(
                format!("{} {}", command.get_name(), name.0),
                command.get_name().to_string(),
            );
        }
    }
    let found: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "check answers-check",
            "check check",
            "diagnose diagnose",
            "fetch fetch",
            "join join",
            "lock lock",
            "ls cache",
            "plan plan",
            "ps ps",
            "status status",
            "verify status",
            "verify-image verify-image",
        ]
    );
}

#[test]
fn check_says_of_sound_and_broken_stacks_what_its_schema_says() {
    let desk = Desk::new();
    let (code, sound) = desk.json(&["--profiles", PROFILES, "check", "one", "--json"]);
    assert_eq!(code, 0);
    describes("check", &sound);
    let mut refusals = 0;
    for entry in std::fs::read_dir(Path::new(FIXTURES).join("refusals")).unwrap() {
        let folder = entry.unwrap().path();
        let (code, broken) = desk.json(&["check", &folder.to_string_lossy(), "--json"]);
        assert_eq!((code, &broken["sound"]), (3, &json!(false)));
        describes("check", &broken);
        refusals += 1;
    }
    assert!(refusals > 10, "{refusals} refusals");
    let (code, nowhere) = desk.json(&["check", "nowhere", "--json"]);
    assert_eq!((code, &nowhere["problems"][0]["line"]), (3, &Value::Null));
    describes("check", &nowhere);
    refuses(
        "check",
        &json!({ "stack": "one", "sound": false, "problems": [] }),
    );
}

#[test]
fn plan_prints_what_its_schema_says() {
    let desk = Desk::new();
    let (_, starter) = desk.json(&["plan", "starter", "--json"]);
    accepts("plan", &starter);
    for name in ["one", "two"] {
        let (code, plan) = desk.json(&["--profiles", PROFILES, "plan", name, "--json"]);
        assert_eq!(code, 0);
        describes("plan", &plan);
    }
    let mut wrong = starter;
    wrong["firewall"][0]["port"] = json!(70_000);
    refuses("plan", &wrong);
}

#[test]
fn answers_check_prints_what_its_schema_says() {
    let desk = Desk::new();
    let stack = format!("{FIXTURES}/answers-stack");
    let check = |folder: &str, wanted: i32| {
        let folder = Path::new(FIXTURES).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let path = path.to_string_lossy();
                let words = ["answers", "check", "--json", "--stack", &stack, &path];
                let (code, said) = desk.json(&words);
                assert_eq!(code, wanted, "{path}");
                assert_eq!(said["good"], json!(wanted == 0), "{path}");
                describes("answers-check", &said);
            }
        }
    };
    check("answers", 0);
    check("answers-refused", 3);
    let file = format!("{FIXTURES}/answers-refused/time-zone.toml");
    let (_, said) = desk.json(&["answers", "check", "--json", "--stack", &stack, &file]);
    let problem = &said["problems"][0];
    assert_eq!(problem["key"], "time.zone");
    assert!(problem["line"].as_u64().unwrap() > 1, "{problem}");
}

#[test]
fn fetch_prints_what_its_schema_says() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    let fetch = ["--profiles", PROFILES, "fetch", "one", "--json", &mirror];
    let (code, first) = desk.json(&fetch);
    assert_eq!((code, &first["fetched-files"]), (0, &json!(1)));
    describes("fetch", &first);
    let (_, again) = desk.json(&fetch);
    assert_eq!(
        (&again["files"], &again["fetched-files"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn lock_prints_what_its_schema_says() {
    let change = |from: Option<&str>, to: Option<&str>| Change {
        name: "nginx".into(),
        base: Some("debian-12".into()),
        from: from.map(Into::into),
        to: to.map(Into::into),
    };
    let locked = Locked {
        first: false,
        lock: Lock {
            version: 1,
            stack: "starter".into(),
            request: "0".repeat(64),
            releases: vec![],
            roles: BTreeMap::new(),
            packages: vec![],
            artifacts: vec![],
            images: vec![],
            accounts: vec![],
        },
        changes: vec![change(None, Some("1")), change(Some("1"), None)],
        renewed: vec!["debian-12".into()],
        phased: vec!["ubuntu-24.04".into()],
        solved_in: std::time::Duration::from_millis(1500),
    };
    let said = lock::json(&locked, Path::new("starter/muster.lock"));
    assert_eq!(said["solve-seconds"], json!(1.5));
    describes("lock", &said);
}

fn machine() -> Machine {
    Machine {
        version: 1,
        stack: "tiny".into(),
        role: "box".into(),
        order: 0,
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        mac: "52:54:00:00:00:01".into(),
        segment: None,
        inside: false,
        memory: 64,
        cpus: 1,
        disk: 1 << 29,
        image: Backing {
            origin: "box.raw".into(),
            path: "box.raw".into(),
            format: "raw".into(),
            size: 512,
            mtime: 0,
        },
        boot: Boot::Bios,
        bus: Bus::Virtio,
        forwards: vec![Forward {
            guest: 443,
            host: 8443,
            purpose: "https".into(),
        }],
        routes: vec!["webmail".into()],
        created: "2026-01-01T00:00:00Z".into(),
        run: None,
    }
}

#[test]
fn ps_lists_kept_machines_as_its_schema_says() {
    let desk = Desk::new();
    let (code, none) = desk.json(&["ps", "--json"]);
    assert_eq!((code, none), (0, json!({ "version": 1, "machines": [] })));
    let folder = Folder::new(&desk.path().join("muster"), "tiny");
    folder.create(Some("box")).unwrap();
    folder.save(&machine()).unwrap();
    std::fs::write(folder.file("demo-passwords.toml"), "").unwrap();
    let (_, stopped) = desk.json(&["ps", "tiny", "--json"]);
    assert_eq!(stopped["machines"][0]["condition"], "stopped");
    assert_eq!(
        stopped["machines"][0]["urls"],
        json!(["https://webmail.localhost:8443/"])
    );
    describes("ps", &stopped);
    let gone = Process {
        pid: 1,
        start: 0,
        boot: "another".into(),
    };
    folder
        .save(&Machine {
            run: Some(Run {
                process: gone,
                accel: "tcg".into(),
                started: "2026-01-01T00:00:00Z".into(),
                events_from: 0,
                serial_from: 0,
            }),
            ..machine()
        })
        .unwrap();
    // QEMU removes it when it ends by itself.
    std::fs::write(folder.role("box").join("pid"), "1").unwrap();
    let (_, died) = desk.json(&["ps", "tiny", "--json"]);
    assert_eq!(died["machines"][0]["condition"], "died");
    describes("ps", &died);
}

#[test]
fn a_running_and_a_paused_machine_are_as_the_schema_says() {
    let row = |condition: Condition| Row {
        stack: "tiny".into(),
        role: "box".into(),
        condition,
        pid: Some(4711),
        accel: Some("kvm".into()),
        started: Some("2026-01-01T00:00:00Z".into()),
        uptime_seconds: Some(60),
        memory: 64,
        cpus: 1,
        addresses: vec!["10.0.2.15".parse().unwrap()],
        forwards: machine().forwards,
        urls: machine().urls(),
        user: "admin".into(),
        folder: "box".into(),
        serial_log: "box/serial.log".into(),
        events: "box/events.jsonl".into(),
        site_ca: Some("site-ca.pem".into()),
        passwords: None,
    };
    let listing = |condition: Condition| {
        value(&Listing {
            version: 1,
            machines: vec![row(condition)],
        })
    };
    describes("ps", &listing(Condition::Running));
    let paused = listing(Condition::Paused("the disk of the computer is full".into()));
    describes("ps", &paused);
    let changed = |key: &str, to: Value| {
        let mut listing = paused.clone();
        listing["machines"][0][key] = to;
        listing
    };
    refuses("ps", &changed("condition", json!("running")));
    refuses("ps", &changed("condition", json!("asleep")));
    refuses("ps", &changed("started", json!("yesterday")));
    refuses("ps", &changed("addresses", json!(["10.0.2"])));
}

#[test]
fn how_joining_stands_is_as_its_schema_says() {
    let mut standing = Standing {
        lead: "core".into(),
        code: Some("zebra ocean ladder".into()),
        lives: 60,
        held: false,
        rivals: BTreeSet::from([Rival {
            role: "core".into(),
            address: "fe80::9%eth0".into(),
        }]),
        missing: vec!["edge".into()],
        waiting: vec![Waits {
            role: "edge".into(),
            address: "fe80::2".into(),
            key: "abab abab abab".into(),
        }],
        addresses: vec!["fe80::1".into()],
    };
    for code in [standing.code.clone(), None] {
        standing.code = code;
        let standing = standing.clone();
        describes(
            "join",
            &value(&Shown {
                version: 1,
                standing,
            }),
        );
    }
}

fn status() -> Status {
    let text = std::fs::read(format!("{FIXTURES}/status.json")).unwrap();
    let mut status: Status = serde_json::from_slice(&text).unwrap();
    (status.outcome, status.proven) = (Outcome::Red, 1);
    let host = &mut status.hosts[0];
    (host.outcome, host.tasks, host.address) = (Outcome::Red, 2, String::new());
    let phase = &mut status.phases[0];
    (phase.stand, phase.tasks) = (TaskStand::Failed, 2);
    let edge = &mut status.integrations[0];
    edge.colour = Colour::Red;
    edge.probes[0].colour = Colour::Red;
    edge.probes[0].words = "connection refused".into();
    let service = &mut status.services[0];
    service.colour = Colour::Unproven;
    service.probes[0].colour = Colour::Unproven;
    service.probes[0].at = String::new();
    status.attention[0].unit = None;
    status
}

#[test]
fn a_status_is_as_its_schema_says_in_every_colour() {
    let document = value(&status());
    describes("status", &document);
    for (place, words) in [
        (
            "/integrations/0/colour",
            vec!["green", "stale", "unproven", "red"],
        ),
        (
            "/phases/0/stand",
            vec!["waiting", "running", "done", "failed", "blocked"],
        ),
        ("/outcome", vec!["green", "red", "unfinished"]),
        ("/hosts/0/outcome", vec!["green", "red", "unfinished"]),
        ("/hosts/0/stand", vec!["joined", "absent", "silent"]),
    ] {
        let with = |word: &str| {
            let mut changed = document.clone();
            *changed.pointer_mut(place).unwrap() = json!(word);
            changed
        };
        for word in words {
            accepts("status", &with(word));
            // And the schema offers no word that the program does not know.
            serde_json::from_value::<Status>(with(word)).unwrap();
        }
        refuses("status", &with("blue"));
    }
}

#[test]
fn a_diagnosis_is_as_its_schema_says_with_the_last_words_of_the_unit() {
    let journal = |_: &str, unit: &str| format!("{unit} said no");
    let diagnosis = Diagnosis::of(&status(), None, &journal).unwrap();
    let document = value(&diagnosis);
    describes("diagnose", &document);
    let ids: Vec<&str> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.id.as_str())
        .collect();
    assert_eq!(ids, ["office/x/y", "office/a/probe/p"]);
    assert_eq!(document["findings"][0]["journal"], "");
    assert_eq!(document["findings"][1]["journal"], "c* said no");
}

#[test]
fn a_manifest_is_as_its_schema_says() {
    let digest = "0123456789abcdef".repeat(4);
    let output = |file: &str| Output {
        file: file.into(),
        size: 1,
        digest: format!("sha256-4MiB:{digest}"),
    };
    let manifest = Manifest {
        version: 2,
        stack: "starter".into(),
        role: "office".into(),
        base: "debian-12".into(),
        image_id: digest.clone(),
        epoch: 1_767_225_600,
        inputs: Inputs {
            agent: digest.clone(),
            builder: digest.clone(),
            overlay: BTreeMap::from([("/etc/motd".into(), digest.clone())]),
            request: digest.clone(),
            packages: vec![Input {
                name: "nginx".into(),
                version: "1:1.2~3".into(),
                architecture: "amd64".into(),
                sha256: digest.clone(),
                size: 1,
            }],
            artifacts: vec![Placed {
                file: Artifact {
                    service: "wiki".into(),
                    name: "wiki".into(),
                    version: Some("1.2".into()),
                    url: Some("https://example.org/wiki-1.2.tar.gz".into()),
                    file: None,
                    size: 1,
                    sha256: digest.clone(),
                    checksums: Some("https://example.org/SHA256SUMS".into()),
                    signed_by: Some("A".repeat(40)),
                },
                placing: Placing {
                    kind: Kind::Tar,
                    to: "/opt/wiki".into(),
                    strip: 1,
                    only: vec![],
                    except: vec!["doc".into()],
                    setuid: vec![],
                    owner: "root:root".into(),
                    mode: 0o644,
                },
            }],
            images: vec![OciImage {
                service: "wiki".into(),
                name: "index".into(),
                image: format!("registry.example/index@sha256:{digest}"),
                platform: "linux/amd64".into(),
                blobs: [Part::Index, Part::Manifest, Part::Config, Part::Layer]
                    .map(|part| Blob {
                        part,
                        media_type: "application/octet-stream".into(),
                        size: 1,
                        sha256: digest.clone(),
                    })
                    .into(),
            }],
        },
        outputs: ["image", "kernel", "initrd"]
            .map(|what| (what.to_string(), output(what)))
            .into(),
        format: Format::Raw,
        disk_size: 1 << 31,
        partitions: vec![Partition {
            number: 1,
            name: "efi".into(),
            kind: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".into(),
            id: "00000000-0000-4000-8000-000000000000".into(),
            start: 1 << 20,
            size: 1 << 26,
        }],
    };
    let document = value(&manifest);
    describes("manifest", &document);
    let with = |place: &str, to: Value| {
        let mut changed = document.clone();
        *changed.pointer_mut(place).unwrap() = to;
        changed
    };
    for format in [Format::Qcow2, Format::Qcow2Zlib, Format::Qcow2Zstd] {
        accepts("manifest", &with("/format", value(&format)));
    }
    refuses("manifest", &with("/format", json!("vmdk")));
    refuses("manifest", &with("/image-id", json!("0123")));
    refuses("manifest", &with("/partitions/0/type", json!("esp")));
}

#[test]
fn what_the_cache_holds_is_as_its_schema_says() {
    let desk = Desk::new();
    let (code, nothing) = desk.json(&["cache", "ls", "--json"]);
    assert_eq!(code, 0);
    describes("cache", &nothing);
    let entry = |kind| cache::Entry {
        kind,
        name: "0123456789abcdef".repeat(4),
        size: 1,
        used: "2026-01-01T00:00:00Z".into(),
    };
    let listing = cache::Listing {
        version: 1,
        folder: "/home/staff/.cache/muster".into(),
        entries: vec![entry(cache::Kind::Package), entry(cache::Kind::Layer)],
    };
    let document = value(&listing);
    describes("cache", &document);
    let mut wrong = document.clone();
    wrong["entries"][0]["kind"] = json!("image");
    refuses("cache", &wrong);
}

#[test]
fn what_an_image_holds_is_as_its_schema_says() {
    let verified = Verified {
        version: 1,
        image: "out/starter/office.raw".into(),
        stack: "starter".into(),
        role: "office".into(),
        image_id: "0123456789abcdef".repeat(4),
        findings: Findings {
            packages: 1,
            placed: 3,
            files: 2,
            problems: vec![Problem {
                subject: "/usr/bin/login".into(),
                what: "is not what its package brings".into(),
            }],
            raised: vec!["/usr/bin/ssh-agent".into()],
            changed: vec!["/etc/adduser.conf".into()],
            made: vec!["/etc/passwd".into()],
        },
    };
    let document = value(&verified);
    describes("verify-image", &document);
    let mut wrong = document.clone();
    wrong["problems"][0]["what"] = json!(1);
    refuses("verify-image", &wrong);
}

#[test]
fn every_event_is_as_its_schema_says() {
    let task = |moment: Moment| Event::Task {
        id: "office/slapd/serve".into(),
        moment,
        message: String::new(),
    };
    let told = [
        Event::SshHostKey {
            key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpGnZ0C".into(),
        },
        Event::SiteCa { pem: "PEM".into() },
        Event::Leads { term: 1 },
        Event::Dialogue {
            console: "ttyS0".into(),
        },
        Event::Phase {
            name: "mail".into(),
        },
        task(Moment::Started),
        task(Moment::Applied),
        task(Moment::Done),
        task(Moment::Failed),
        Event::BringUp {
            outcome: events::Outcome::Unfinished,
            proven: 3,
            total: 14,
        },
    ];
    for event in &told {
        describes("events", &value(event));
    }
    let mut wrong = value(&task(Moment::Started));
    wrong["moment"] = json!("tried");
    refuses("events", &wrong);
    refuses("events", &json!({ "event": "from-the-future" }));
}
