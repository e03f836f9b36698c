//! One lead and many members over loopback, with the real protocol: how long a join takes, how
//! long 10,000 tasks that wait for each other across hosts, and what a member costs the lead.
//!
//! ```text
//! cargo bench --bench mesh [-- MEMBERS…]        default 10 100 1000
//! ```
//!
//! Doing a task takes no time here, so all of it is coordination. Task k of a host waits for its
//! task k-1 and for that of the next host.
#![allow(clippy::unwrap_used)]

use muster::mesh::code::Token;
use muster::mesh::identity::Identity;
use muster::mesh::join::lead::{Candidate as Waiting, Facts, Lobby, Site};
use muster::mesh::join::member::{Candidate, Secret, join};
use muster::mesh::join::waiting::Word;
use muster::mesh::line::hub::{Desk, Hub, Known};
use muster::mesh::line::link::{self, Call, Link};
use muster::mesh::line::question::{Question, Reply};
use muster::mesh::line::{Orders, Rhythm};
use muster::mesh::members::Members;
use muster::site::Site as Answers;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const TASKS: usize = 10_000;
const PLAN: &str = "0123456789abcdef";

fn role(number: usize) -> String {
    format!("host{number}")
}

fn task(host: usize, number: usize) -> String {
    format!("{}/service/step{number}", role(host))
}

/// Task k of a host, and what it waits for.
fn tasks(hosts: usize) -> Vec<(String, String, Vec<String>)> {
    let each = TASKS / hosts;
    let all = (0..hosts).flat_map(|host| (0..each).map(move |number| (host, number)));
    all.map(|(host, number)| {
        let after = match number {
            0 => Vec::new(),
            _ => vec![task(host, number - 1), task((host + 1) % hosts, number - 1)],
        };
        (task(host, number), role(host), after)
    })
    .collect()
}

#[derive(Clone)]
struct Paper;

impl Site for Paper {
    async fn confirm(&self, _: &Waiting) -> Word {
        Word::Yes
    }

    fn certify(&self, role: &str, _: &[u8]) -> Result<(String, String), String> {
        Ok((format!("certificate of {role}"), "the CA".into()))
    }
}

impl Desk for Paper {
    fn orders(&self, role: &str) -> Result<Orders, String> {
        let secrets = (0..20).map(|number| (format!("{role}/secret{number}"), "s".repeat(32)));
        Ok(Orders {
            site: Answers::nobodys(role),
            addresses: Default::default(),
            secrets: secrets.collect(),
        })
    }

    fn sign(&self, _: &str, _: &str, _: &str, _: &[u8]) -> Result<String, String> {
        Err("nothing is signed here".into())
    }

    fn answer(&self, _: &str, _: Question, _: Reply) {}

    fn stirred(&self, _: &str) {}

    fn note(&self, _: &str) {}
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// The lead, a process of its own: says where it is, and ends with its standard input.
fn lead(hosts: usize) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::open_or_create(folder.path()).unwrap();
    let token = Token::draw().unwrap();
    let facts = Facts {
        site: "5".repeat(32),
        lead: "lead".into(),
        roles: (0..hosts).map(role).collect(),
        plan: PLAN.into(),
    };
    let tasks = tasks(hosts);
    let known = tasks
        .iter()
        .map(|(id, role, after)| Known { id, role, after });
    let hub = Hub::new(known, Paper);
    drop(tasks);
    let members = Members::open(folder.path()).unwrap();
    let lobby = Lobby::new(facts, &identity, members, Some(token.clone()), hub).unwrap();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{} {}", listener.local_addr().unwrap(), token.text());
        std::io::stdout().flush().unwrap();
        lobby.serve(listener, &identity).await.unwrap();
    });
}

/// A member that does its tasks in order, each as soon as it may.
struct Agent {
    host: usize,
    hosts: usize,
    each: usize,
    /// Its tasks that are done, and those of the next host that it has heard of.
    state: Mutex<(usize, BTreeSet<String>)>,
    link: Arc<Link>,
    all: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    begun: AtomicBool,
    done: AtomicUsize,
    up: AtomicUsize,
    moved: Notify,
}

impl Progress {
    async fn until(&self, count: &AtomicUsize, wanted: usize) {
        while count.load(Ordering::SeqCst) < wanted {
            let _ = tokio::time::timeout(Duration::from_millis(50), self.moved.notified()).await;
        }
    }
}

impl Agent {
    fn go_on(&self) {
        if !self.all.begun.load(Ordering::SeqCst) {
            return;
        }
        let mut told = BTreeSet::new();
        {
            let mut state = self.state.lock().unwrap();
            let next = (self.host + 1) % self.hosts;
            while state.0 < self.each {
                let waits = state.0 > 0 && next != self.host;
                if waits && !state.1.contains(&task(next, state.0 - 1)) {
                    break;
                }
                told.insert(task(self.host, state.0));
                state.0 += 1;
            }
        }
        if !told.is_empty() {
            self.all.done.fetch_add(told.len(), Ordering::SeqCst);
            self.link.tell(told, true);
            self.all.moved.notify_one();
        }
    }
}

impl link::Host for Agent {
    fn done(&self) -> BTreeSet<String> {
        let state = self.state.lock().unwrap();
        (0..state.0).map(|number| task(self.host, number)).collect()
    }

    fn orders(&self, _: Orders) {
        self.all.up.fetch_add(1, Ordering::SeqCst);
        self.all.moved.notify_one();
    }

    fn others(&self, done: BTreeSet<String>, _: BTreeSet<String>) {
        self.state.lock().unwrap().1.extend(done);
        self.go_on();
    }

    fn status(&self) -> Option<Value> {
        None
    }

    fn answer(&self, _: Question, _: Reply) {}

    fn note(&self, words: &str) {
        eprintln!("{}: {words}", role(self.host));
    }
}

/// MiB that a process has at most had in memory.
fn peak(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}

fn round(hosts: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["lead", &hosts.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (address, token) = line.trim().split_once(' ').unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let secret = Secret::Token(Token::parse(token).unwrap());
    let alone = peak(&child);
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut joins = Vec::new();
        let mut identities = Vec::new();
        let mut lead_key = None;
        for host in 0..hosts {
            let own = folder.path().join(host.to_string());
            let identity = Identity::open_or_create(&own).unwrap();
            let role = role(host);
            let candidate = Candidate {
                identity: &identity,
                role: &role,
                plan: PLAN,
            };
            let begun = Instant::now();
            let joined = join(address, &candidate, &secret).await.unwrap();
            joins.push(begun.elapsed());
            lead_key = Some(joined.record.lead_key);
            identities.push(identity);
        }
        let all = Arc::new(Progress::default());
        let mut agents = Vec::new();
        let mut holding = Vec::new();
        for (host, identity) in identities.into_iter().enumerate() {
            let agent = Arc::new(Agent {
                host,
                hosts,
                each: TASKS / hosts,
                state: Mutex::default(),
                link: Arc::new(Link::new()),
                all: Arc::clone(&all),
            });
            let call = Call {
                address,
                lead: lead_key.unwrap(),
                other: None,
                plan: PLAN.into(),
                rhythm: Rhythm::default(),
            };
            let own = Arc::clone(&agent);
            holding.push(tokio::spawn(async move {
                let link = Arc::clone(&own.link);
                link.hold(&call, &identity, &*own).await;
            }));
            agents.push(agent);
        }
        all.until(&all.up, hosts).await;
        // All lines are up, and nothing is done yet.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        all.begun.store(true, Ordering::SeqCst);
        for agent in &agents {
            agent.go_on();
        }
        let count = TASKS / hosts * hosts;
        all.until(&all.done, count).await;
        let took = begun.elapsed();
        joins.sort();
        let grown = peak(&child);
        println!(
            "{hosts:5} members   join {:6.1} ms (median; longest {:.0} ms)   {count} tasks in \
             {:6.2} s, {:6.1} µs each   lead {grown:5.1} MiB, {:4.0} KiB a member",
            joins[joins.len() / 2].as_secs_f64() * 1e3,
            joins[joins.len() - 1].as_secs_f64() * 1e3,
            took.as_secs_f64(),
            took.as_secs_f64() * 1e6 / count as f64,
            (grown - alone) * 1024.0 / hosts as f64,
        );
        holding.iter().for_each(tokio::task::JoinHandle::abort);
    });
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let numbers = words.iter().filter_map(|word| word.parse().ok());
    let mut numbers: Vec<usize> = numbers.collect();
    if words.first().is_some_and(|word| word == "lead") {
        return lead(numbers[0]);
    }
    if numbers.is_empty() {
        numbers = vec![10, 100, 1000];
    }
    numbers.into_iter().for_each(round);
}
