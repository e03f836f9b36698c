//! `muster agent run`: bring-up, then a probe of everything each minute, for as long as the
//! host is up.

use super::facts::Facts as Image;
use super::herald::Herald;
use super::leadership::Leadership;
use super::member::{self, Member, Remote};
use super::mesh::{Mesh, Teller};
use super::view::View;
use super::{
    AgentError, Result, at, host, lead, promotion, resident, setup, trouble, write_if_new,
};
use crate::bringup::board::Board;
use crate::bringup::context::Facts;
use crate::bringup::journal::Journal;
use crate::bringup::places::Places;
use crate::bringup::run::{BreakPoint, Executor, Observer, Options};
use crate::console::events::Events;
use crate::mesh::line::link::Link;
use crate::plan::Plan;
use crate::site::authority::{Own, Signs};
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
    let image = Image::read(&places.root)?;
    let plan = Plan::new(&image.stack);
    if promotion::finish(&places.state)? {
        herald.call(&format!(
            "\nThis host, {}, leads its site from now on.\n",
            image.role
        ));
        // Its packet filter, and what else a lead has.
        setup::settle(&places.root, &image)?;
    }
    let leadership = Leadership::of(&plan, &places.state)?;
    if let Some(words) = leadership.deposed(&image.role, &places.state) {
        return Err(AgentError::Mesh(words));
    }
    match leadership.is_lead(&image.role) {
        true => as_lead(places, herald, &leadership, plan.hosts.len() > 1),
        false => as_member(places, herald, &image, &plan, &leadership),
    }
}

fn journal(places: &Places, image: &str, herald: &Herald) -> Result<Journal> {
    let journal = Journal::open(&places.journal(), image)?;
    if let Some(torn) = journal.torn() {
        herald.note(torn);
    }
    let last = places.state.join("image-id");
    write_if_new(&last, image, 0o644)?;
    Ok(journal)
}

/// The executor of this host, which tells the others what is done.
fn executor(
    facts: Arc<Facts>,
    herald: &Arc<Herald>,
    mesh: Mesh,
    signer: Arc<dyn Signs>,
) -> Result<Arc<Executor>> {
    let journal = journal(&facts.places, &facts.image, herald)?;
    let options = Options {
        break_point: break_point(Path::new(BREAK)),
        ..Options::default()
    };
    let teller = Teller {
        herald: Arc::clone(herald),
        mesh,
        facts: Arc::clone(&facts),
    };
    let board = Arc::new(Board::default());
    let executor = Executor::new(facts, journal, board, options, Arc::new(teller), signer);
    herald.expect(executor.jobs().len());
    trouble::tell(&executor.facts().places, None);
    Ok(Arc::new(executor))
}

fn as_lead(
    places: &Places,
    herald: Arc<Herald>,
    leadership: &Leadership,
    has_members: bool,
) -> Result<()> {
    herald.leads(leadership.term());
    let facts = Arc::new(facts(places, ADDRESS_PATIENCE)?);
    let organisation = facts.site.organisations.first();
    let own = Own {
        folder: places.authority(),
        organisation: organisation.map(|one| one.name.clone()).unwrap_or_default(),
    };
    let lobby = match has_members {
        true => Some(lead::open(&facts, own.clone(), &herald, leadership)?),
        false => None,
    };
    let mesh = lobby.clone().map_or(Mesh::Alone, Mesh::Lead);
    let executor = executor(facts, &herald, mesh.clone(), Arc::new(own))?;
    let view = View::new(executor, mesh);
    let begin = || match lobby {
        Some(lobby) => lead::attend(lobby, Arc::clone(&view), Arc::clone(&herald)),
        None => Ok(()),
    };
    Err(resident::live(&view, &herald, begin))
}

fn as_member(
    places: &Places,
    herald: Arc<Herald>,
    image: &Image,
    plan: &Plan,
    leadership: &Leadership,
) -> Result<()> {
    let record = member::become_one(plan, &image.role, places, &herald)?;
    let link = Arc::new(Link::new());
    let member = Member::new(places, &herald, &record, leadership);
    member::hold(plan, &link, &member)?;
    if !places.site().exists() {
        member.wait();
        setup::settle(&places.root, image)?;
    }
    let mut facts = facts(places, ADDRESS_PATIENCE)?;
    facts.secrets = facts.secrets.given();
    let signer = Remote {
        link: Arc::clone(&link),
        ca: record.ca.clone(),
    };
    let mesh = Mesh::Member(Arc::clone(&link));
    let executor = executor(Arc::new(facts), &herald, mesh.clone(), Arc::new(signer))?;
    let view = View::new(executor, mesh);
    let begin = || {
        member.begin(&view);
        // What the lead said before there was anybody to hear it is said again.
        link.redial();
        Ok(())
    };
    Err(resident::live(&view, &herald, begin))
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
