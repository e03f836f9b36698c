//! `muster agent run`: bring-up, then a probe of everything each minute, for as long as the
//! host is up.

use super::facts::Facts as Image;
use super::herald::Herald;
use super::{AgentError, Result, at, host, resident, trouble, write_if_new};
use crate::bringup::board::Board;
use crate::bringup::context::Facts;
use crate::bringup::journal::Journal;
use crate::bringup::places::Places;
use crate::bringup::run::{BreakPoint, Executor, Observer, Options};
use crate::console::events::Events;
use crate::plan::Plan;
use crate::site::{Network, Site, durable};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A string of QEMU's fw_cfg that names the moment to stop at: for tests that cut the power.
const BREAK: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/muster/break/raw";

/// How long an address is waited for; without one bring-up begins all the same.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(45);

/// Runs the agent; returns only when it cannot go on, and leaves word why.
pub fn run() -> Result<()> {
    let places = Places::host();
    durable::make_directory(&places.run, 0o755).map_err(at(&places.run))?;
    let ended = bring_up(&places);
    if let Err(error) = &ended {
        let words = error.to_string();
        let words = match error.input_output() {
            Some(source) => trouble::advised(words, source),
            None => words,
        };
        trouble::tell(&places, Some(&words));
    }
    ended
}

fn bring_up(places: &Places) -> Result<()> {
    let herald = Arc::new(Herald::new(Events::open()));
    let facts = facts(places, ADDRESS_PATIENCE)?;
    let journal = Journal::open(&places.journal(), &facts.image)?;
    if let Some(torn) = journal.torn() {
        herald.note(torn);
    }
    let last = places.state.join("image-id");
    write_if_new(&last, &facts.image, 0o644)?;
    let options = Options {
        break_point: break_point(Path::new(BREAK)),
        ..Options::default()
    };
    let executor = Executor::new(
        Arc::new(facts),
        journal,
        Arc::new(Board::default()),
        options,
        Arc::clone(&herald) as Arc<dyn Observer>,
    );
    herald.expect(executor.jobs().len());
    trouble::tell(places, None);
    Err(resident::live(Arc::new(executor), herald))
}

/// What is known on this host.
pub fn facts(places: &Places, patience: Duration) -> Result<Facts> {
    let image = Image::read(&places.root)?;
    let path = places.site();
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let site: Site =
        serde_json::from_str(&text).map_err(|error| AgentError::damaged_site(path, &error))?;
    let plan = Plan::new(&image.stack);
    let known = host::addresses(&plan);
    let address = match known.get(&image.role) {
        Some(address) => Some(address.to_string()),
        None => own_address(site.network.get(&image.role), patience),
    };
    let mut facts = Facts::new(
        image.stack,
        plan,
        site,
        image.role.clone(),
        image.image_id,
        places.clone(),
    )?;
    let known = known.into_iter();
    facts.addresses = known
        .map(|(role, address)| (role, address.to_string()))
        .collect();
    if let Some(address) = address {
        facts.addresses.insert(image.role, address);
    }
    Ok(facts)
}

fn break_point(path: &Path) -> Option<BreakPoint> {
    BreakPoint::parse(&std::fs::read_to_string(path).ok()?)
}

/// The address given, else the one this host would use to reach others.
fn own_address(network: Option<&Network>, patience: Duration) -> Option<String> {
    if let Some(Network::Static { address, .. }) = network {
        return address.split('/').next().map(str::to_string);
    }
    let start = Instant::now();
    loop {
        // Documentation addresses (RFC 5737, RFC 3849): nothing is sent, the kernel only
        // picks the source address.
        for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
            let found = UdpSocket::bind(from)
                .and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
            if let Ok(address) = found
                && !address.ip().is_unspecified()
            {
                return Some(address.ip().to_string());
            }
        }
        if start.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
