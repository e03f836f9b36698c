//! `ntp`: a time server gives the time, and this host's clock agrees.

use super::{Arguments, Kind};
use crate::bringup::wire::ntp::{Said, ask_time};
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Ntp;

/// Seconds by which the clocks may differ: far below what a certificate, a ticket or a log of
/// several hosts would be hurt by.
const AGREE: f64 = 1.0;

impl Kind for Ntp {
    fn name(&self) -> &'static str {
        "ntp"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let server = with.get("server")?;
        judge(server, ask_time(network.resolve(server)?, network.knock())?)
    }
}

fn judge(server: &str, said: Said) -> Result<String, Refusal> {
    let Said {
        stratum,
        ahead,
        delay,
    } = said;
    let words = format!("{server} (stratum {stratum}) is {ahead:.3} s ahead of this host's clock");
    match ahead.abs() <= AGREE + delay.max(0.0) / 2.0 {
        true => Ok(words),
        false => Err(Refusal::Other(format!(
            "{words}; chronyc tracking tells why it does not follow"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_does_not_agree_is_red() {
        let told = |ahead, delay| {
            let judged = judge(
                "core",
                Said {
                    stratum: 10,
                    ahead,
                    delay,
                },
            );
            judged.unwrap_or_else(|refusal| format!("red: {refusal}"))
        };
        assert_eq!(
            told(-0.0204, 0.01),
            "core (stratum 10) is -0.020 s ahead of this host's clock"
        );
        // Nobody can know better than half of the way there and back.
        assert_eq!(
            told(2.5, 4.0),
            "core (stratum 10) is 2.500 s ahead of this host's clock"
        );
        assert_eq!(
            told(-63072000.0, 0.01),
            "red: core (stratum 10) is -63072000.000 s ahead of this host's clock; \
             chronyc tracking tells why it does not follow"
        );
    }
}
