//! The clock of this host.

use crate::mesh::clock::Clock;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// The one that every program on it reads.
#[derive(Debug, Clone, Copy)]
pub struct Own;

impl Clock for Own {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn set(&self, to: SystemTime) -> io::Result<()> {
        let since = to.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        Ok(clock_settime(
            ClockId::CLOCK_REALTIME,
            TimeSpec::from_duration(since),
        )?)
    }
}
