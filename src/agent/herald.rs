//! Tells what happens: events to whoever started the machine, short lines to the consoles.

use super::setup;
use crate::bringup::run::{Moment, Observer};
use crate::bringup::status::{self, Status};
use crate::console::events::{self, Event, Events};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A line of an 80-column screen without wrapping.
const WIDTH: usize = 79;

/// Who tells.
#[derive(Debug)]
pub struct Herald {
    events: Events,
    consoles: Vec<PathBuf>,
    total: AtomicUsize,
    done: AtomicUsize,
    /// Once people may have logged in, consoles are theirs.
    quiet: AtomicBool,
}

impl Herald {
    /// Tells the events port and every console of the kernel.
    pub fn new(events: Events) -> Herald {
        Herald {
            events,
            // Whoever has none is told over the events alone.
            consoles: setup::consoles().unwrap_or_default(),
            total: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            quiet: AtomicBool::new(false),
        }
    }

    /// How many tasks there are in all.
    pub fn expect(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// No more lines on consoles.
    pub fn hush(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// This host leads its site, which has had so many leads.
    pub fn leads(&self, term: u64) {
        self.events.emit(&Event::Leads { term });
    }

    /// How bring-up has ended; the banner goes to the consoles.
    pub fn ended(&self, status: &Status) {
        self.outcome(status);
        self.say(&banner(status));
    }

    /// How bring-up stands now.
    pub fn outcome(&self, status: &Status) {
        self.events.emit(&Event::BringUp {
            outcome: match status.outcome {
                status::Outcome::Green => events::Outcome::Green,
                status::Outcome::Red => events::Outcome::Red,
                status::Outcome::Unfinished => events::Outcome::Unfinished,
            },
            proven: status.proven,
            total: status.total,
        });
    }

    /// Tells whoever is at a console what only they can do, whether others work there or not.
    pub fn call(&self, text: &str) {
        println!("{text}");
        self.show(text);
    }

    /// Writes text to the journal of systemd (standard output) and to every console.
    fn say(&self, text: &str) {
        println!("{text}");
        if !self.quiet.load(Ordering::Relaxed) {
            self.show(text);
        }
    }

    /// Writes to every console; one that takes nothing is left out, it must not hold up the host.
    fn show(&self, text: &str) {
        for console in &self.consoles {
            let opened = OpenOptions::new()
                .write(true)
                .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC)
                .open(console);
            if let Ok(mut console) = opened {
                // A stuck console loses its line. It may show a login prompt: write over that.
                let _ = console.write_all(format!("\r{text}\n").as_bytes());
            }
        }
    }
}

impl Observer for Herald {
    fn task(&self, id: &str, moment: Moment, message: &str) {
        self.events.emit(&Event::Task {
            id: id.to_string(),
            moment: match moment {
                Moment::Started => events::Moment::Started,
                Moment::Applied => events::Moment::Applied,
                Moment::Done => events::Moment::Done,
                Moment::Failed => events::Moment::Failed,
            },
            message: message.to_string(),
        });
        match moment {
            Moment::Done => self.say(&short(&format!("  done    {id}: {message}"))),
            // Why it failed is worth more than one line.
            Moment::Failed => self.say(&format!("  failed  {id}: {message}")),
            Moment::Started | Moment::Applied => {}
        }
    }

    fn settled(&self, _id: &str) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn phase(&self, name: &str, title: &str) {
        self.events.emit(&Event::Phase {
            name: name.to_string(),
        });
        self.say(&short(&format!(
            "[{:>3}/{}] {title}",
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed)
        )));
    }

    fn note(&self, text: &str) {
        self.say(&format!("  note    {text}"));
    }
}

/// At most one line of a screen.
fn short(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_string();
    }
    let mut cut: String = text.chars().take(WIDTH - 3).collect();
    cut.push_str("...");
    cut
}

/// The last word of bring-up: what runs where, what does not, and how to go on.
fn banner(status: &Status) -> String {
    let mut text = String::new();
    let names: Vec<&str> = status.hosts.iter().map(|host| host.fqdn.as_str()).collect();
    let (name, is) = match &names[..] {
        [] => ("this host".to_owned(), "is"),
        [name] => ((*name).to_owned(), "is"),
        [first @ .., last] => (format!("{} and {last}", first.join(", ")), "are"),
    };
    text.push_str(&match status.outcome {
        status::Outcome::Green => format!(
            "\n{name} {is} up: all {} integrations and services are proven.\n",
            status.total
        ),
        _ => format!(
            "\n{name} {is} not up: {} of {} integrations and services are proven.\n",
            status.proven, status.total
        ),
    });
    for route in &status.routes {
        text.push_str(&format!("  {:<40} {}\n", route.url, route.summary));
    }
    let own = status.hosts.first();
    if let Some(host) = own.filter(|host| !host.address.is_empty()) {
        text.push_str(&format!("  address {}\n", host.address));
    }
    let failed = status
        .attention
        .iter()
        .filter(|attention| attention.stand == crate::bringup::board::TaskStand::Failed);
    for attention in failed {
        text.push_str(&format!(
            "  red: {}: {}\n       {}\n",
            attention.task, attention.reason, attention.next
        ));
    }
    text.push_str("  How it stands: muster status\n  Press Enter to log in.\n");
    text
}
