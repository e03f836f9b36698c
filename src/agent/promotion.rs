//! How a deputy becomes the lead: the copy that it keeps is opened with the recovery words, and
//! put in place of what it knew as a member.
//!
//! All is written beside its place first. One rename decides: before it this host is a member,
//! and behind it it leads, whenever the power fails; what is left to do is done again by whoever
//! comes first, the agent or the next start of the host.

use super::leadership::{Leadership, TOLD};
use super::mesh::{self, folder};
use super::{AgentError, Result, at, deputy, member};
use crate::bringup::journal::now;
use crate::bringup::places::Places;
use crate::mesh::identity::{Identity, Print};
use crate::mesh::members::{Members, MembersError};
use crate::mesh::warrant::{Claim, Former, Warrant};
use crate::plan::Plan;
use crate::site::authority::{Authority, AuthorityError};
use crate::site::estate::{Estate, EstateError};
use crate::site::recovery::{self, Words};
use crate::site::sealed::{SealError, Sealed};
use crate::site::{Site, durable, estate};
use std::io;
use std::path::{Path, PathBuf};

/// What is to be put in place; there only while that is not done.
const DECIDED: &str = "promotion";
/// The same before it is decided.
const BESIDE: &str = ".promotion.new";
/// The same when it is done.
const DONE: &str = ".promotion.done";
/// The lead's files in it.
const FILES: &str = "files";

/// Why a host is not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// It leads already.
    #[error("this host, {0}, is the lead of its site already")]
    Leads(String),
    /// Another is the deputy, or nobody.
    #[error("this host, {role}, is not the deputy of its site{}", deputy.as_ref().map(|deputy| format!("; {deputy} is")).unwrap_or_else(|| ": its stack names none".into()))]
    NotDeputy {
        /// Its role.
        role: String,
        /// Who is.
        deputy: Option<String>,
    },
    /// It is of no site.
    #[error("this host has not joined a site yet, so there is none that it could lead")]
    NotJoined,
    /// Nothing was sent to it.
    #[error("the lead, {0}, has never sent this deputy a copy of the site")]
    NoCopy(String),
    /// The copy cannot be opened.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// What was in it is not whole.
    #[error("the copy is none of a lead: {0}")]
    Estate(#[from] EstateError),
    /// It is of another site.
    #[error("the copy is of another site than this host's")]
    Another,
    /// This host is not in it.
    #[error(
        "the copy was made before this host joined as {0}: its site would not know it as its own"
    )]
    Stranger(String),
    /// The table of hosts cannot be used.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Reading or writing failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// A promotion that waits to be decided.
#[derive(Debug)]
pub struct Promotion {
    state: PathBuf,
    /// By which this host will lead.
    pub warrant: Warrant,
    /// When the copy was sealed, RFC 3339 in UTC.
    pub written: String,
}

/// Whether this host may be promoted, words aside: the copy that it would use, and the key of the
/// lead.
pub fn may(
    places: &Places,
    plan: &Plan,
    role: &str,
) -> std::result::Result<(Sealed, Former), PromotionError> {
    let leadership = Leadership::of(plan, &places.state)?;
    if leadership.is_lead(role) {
        return Err(PromotionError::Leads(role.to_owned()));
    }
    if !leadership.is_deputy(role) {
        return Err(PromotionError::NotDeputy {
            role: role.to_owned(),
            deputy: leadership.deputy,
        });
    }
    let record = member::record(places)?.ok_or(PromotionError::NotJoined)?;
    let former = Former {
        key: leadership.key().unwrap_or(record.lead_key),
        role: leadership.lead,
    };
    let copy = deputy::copy(places)?;
    let copy = copy.ok_or_else(|| PromotionError::NoCopy(former.role.clone()))?;
    match copy.head.site == record.site {
        true => Ok((copy, former)),
        false => Err(PromotionError::Another),
    }
}

/// Opens the copy and lays everything out beside its place; nothing has changed then.
pub fn prepare(
    places: &Places,
    plan: &Plan,
    role: &str,
    words: &Words,
) -> std::result::Result<Promotion, PromotionError> {
    let (copy, former) = may(places, plan, role)?;
    let record = member::record(places)?.ok_or(PromotionError::NotJoined)?;
    let own = Identity::open_or_create(&folder(places)).map_err(AgentError::mesh)?;
    let opened = Estate::parse(&copy.open(words)?)?;
    let site: Site = opened
        .files
        .get(estate::SITE)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or(PromotionError::Another)?;
    let same = opened.files.get(estate::CA) == Some(&record.ca) && site.id == record.site;
    if !same {
        return Err(PromotionError::Another);
    }
    let beside = places.state.join(BESIDE);
    remove(&beside)?;
    let files = beside.join(FILES);
    durable::make_directory(&files, 0o700).map_err(at(&files))?;
    opened.put(&files)?;
    table(&files, role, own.print(), former.key)?;
    let known = Leadership::of(plan, &places.state)?.term();
    let claim = Claim {
        site: record.site,
        role: role.to_owned(),
        key: own.print(),
        term: known.max(copy.head.term) + 1,
        former,
        since: now(),
    };
    let authority = Authority::open_or_create(&files.join("ca"), "")?;
    let warrant = Warrant::sign(&authority, claim)?;
    warrant.keep(&beside).map_err(AgentError::mesh)?;
    durable::sync_filesystem(&beside).map_err(at(&beside))?;
    Ok(Promotion {
        state: places.state.clone(),
        warrant,
        written: copy.head.written,
    })
}

/// The table of hosts as the new lead has it.
fn table(
    files: &Path,
    role: &str,
    own: Print,
    former: Print,
) -> std::result::Result<(), PromotionError> {
    let mut members = Members::open(&files.join(mesh::FOLDER))?;
    if members.role_of(own) != Some(role) {
        return Err(PromotionError::Stranger(role.to_owned()));
    }
    Ok(members.promote(role, former)?)
}

impl Promotion {
    /// Decides it: from here on this host leads.
    pub fn decide(&self) -> Result<()> {
        let (beside, decided) = (self.state.join(BESIDE), self.state.join(DECIDED));
        std::fs::rename(&beside, &decided).map_err(at(&decided))?;
        durable::sync_directory(&self.state).map_err(at(&self.state))
    }
}

/// Whether a promotion was decided and is not done.
pub fn is_decided(state: &Path) -> bool {
    state.join(DECIDED).exists()
}

/// Does what a promotion that was decided has left to do; whether there was one. Done again it
/// comes to the same.
pub fn finish(state: &Path) -> Result<bool> {
    remove(&state.join(DONE))?;
    let decided = state.join(DECIDED);
    if !decided.exists() {
        // What was opened and not decided: the secrets of others, in clear.
        remove(&state.join(BESIDE))?;
        return Ok(false);
    }
    let broken = |error: &dyn std::fmt::Display| AgentError::Content {
        path: decided.clone(),
        reason: format!("a promotion cannot be ended: {error}"),
    };
    let files = Estate::gather(&decided.join(FILES)).map_err(|error| broken(&error))?;
    files.put(state).map_err(|error| broken(&error))?;
    // Whoever gave the words has them.
    let folder = state.join(super::keeper::RECOVERY);
    recovery::shown(&folder).map_err(AgentError::mesh)?;
    let warrant = Warrant::kept(&decided).map_err(AgentError::mesh)?;
    let warrant = warrant.ok_or_else(|| broken(&"there is no warrant in it"))?;
    warrant
        .keep(&state.join(mesh::FOLDER))
        .map_err(AgentError::mesh)?;
    // What a member knows, and what a deputy keeps.
    for name in [mesh::RECORD, mesh::LEAD, TOLD, deputy::FOLDER] {
        remove(&state.join(name))?;
    }
    std::fs::rename(&decided, state.join(DONE)).map_err(at(&decided))?;
    durable::sync_directory(state).map_err(at(state))?;
    remove(&state.join(DONE))?;
    Ok(true)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
