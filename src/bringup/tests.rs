//! The executor on real plans, in a directory of its own; killed at every moment.

use super::board::{Board, TaskStand};
use super::context::Facts;
use super::job::Work;
use super::journal::{Entry, History, Journal};
use super::places::Places;
use super::render::Renderer;
use super::run::{BreakPoint, Executor, Moment, Observer, Options, Patience};
use super::status::{Colour, Outcome, Status};
use crate::plan::Plan;
use crate::profile::{Source, Stack};
use crate::site::authority::Own;
use crate::site::{Organisation, Person, Site};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn person(name: &str) -> Person {
    Person {
        name: name.into(),
        full_name: format!("{name} O'Neil"),
        password_hash: "$6$salt$hash".into(),
        ssh_keys: Vec::new(),
    }
}

fn site() -> Site {
    Site {
        id: "0123456789abcdef0123456789abcdef".into(),
        organisations: vec![Organisation {
            id: "example".into(),
            name: "Example Company".into(),
            domain: "example.org".into(),
            base_dn: "dc=example,dc=org".into(),
            mail_domains: vec!["example.org".into()],
        }],
        timezone: "Etc/UTC".into(),
        keyboard: "us".into(),
        network: BTreeMap::new(),
        admin: person("ada"),
        people: vec![person("staff")],
        disabled: Vec::new(),
        aliases: BTreeMap::from([("webmail".into(), vec!["webmail.localhost".into()])]),
    }
}

fn facts(stack: Stack, site: Site, image: &str, places: Places) -> Arc<Facts> {
    let role = stack.roles[0].name.clone();
    facts_of(role, stack, site, image, places)
}

fn facts_of(role: String, stack: Stack, site: Site, image: &str, places: Places) -> Arc<Facts> {
    let plan = Plan::new(&stack);
    let facts = Facts::new(stack, plan, site, role, image.into(), places).expect("facts");
    Arc::new(facts)
}

/// What was told, in order.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("lock").clone()
    }
}

impl Observer for Told {
    fn task(&self, id: &str, moment: Moment, message: &str) {
        println!("event {id} {moment:?} {message}");
        self.0
            .lock()
            .expect("lock")
            .push(format!("{id} {moment:?} {message}"));
    }

    fn phase(&self, name: &str, _title: &str) {
        self.0.lock().expect("lock").push(format!("phase {name}"));
    }

    fn note(&self, text: &str) {
        println!("note {text}");
    }
}

fn quick() -> Options {
    Options {
        workers: 3,
        patience: Patience {
            attempts: 2,
            first: Duration::from_millis(10),
            longest: Duration::from_millis(10),
            poll: Duration::from_millis(300),
            poll_pause: Duration::from_millis(50),
        },
        break_point: None,
        network_limit: Duration::from_secs(2),
    }
}

/// A stack of services written for the test; `DIR` in them is the test's directory.
fn stack(directory: &Path, services: &[(&str, &str)]) -> Stack {
    let home = directory.join("stack");
    std::fs::create_dir_all(home.join("services")).expect("a directory");
    let names: Vec<String> = services
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let list = names.join(", ");
    let stack = format!(
        "[stack]\nname = \"small\"\nsummary = \"A test\"\nbase = \"debian-12\"\n\
         [[role]]\nname = \"office\"\nsummary = \"All\"\nmemory = 512\ncpus = 1\ndisk = 4096\n\
         services = [{list}]\n\
         [[phase]]\nname = \"all\"\ntitle = \"Everything\"\nservices = [{list}]\n"
    );
    std::fs::write(home.join("stack.toml"), stack).expect("written");
    for (name, text) in services {
        let text = format!(
            "[service]\nname = \"{name}\"\nsummary = \"{name}\"\nlogin = \"none\"\n{}",
            text.replace("DIR", &directory.display().to_string())
        );
        std::fs::write(home.join(format!("services/{name}.toml")), text).expect("written");
    }
    let name = home.display().to_string();
    match Stack::load(&Source::new(None), &name, None) {
        Ok(stack) => stack,
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) fn executor(
    directory: &Path,
    services: &[(&str, &str)],
    image: &str,
    options: Options,
) -> (Executor, Arc<Told>) {
    let places = Places::below(directory);
    std::fs::create_dir_all(&places.state).expect("a directory");
    let stack = stack(directory, services);
    let journal = Journal::open(&places.journal(), image).expect("a journal");
    let told = Arc::new(Told::default());
    let own = Own {
        folder: places.authority(),
        organisation: "Example Company".into(),
    };
    let executor = Executor::new(
        facts(stack, site(), image, places),
        journal,
        Arc::new(Board::default()),
        options,
        Arc::clone(&told) as Arc<dyn Observer>,
        Arc::new(own),
    );
    (executor, told)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

const CHAIN: &str = r#"
[secrets.word]
length = 20
[[step]]
id = "folder"
directory = "DIR/out"
mode = "0750"
owner = "root:root"
[[step]]
id = "file"
file = "DIR/out/file"
content = "{{ secrets.word }} of {{ site.organisation.name }}\n"
mode = "0640"
owner = "root:root"
[[step]]
id = "count"
effect = "state"
command = ["sh", "-c", "test -e DIR/out/once && exit 7; echo x >> DIR/out/once; sleep 0.05"]
unless = ["test", "-e", "DIR/out/once"]
[[step]]
id = "link"
link = "DIR/out/link"
to = "file"
[[step]]
id = "gone"
absent = "DIR/out/unwanted"
[[probe]]
id = "host"
probe = "unit"
unit = "no-such-unit.service"
"#;

/// [`CHAIN`] without its probe: it cannot be green where there is no systemd.
fn chain() -> String {
    let end = CHAIN.find("[[probe]]").expect("the probe");
    CHAIN[..end].replace("[[probe]]", "")
        + "[[probe]]\nid = \"open\"\nprobe = \"tcp\"\nhost = \"127.0.0.1\"\nport = PORT\n"
}

/// A port that accepts connections as long as it is held.
fn listener() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port.to_string())
}

#[test]
fn a_small_plan_is_done_proven_and_not_done_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let (_held, port) = listener();
    let text = chain().replace("PORT", &port);
    let services = [("a", text.as_str())];
    let (first, told) = executor(directory, &services, "image-1", quick());
    let summary = first.run().expect("the journal");
    assert_eq!(summary, Default::default(), "{:?}", told.lines());
    let secret = read(&directory.join("state/secrets/office/a/word"));
    assert_eq!(
        read(&directory.join("out/file")),
        format!("{secret} of Example Company\n")
    );
    assert_eq!(read(&directory.join("out/once")), "x\n");
    let status = Status::of(first.facts(), first.jobs(), &first.board().reports());
    assert_eq!(status.outcome, Outcome::Green);
    assert_eq!((status.proven, status.total), (1, 1));
    drop(first);

    // Again in the same root: nothing is started.
    let (second, told) = executor(directory, &services, "image-1", quick());
    assert_eq!(second.run().expect("the journal"), Default::default());
    assert_eq!(told.lines(), ["phase all"]);
    drop(second);

    // Somebody changed a file: only that is put right.
    std::fs::write(directory.join("out/file"), "changed").expect("written");
    let (third, told) = executor(directory, &services, "image-1", quick());
    assert_eq!(third.run().expect("the journal"), Default::default());
    let started: Vec<String> = started(&told);
    assert_eq!(started, ["office/a/file"]);
    drop(third);

    // A new root: what lives in it runs again, what lives in state does not.
    let (fourth, told) = executor(directory, &services, "image-2", quick());
    assert_eq!(fourth.run().expect("the journal"), Default::default());
    let started = self::started(&told);
    assert_eq!(
        started,
        [
            "office/muster/ca",
            "office/a/folder",
            "office/a/file",
            "office/a/link",
            "office/a/gone"
        ]
    );
    assert_eq!(read(&directory.join("state/secrets/office/a/word")), secret);
}

fn started(told: &Told) -> Vec<String> {
    told.lines()
        .iter()
        .filter(|line| line.contains(" Started "))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_string)
        .collect()
}

#[test]
fn a_failure_stops_its_dependants_only_and_shows_why_and_what_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let failing = "[secrets.word]\nlength = 20\n\
        [[step]]\nid = \"bad\"\nstdin = \"{{ secrets.word }}\"\n\
        command = [\"sh\", \"-c\", \"read word; echo \\\"no $word\\\" >&2; exit 3\"]\n\
        [[step]]\nid = \"after\"\nfile = \"DIR/never\"\ncontent = \"x\"\nmode = \"0644\"\nowner = \"root:root\"\n\
        [[probe]]\nid = \"p\"\nprobe = \"tcp\"\nhost = \"127.0.0.1\"\nport = 1\n";
    let (_held, port) = listener();
    let fine = chain().replace("PORT", &port);
    let services = [("a", failing), ("b", fine.as_str())];
    let (executor, _) = executor(directory.path(), &services, "i", quick());
    let summary = executor.run().expect("the journal");
    assert_eq!(summary.failed, ["office/a/bad"]);
    assert_eq!(summary.blocked, ["office/a/after", "office/a/probe/p"]);
    assert!(!directory.path().join("never").exists());
    assert_eq!(read(&directory.path().join("out/once")), "x\n");
    let status = Status::of(
        executor.facts(),
        executor.jobs(),
        &executor.board().reports(),
    );
    assert_eq!(status.outcome, Outcome::Red);
    let bad = &status.attention[0];
    assert_eq!(bad.task, "office/a/bad");
    assert_eq!(bad.attempt, 2);
    assert_eq!(bad.reason, "`sh` exited with status 3: no [secret]");
    assert_eq!(
        bad.output,
        "no [secret]\nrepeat it with: sh -c 'read word; echo \"no $word\" >&2; exit 3'   \
         # with its standard input"
    );
    assert_eq!(bad.next, "muster diagnose office/a/bad");
    assert_eq!(status.attention[1].reason, "office/a/bad has failed");
    let history = History::read(&directory.path().join("state/journal")).expect("sound");
    assert!(matches!(
        &history.tasks["office/a/bad"].last.entry,
        Entry::Failed { attempt: 2, reason, .. } if reason.ends_with("no [secret]")
    ));
}

#[test]
fn an_each_that_gives_no_list_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "[[step]]\nid = \"lists\"\neach = \"{{ site.organisation.name }}\"\n\
        directory = \"DIR/{{ item }}\"\nmode = \"0755\"\nowner = \"root:root\"\n";
    let (executor, _) = executor(directory.path(), &[("a", text)], "i", quick());
    let summary = executor.run().expect("the journal");
    assert_eq!(summary.failed, ["office/a/lists"]);
    let status = Status::of(
        executor.facts(),
        executor.jobs(),
        &executor.board().reports(),
    );
    assert_eq!(
        status.attention[0].reason,
        "office/a/lists: `each` must give a JSON list: expected value at line 1 column 1"
    );
}

#[test]
fn a_red_probe_says_why_and_turns_green_when_the_cause_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (held, port) = listener();
    drop(held);
    let text = chain().replace("PORT", &port);
    let (executor, told) = executor(directory.path(), &[("a", &text)], "i", quick());
    let summary = executor.run().expect("the journal");
    assert_eq!(summary.failed, ["office/a/probe/open"]);
    let status = Status::of(
        executor.facts(),
        executor.jobs(),
        &executor.board().reports(),
    );
    let probe = &status.services[0].probes[0];
    assert_eq!(probe.colour, Colour::Red);
    assert_eq!(
        probe.words,
        format!("connection refused by 127.0.0.1:{port}")
    );
    // Polled for a while, but told and journaled only at the end.
    let failures = told
        .lines()
        .iter()
        .filter(|line| line.contains(" Failed "))
        .count();
    assert_eq!(failures, 1, "{:?}", told.lines());

    let _again = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port");
    assert_eq!(executor.reopen(|_| false), 1);
    assert_eq!(executor.run().expect("the journal"), Default::default());
    let status = Status::of(
        executor.facts(),
        executor.jobs(),
        &executor.board().reports(),
    );
    assert_eq!(status.outcome, Outcome::Green);
    assert_eq!(
        executor.board().reports().tasks["office/a/probe/open"].stand,
        TaskStand::Done
    );
}

#[test]
fn what_a_command_cannot_tell_is_done_again_when_a_step_before_it_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_held, port) = listener();
    let text = |content: &str| {
        format!(
            "[[step]]\nid = \"configure\"\nfile = \"DIR/conf\"\ncontent = \"{content}\"\n\
             mode = \"0644\"\nowner = \"root:root\"\n\
             [[step]]\nid = \"check\"\ncommand = [\"sh\", \"-c\", \"cat DIR/conf >> DIR/seen\"]\n\
             [[probe]]\nid = \"p\"\nprobe = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n"
        )
    };
    for content in ["one ", "one ", "two "] {
        let (executor, _) = executor(directory.path(), &[("a", &text(content))], "i", quick());
        assert_eq!(executor.run().expect("the journal"), Default::default());
    }
    assert_eq!(read(&directory.path().join("seen")), "one two ");
}

/// Runs in a process of its own, which [`killed_at_every_moment`] kills.
#[test]
fn child() {
    let Ok(directory) = std::env::var("MUSTER_TEST_DIRECTORY") else {
        return;
    };
    let port = std::env::var("MUSTER_TEST_PORT").expect("a port");
    let options = Options {
        break_point: std::env::var("MUSTER_TEST_BREAK")
            .ok()
            .and_then(|at| BreakPoint::parse(&at)),
        ..quick()
    };
    let text = chain().replace("PORT", &port);
    let (executor, _) = executor(Path::new(&directory), &[("a", &text)], "image", options);
    assert_eq!(executor.run().expect("the journal"), Default::default());
    println!("all done");
}

#[test]
fn killed_at_every_moment_nothing_is_done_twice_and_no_secret_changes() {
    use std::io::BufRead;
    let (_held, port) = listener();
    for task in [
        "office/a/folder",
        "office/a/file",
        "office/a/count",
        "office/a/link",
    ] {
        for moment in ["started", "applied", "done"] {
            let directory = tempfile::tempdir().expect("a directory");
            let run = |at: Option<String>| {
                let mut command =
                    std::process::Command::new(std::env::current_exe().expect("ourselves"));
                command
                    .args([
                        "--exact",
                        "bringup::tests::child",
                        "--nocapture",
                        "--test-threads=1",
                    ])
                    .env("MUSTER_TEST_DIRECTORY", directory.path())
                    .env("MUSTER_TEST_PORT", &port)
                    .stdout(std::process::Stdio::piped());
                if let Some(at) = at {
                    command.env("MUSTER_TEST_BREAK", at);
                }
                command.spawn().expect("a child")
            };
            let at = format!("{task}:{moment}");
            let mut child = run(Some(at.clone()));
            let stdout = std::io::BufReader::new(child.stdout.take().expect("its output"));
            let reached = stdout
                .lines()
                .map_while(Result::ok)
                .any(|line| line.contains(&format!("note break point at {task}")));
            assert!(reached, "{at} was not reached");
            child.kill().expect("killed");
            child.wait().expect("gone");
            let secret = read(&directory.path().join("state/secrets/office/a/word"));
            let history = History::read(&directory.path().join("state/journal")).expect("sound");
            assert_eq!(history.tasks[task].last.entry, Entry::Started, "{at}");

            let child = run(None).wait_with_output().expect("the second run");
            let said = String::from_utf8_lossy(&child.stdout).into_owned();
            assert!(
                child.status.success() && said.contains("all done"),
                "{at}: {said}"
            );
            assert_eq!(read(&directory.path().join("out/once")), "x\n", "{at}");
            let now = read(&directory.path().join("state/secrets/office/a/word"));
            assert!(
                secret.is_empty() || secret == now,
                "{at}: the secret changed"
            );
            assert_eq!(
                read(&directory.path().join("out/file")),
                format!("{now} of Example Company\n")
            );
            let again = said
                .lines()
                .filter(|line| line.starts_with("event ") && line.contains(" Started "));
            for line in again {
                let id = line.split(' ').nth(1).expect("an id");
                assert!(
                    id == task
                        || !history.tasks.get(id).is_some_and(|state| {
                            matches!(state.last.entry, Entry::Done { .. })
                        }),
                    "{at}: {id} was done and is done again"
                );
            }
        }
    }
}

#[test]
fn every_template_of_every_stack_renders_on_every_base() {
    let bases = ["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"];
    let hosts = [
        ("office", "office"),
        ("starter", "core"),
        ("starter", "edge"),
    ];
    let all = bases
        .iter()
        .flat_map(|base| hosts.map(|host| (*base, host)));
    for (base, (name, role)) in all {
        let directory = tempfile::tempdir().expect("a directory");
        let stack = Stack::load(&Source::new(None), name, Some(base));
        let stack = stack.unwrap_or_else(|error| panic!("{error:?}"));
        let places = Places::below(directory.path());
        let facts = facts_of(role.to_owned(), stack, site(), "i", places);
        let renderer = Renderer::new(Arc::clone(&facts));
        let mut problems = Vec::new();
        for job in super::job::jobs(&facts) {
            let error = match &job.work {
                Work::Step(task) => renderer.step(task).err(),
                Work::Probe(task) => renderer.probe(task).err(),
                Work::Certificates(instance) => match renderer.certificate_names(instance) {
                    Ok(all) => {
                        assert!(all.values().all(|names| !names.is_empty()), "{}", job.id);
                        None
                    }
                    Err(error) => Some(error),
                },
                Work::Authority => None,
            };
            problems.extend(error.map(|error| format!("{}: {error}", job.id)));
        }
        assert!(
            problems.is_empty(),
            "{role}, {base}:\n{}",
            problems.join("\n")
        );
    }
}

#[test]
fn a_route_that_is_named_after_itself_is_called_a_circle() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut stack = Stack::load(&Source::new(None), "office", None).expect("the stack");
    let needs = stack
        .services
        .values_mut()
        .flat_map(|one| one.needs.values_mut());
    for need in needs.filter(|need| need.interface == "route") {
        need.with.insert("host".into(), "{{ self.url }}".into());
    }
    let facts = facts(stack, site(), "i", Places::below(directory.path()));
    let renderer = Renderer::new(Arc::clone(&facts));
    let certificates = super::job::jobs(&facts)
        .into_iter()
        .find_map(|job| match job.work {
            Work::Certificates(instance) => renderer.certificate_names(&instance).err(),
            _ => None,
        });
    let words = certificates.expect("refused").to_string();
    assert!(
        words.ends_with(": host, line 1: these routes name each other in a circle: `self.url`"),
        "{words}"
    );
}

#[test]
fn services_switched_off_take_their_tasks_edges_and_grants_with_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let stack = Stack::load(&Source::new(None), "office", None).expect("the stack");
    let site = Site {
        disabled: vec!["office/postgres-exporter".into()],
        ..site()
    };
    let facts = facts(stack, site, "i", Places::below(directory.path()));
    let jobs = super::job::jobs(&facts);
    let touching: Vec<&str> = jobs
        .iter()
        .map(|job| job.id.as_str())
        .filter(|id| id.contains("postgres-exporter"))
        .collect();
    assert_eq!(touching, Vec::<&str>::new());
    assert!(jobs.iter().any(|job| {
        job.id
            .starts_with("office/prometheus/targets/node-exporter")
    }));
    let prometheus = Renderer::new(Arc::clone(&facts));
    let configured = jobs.iter().find_map(|job| match &job.work {
        Work::Step(task) if task.id == "office/prometheus/configure" => {
            Some(prometheus.step(task).expect("rendered"))
        }
        _ => None,
    });
    let text = format!("{configured:?}");
    assert!(text.contains(":9100") && !text.contains(":9187"), "{text}");
}

#[test]
fn a_template_error_names_the_template_its_line_and_the_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "[[step]]\nid = \"s\"\nfile = \"DIR/x\"\n\
                content = \"one\\ntwo {{ site.organisation.nonsense }}\\n\"\nmode = \"0644\"\nowner = \"root:root\"\n\
                [[probe]]\nid = \"p\"\nprobe = \"tcp\"\nhost = \"127.0.0.1\"\nport = 1\n";
    let (executor, _) = executor(directory.path(), &[("a", text)], "i", quick());
    let summary = executor.run().expect("the journal");
    assert_eq!(summary.failed, ["office/a/s"]);
    let reports = executor.board().reports();
    let report = &reports.tasks["office/a/s"];
    assert_eq!(
        report.reason,
        "office/a/s (content), line 2: `site.organisation.nonsense` is undefined"
    );
    assert_eq!(report.attempt, 1, "trying again cannot help");
}

#[test]
fn needs_that_name_each_other_are_called_a_circle() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut stack = Stack::load(&Source::new(None), "office", None).expect("the stack");
    for service in stack.services.values_mut() {
        if let Some(need) = service.needs.get_mut("database") {
            let name = "{{ needs.database.database }}".to_owned();
            need.with.insert("name".into(), name);
        }
        for provide in service.provides.values_mut() {
            if let Some(value) = provide.values.get_mut("database") {
                *value = "{{ consumer.name }}".into();
            }
        }
    }
    let facts = facts(stack, site(), "i", Places::below(directory.path()));
    let renderer = Renderer::new(Arc::clone(&facts));
    let refused: Vec<String> = super::job::jobs(&facts)
        .into_iter()
        .filter_map(|job| match &job.work {
            Work::Step(task) => renderer.step(task).err(),
            _ => None,
        })
        .map(|error| error.to_string())
        .collect();
    assert!(!refused.is_empty(), "rendered");
    for words in refused {
        assert!(
            words.contains("these needs name each other in a circle"),
            "{words}"
        );
    }
}
