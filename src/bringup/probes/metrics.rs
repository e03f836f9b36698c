//! `metrics`: a page of figures contains the one named.

use super::http::{contains, expect};
use super::{Arguments, Kind};
use crate::bringup::wire::http::{Browser, Url};
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Metrics;

impl Kind for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let url = Url::parse(with.get("url")?)?;
        let wanted = with.get("contains")?;
        let page = Browser::new(network, None).get(&url)?;
        expect(&page, "200")?;
        contains(&page, wanted)?;
        Ok(format!("{url} has {wanted}"))
    }
}
