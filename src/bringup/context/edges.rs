//! What templates see of the graph: values of needs, and the consumer of a grant.

use super::{DEEPEST, Facts, View, drawn, lazy, lost, service};
use crate::bringup::render::Renderer;
use crate::plan::{Integration, relative};
use crate::profile::Provide;
use minijinja::Error;
use minijinja::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn needs(renderer: &Arc<Renderer>, view: &View) -> Result<Value, Error> {
    if view.depth > DEEPEST {
        return Err(lost("these needs name each other in a circle"));
    }
    let facts = &renderer.facts;
    let bound: Vec<(String, usize)> = facts
        .plan
        .integrations
        .iter()
        .enumerate()
        .filter(|(_, integration)| {
            integration.consumer == view.instance && facts.active(integration)
        })
        .map(|(index, integration)| (integration.need.clone(), index))
        .collect();
    let many: BTreeSet<String> = service(facts, &view.instance)?
        .needs
        .iter()
        .filter(|(_, need)| need.many)
        .map(|(name, _)| name.clone())
        .collect();
    let proven = view.edge.and_then(|index| {
        facts
            .plan
            .integrations
            .get(index)
            .map(|edge| (index, edge.need.clone()))
    });
    let mut keys: BTreeSet<String> = bound.iter().map(|(need, _)| need.clone()).collect();
    keys.extend(many.iter().cloned());
    let (renderer, depth) = (Arc::clone(renderer), view.depth);
    Ok(lazy(keys.into_iter().collect(), move |need| {
        if let Some((index, _)) = proven.as_ref().filter(|(_, name)| name == need) {
            return provided(&renderer, *index, depth);
        }
        let mut values = bound
            .iter()
            .filter(|(name, _)| name == need)
            .map(|(_, index)| provided(&renderer, *index, depth));
        if many.contains(need) {
            values
                .collect::<Result<Vec<Value>, Error>>()
                .map(Value::from)
        } else {
            values.next().unwrap_or_else(|| Err(lost("unbound")))
        }
    }))
}

fn edge(facts: &Facts, index: usize) -> Result<&Integration, Error> {
    facts
        .plan
        .integrations
        .get(index)
        .ok_or_else(|| lost("the plan has no such integration"))
}

fn provide<'a>(facts: &'a Facts, edge: &Integration) -> Result<&'a Provide, Error> {
    service(facts, &edge.provider)?
        .provides
        .get(&edge.provide)
        .ok_or_else(|| lost(&format!("{} provides no {}", edge.provider, edge.provide)))
}

/// The values of one edge, each rendered in the provider's context when it is read.
fn provided(renderer: &Arc<Renderer>, index: usize, depth: u8) -> Result<Value, Error> {
    let edge = edge(&renderer.facts, index)?;
    let values = provide(&renderer.facts, edge)?.values.clone();
    let view = View {
        grant: Some(index),
        depth: depth + 1,
        ..View::of(&edge.provider)
    };
    let (renderer, id) = (Arc::clone(renderer), edge.id.clone());
    Ok(lazy(values.keys().cloned().collect(), move |key| {
        let template = values.get(key).ok_or_else(|| lost("no such value"))?;
        renderer
            .text(&format!("{id}: {key}"), template, &view)
            .map(Value::from)
    }))
}

/// The consumer as its provider sees it: who it is, and its parameters.
pub(super) fn consumer(renderer: &Arc<Renderer>, view: &View) -> Result<Value, Error> {
    let index = view.grant.ok_or_else(|| lost("no consumer here"))?;
    let edge = edge(&renderer.facts, index)?.clone();
    let mut keys: Vec<String> = ["service", "role", "host", "need"]
        .map(str::to_string)
        .to_vec();
    keys.extend(edge.with.keys().cloned());
    let inner = View {
        depth: view.depth + 1,
        ..View::of(&edge.consumer)
    };
    let renderer = Arc::clone(renderer);
    Ok(lazy(keys, move |key| match (key, edge.with.get(key)) {
        (_, Some(template)) => renderer
            .text(&format!("{}: {key}", edge.id), template, &inner)
            .map(Value::from),
        ("service", _) => Ok(Value::from(&edge.consumer.service)),
        ("role", _) => Ok(Value::from(&edge.consumer.role)),
        ("host", _) => Ok(Value::from(renderer.facts.fqdn(&edge.consumer.role))),
        _ => Ok(Value::from(&edge.need)),
    }))
}

/// What was made for one consumer alone.
pub(super) fn grant(facts: &Arc<Facts>, view: &View) -> Result<Value, Error> {
    let index = view.grant.ok_or_else(|| lost("no grant here"))?;
    let edge = edge(facts, index)?;
    let specs = provide(facts, edge)?.secrets.clone();
    let folder = format!(
        "{}/{}/{}.{}",
        edge.provider,
        edge.provide,
        relative(&edge.consumer, &edge.provider.role),
        edge.need
    );
    let secrets = drawn(facts, specs, folder);
    Ok(Value::from(BTreeMap::from([("secrets", secrets)])))
}
