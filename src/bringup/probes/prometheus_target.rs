//! `prometheus-target`: Prometheus itself reports the target as up.

use super::http::expect;
use super::{Arguments, Kind};
use crate::bringup::wire::http::{Browser, Url};
use crate::bringup::wire::{Network, Refusal};
use serde_json::Value;
use std::time::Duration;

/// How long the target may take to answer, for each connect, read and write, where Prometheus
/// has waited in vain for it the last time.
const NOW: Duration = Duration::from_secs(4);

/// Prometheus takes no figures older than those it has. The place is that of Debian's package.
const FUTURE: &str = ": it has figures of a later time, from when the clock was wrong; put them \
    aside: systemctl stop prometheus; mv /var/lib/prometheus/metrics2 \
    /var/lib/prometheus/metrics2.later; systemctl start prometheus";

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct PrometheusTarget;

impl Kind for PrometheusTarget {
    fn name(&self) -> &'static str {
        "prometheus-target"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let base = with.get("url")?.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/api/v1/targets?state=active"))?;
        let page = Browser::new(network, None).get(&url)?;
        expect(&page, "200")?;
        let targets: Value = serde_json::from_str(&page.body)
            .map_err(|error| Refusal::Other(format!("{url} gives no JSON: {error}")))?;
        let (job, instance) = (with.get("job")?, with.get("instance")?);
        let target = find(&targets, job, instance)?;
        let verdict = verdict(target, job, instance);
        // What Prometheus knows is of its last round: either of the two may have been busy then.
        if verdict.is_err() && came_too_late(target) && answers(target, network) {
            return Ok(format!(
                "Prometheus scrapes {instance} of job {job}; the last answer came too late, and \
                 now there is one"
            ));
        }
        verdict
    }
}

fn find<'t>(targets: &'t Value, job: &str, instance: &str) -> Result<&'t Value, Refusal> {
    let targets = targets["data"]["activeTargets"].as_array();
    let mut targets = targets.into_iter().flatten();
    targets
        .find(|target| target["labels"]["job"] == job && target["labels"]["instance"] == instance)
        .ok_or_else(|| Refusal::Other(format!("Prometheus has no target {instance} in job {job}")))
}

fn came_too_late(target: &Value) -> bool {
    let why = target["lastError"].as_str().unwrap_or_default();
    why.contains("context deadline exceeded")
}

/// Whether the target answers now, asked as Prometheus asks it.
fn answers(target: &Value, network: &Network) -> bool {
    let network = Network {
        limit: network.limit.min(NOW),
        ..network.clone()
    };
    let page = target["scrapeUrl"].as_str().and_then(|url| {
        let url = Url::parse(url).ok()?;
        Browser::new(&network, None).get(&url).ok()
    });
    page.is_some_and(|page| expect(&page, "200").is_ok())
}

fn verdict(target: &Value, job: &str, instance: &str) -> Result<String, Refusal> {
    match target["health"].as_str() {
        Some("up") => Ok(format!("Prometheus scrapes {instance} of job {job}")),
        Some("down") => {
            let why = target["lastError"]
                .as_str()
                .unwrap_or("it does not say why");
            let advice = if why.contains("out of bounds") {
                FUTURE
            } else {
                ""
            };
            let what = format!("Prometheus cannot scrape {instance}");
            Err(Refusal::said(what, format!("{why}{advice}")))
        }
        _ => Err(Refusal::Other(format!(
            "Prometheus has not scraped {instance} yet"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_down_is_refused_in_prometheus_own_words() {
        let targets = serde_json::json!({"data": {"activeTargets": [
            {"labels": {"job": "node", "instance": "a:9100"}, "health": "up"},
            {"labels": {"job": "node", "instance": "b:9100"}, "health": "down",
             "lastError": "connect: connection refused"},
            {"labels": {"job": "node", "instance": "c:9100"}, "health": "unknown"},
            {"labels": {"job": "node", "instance": "e:9100"}, "health": "down",
             "lastError": "out of bounds"},
        ]}});
        let found = |instance| {
            find(&targets, "node", instance).and_then(|target| verdict(target, "node", instance))
        };
        let words = |instance| match found(instance) {
            Ok(words) => words,
            Err(refusal) => format!("red: {refusal}"),
        };
        assert_eq!(words("a:9100"), "Prometheus scrapes a:9100 of job node");
        assert_eq!(
            words("b:9100"),
            "red: Prometheus cannot scrape b:9100: connect: connection refused"
        );
        assert_eq!(
            words("c:9100"),
            "red: Prometheus has not scraped c:9100 yet"
        );
        assert_eq!(
            words("e:9100"),
            "red: Prometheus cannot scrape e:9100: out of bounds: it has figures of a later time, \
             from when the clock was wrong; put them aside: systemctl stop prometheus; mv \
             /var/lib/prometheus/metrics2 /var/lib/prometheus/metrics2.later; systemctl start \
             prometheus"
        );
        assert_eq!(
            words("d:9100"),
            "red: Prometheus has no target d:9100 in job node"
        );
    }
}
