//! Tasks and their order.
//!
//! Per instance: what its providers do for it, then its own steps in a chain, then its own
//! probes. The probes of integrations come last in each phase, because a real attempt
//! (a mail sent through the webmail) uses more than one integration of its consumer.

use super::{Integration, Plan, Task, TaskKind};
use crate::profile::{Action, Binding, Instance, Probe, Stack, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Fills [`Plan::integrations`] and [`Plan::tasks`].
pub fn order(stack: &Stack, plan: &mut Plan) {
    plan.integrations = stack
        .bindings
        .iter()
        .map(|binding| integration(stack, binding))
        .collect();
    let mut drafts = Drafts {
        stack,
        plan,
        ends: BTreeMap::new(),
    };
    for phase in 0..stack.phases.len() {
        let instances = drafts.instances_of(phase);
        for instance in &instances {
            drafts.steps_and_probes(phase, instance);
        }
        let phase_steps: Vec<String> = instances
            .iter()
            .flat_map(|i| drafts.ends[i].steps.clone())
            .collect();
        for instance in &instances {
            drafts.integration_probes(phase, instance, &phase_steps);
        }
    }
}

fn integration(stack: &Stack, binding: &Binding) -> Integration {
    let need = stack
        .services
        .get(&binding.consumer.service)
        .and_then(|s| s.needs.get(&binding.need));
    let mut provider = binding.provider.to_string();
    if provide_is_one_of_several(stack, binding) {
        provider = format!("{provider}.{}", binding.provide);
    }
    Integration {
        id: format!("{}.{} -> {provider}", binding.consumer, binding.need),
        consumer: binding.consumer.clone(),
        need: binding.need.clone(),
        interface: binding.interface.clone(),
        provider: binding.provider.clone(),
        provide: binding.provide.clone(),
        with: need.map(|need| need.with.clone()).unwrap_or_default(),
        probes: Vec::new(),
    }
}

/// Whether the same need is bound to this provider more than once.
fn provide_is_one_of_several(stack: &Stack, binding: &Binding) -> bool {
    let same = |other: &&Binding| {
        other.consumer == binding.consumer
            && other.need == binding.need
            && other.provider == binding.provider
    };
    stack.bindings.iter().filter(same).count() > 1
}

/// The tasks after which an instance is as far as that.
#[derive(Debug, Clone, Default)]
struct Ends {
    /// Its own steps and all they wait for.
    steps: Vec<String>,
    /// Its own probes; empty when it has none.
    probes: Vec<String>,
}

struct Drafts<'a> {
    stack: &'a Stack,
    plan: &'a mut Plan,
    ends: BTreeMap<Instance, Ends>,
}

impl Drafts<'_> {
    /// Instances of a phase: as the phase and the roles list them, providers first.
    fn instances_of(&self, phase: usize) -> Vec<Instance> {
        let mut waiting: Vec<Instance> = Vec::new();
        for service in &self.stack.phases[phase].services {
            for role in self
                .stack
                .roles
                .iter()
                .filter(|role| role.services.contains(service))
            {
                waiting.push(Instance {
                    role: role.name.clone(),
                    service: service.clone(),
                });
            }
        }
        let mut sorted: Vec<Instance> = Vec::new();
        while !waiting.is_empty() {
            let ready = |instance: &Instance| {
                let mut bindings = self
                    .stack
                    .bindings
                    .iter()
                    .filter(|b| b.consumer == *instance);
                bindings.all(|b| !waiting.contains(&b.provider))
            };
            // `check` refuses circles; in an unchecked stack the first listed goes first.
            let next = waiting.iter().position(ready).unwrap_or(0);
            sorted.push(waiting.remove(next));
        }
        sorted
    }

    fn steps_and_probes(&mut self, phase: usize, instance: &Instance) {
        let Some(service) = self.stack.services.get(&instance.service) else {
            return;
        };
        let mut ends: Vec<String> = Vec::new();
        for index in 0..self.plan.integrations.len() {
            if self.plan.integrations[index].consumer == *instance {
                ends.extend(self.grant(phase, index));
            }
        }
        dedup(&mut ends);
        let prefix = instance.to_string();
        let ends = self.chain(phase, instance, None, &prefix, &service.steps, ends);
        let mut probes = Vec::new();
        for probe in &service.probes {
            let id = format!("{prefix}/probe/{}", probe.id);
            self.push_probe(phase, instance, None, &id, ends.clone(), probe);
            probes.push(id);
        }
        self.ends.insert(
            instance.clone(),
            Ends {
                steps: ends,
                probes,
            },
        );
    }

    /// What a provider does for one consumer; gives the tasks after which it is done.
    fn grant(&mut self, phase: usize, index: usize) -> Vec<String> {
        let edge = &self.plan.integrations[index];
        let provider = edge.provider.clone();
        let after = self
            .ends
            .get(&provider)
            .map(|ends| ends.steps.clone())
            .unwrap_or_default();
        let Some(service) = self.stack.services.get(&provider.service) else {
            return after;
        };
        let Some(offer) = service.provides.get(&edge.provide) else {
            return after;
        };
        let prefix = format!(
            "{provider}/{}/{}.{}",
            edge.provide,
            relative(&edge.consumer, &provider.role),
            edge.need
        );
        self.chain(phase, &provider, Some(index), &prefix, &offer.steps, after)
    }

    /// Steps one after the other; gives the tasks after which all are done.
    fn chain(
        &mut self,
        phase: usize,
        instance: &Instance,
        integration: Option<usize>,
        prefix: &str,
        steps: &[Step],
        mut after: Vec<String>,
    ) -> Vec<String> {
        for step in steps {
            let id = format!("{prefix}/{}", step.id);
            let mut action = step.action.clone();
            if let Action::Unit { watch, .. } = &mut action {
                for watched in watch {
                    *watched = format!("{prefix}/{watched}");
                }
            }
            self.plan.tasks.push(Task {
                id: id.clone(),
                phase,
                instance: instance.clone(),
                integration,
                after: std::mem::replace(&mut after, vec![id]),
                kind: TaskKind::Step {
                    when: step.when.clone(),
                    each: step.each.clone(),
                    effect: step.effect,
                    step: action,
                },
            });
        }
        after
    }

    fn integration_probes(&mut self, phase: usize, consumer: &Instance, phase_steps: &[String]) {
        let Some(service) = self.stack.services.get(&consumer.service) else {
            return;
        };
        for index in 0..self.plan.integrations.len() {
            let edge = &self.plan.integrations[index];
            if edge.consumer != *consumer {
                continue;
            }
            let Some(need) = service.needs.get(&edge.need) else {
                continue;
            };
            let provider = edge.provider.clone();
            let mut name = relative(&provider, &consumer.role);
            if edge.id.ends_with(&format!("{provider}.{}", edge.provide)) {
                name = format!("{name}.{}", edge.provide);
            }
            let prefix = format!("{consumer}/{}/{name}", edge.need);
            let mut after = phase_steps.to_vec();
            for end in [consumer, &provider] {
                after.extend(
                    self.ends
                        .get(end)
                        .map(|e| e.probes.clone())
                        .unwrap_or_default(),
                );
            }
            dedup(&mut after);
            for probe in &need.verify {
                let id = format!("{prefix}/{}", probe.id);
                self.push_probe(phase, consumer, Some(index), &id, after.clone(), probe);
                self.plan.integrations[index].probes.push(id);
            }
        }
    }

    fn push_probe(
        &mut self,
        phase: usize,
        instance: &Instance,
        integration: Option<usize>,
        id: &str,
        after: Vec<String>,
        probe: &Probe,
    ) {
        self.plan.tasks.push(Task {
            id: id.to_owned(),
            phase,
            instance: instance.clone(),
            integration,
            after,
            kind: TaskKind::Probe {
                probe: probe.clone(),
            },
        });
    }
}

/// `service` as seen from its own role, `role.service` from another.
pub fn relative(instance: &Instance, role: &str) -> String {
    match instance.role == role {
        true => instance.service.clone(),
        false => format!("{}.{}", instance.role, instance.service),
    }
}

/// Drops what was there before, and keeps the order.
fn dedup(ids: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}
