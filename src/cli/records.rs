//! `muster records`: what the rest of the world must be told of the site's domains.

use super::{Cli, exit, host, out};
use crate::agent::leadership::Leadership;
use crate::agent::run::facts;
use crate::bringup::names::{public, zones};
use crate::bringup::places::Places;
use crate::bringup::render::Renderer;
use miette::{IntoDiagnostic, miette};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Options of `records`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Address at which the site is reached from outside
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
}

/// Runs it.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let places = Places::host();
    host::required(
        &places.root,
        "records",
        "log in to the lead of a site, muster ssh STACK, and run it there: sudo muster records",
    )?;
    if !nix::unistd::geteuid().is_root() {
        return Err(miette!(
            help = "run it as root: sudo muster records",
            "the public halves of the site's keys lie beside the private ones, which root alone reads"
        ));
    }
    let mut facts = facts(&places, Duration::ZERO).map_err(|error| {
        miette!(
            help = "answer its questions: sudo muster setup; or see: systemctl status muster-setup",
            "this host is not set up: {error}"
        )
    })?;
    let leadership = Leadership::of(&facts.plan, &places.state).into_diagnostic()?;
    if !leadership.is_lead(&facts.role) {
        return Err(miette!(
            help = format!("run it on {}", leadership.lead),
            "this host, {}, is not the lead of its site, and does not know all records",
            facts.role
        ));
    }
    // Drawing keys is the agent's.
    facts.secrets = facts.secrets.given();
    let facts = Arc::new(facts);
    let zones = zones(&Renderer::new(Arc::clone(&facts)), 0).map_err(|error| {
        miette!(
            help = "how far it is: muster status",
            "this site is not brought up far enough: {error:#}"
        )
    })?;
    out::write(public(&facts, &zones, args.address))?;
    Ok(exit::OK)
}
