//! `tcp`: a port accepts connections.

use super::{Arguments, Kind};
use crate::bringup::wire::stream::Stream;
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Tcp;

impl Kind for Tcp {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let stream = Stream::plain(network, with.get("host")?, with.port("port")?)?;
        Ok(format!("{} accepts connections", stream.address()))
    }
}
