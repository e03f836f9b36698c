//! Every need finds its provider: by itself where there is one, else by `[[bind]]`.

use super::interfaces;
use super::notes::Notes;
use super::parse::stack::Bind;
use super::problem::suggest;
use super::{Binding, Instance, Need, Stack};

/// Binds every need of every instance; what cannot be bound is a problem. `providers` names
/// all services there are that provide an interface.
pub fn bind(
    stack: &Stack,
    binds: &[Bind],
    notes: &Notes,
    providers: &dyn Fn(&str) -> Vec<String>,
) -> Vec<Binding> {
    let mut bindings = Vec::new();
    let mut used = vec![false; binds.len()];
    for consumer in instances(stack) {
        let Some(service) = stack.services.get(&consumer.service) else {
            continue;
        };
        for (name, need) in &service.needs {
            let by_hand: Vec<&Bind> = binds
                .iter()
                .zip(&mut used)
                .filter(|(bind, _)| bind.need == *name && names(&bind.consumer, &consumer))
                .map(|(bind, used)| {
                    *used = true;
                    bind
                })
                .collect();
            let all = candidates(stack, &consumer, need);
            let chosen = match by_hand.is_empty() {
                false => chosen_by_hand(&by_hand, binds, &all, notes),
                true => chosen_alone(stack, &consumer, name, need, &all, notes, providers),
            };
            bindings.extend(chosen.into_iter().map(|candidate| Binding {
                consumer: consumer.clone(),
                need: name.clone(),
                interface: need.interface.clone(),
                provider: candidate.provider,
                provide: candidate.provide,
            }));
        }
    }
    for (index, bind) in binds.iter().enumerate().filter(|(index, _)| !used[*index]) {
        unused(stack, index, bind, notes);
    }
    bindings.sort();
    bindings
}

/// Every service of every role, in stack order.
pub fn instances(stack: &Stack) -> Vec<Instance> {
    let of_role = |role: &super::Role| {
        let name = role.name.clone();
        let instance = move |service: &String| Instance {
            role: name.clone(),
            service: service.clone(),
        };
        role.services.iter().map(instance).collect::<Vec<_>>()
    };
    stack.roles.iter().flat_map(of_role).collect()
}

#[derive(Clone, PartialEq)]
struct Candidate {
    provider: Instance,
    provide: String,
}

/// Whether `text` (`service` or `role/service`) names the instance.
fn names(text: &str, instance: &Instance) -> bool {
    match text.split_once('/') {
        Some((role, service)) => instance.role == role && instance.service == service,
        None => instance.service == text,
    }
}

fn candidates(stack: &Stack, consumer: &Instance, need: &Need) -> Vec<Candidate> {
    let same_host = interfaces::find(&need.interface).is_some_and(|i| i.same_host);
    let mut found = Vec::new();
    for provider in instances(stack) {
        if provider == *consumer || (same_host && provider.role != consumer.role) {
            continue;
        }
        let Some(service) = stack.services.get(&provider.service) else {
            continue;
        };
        for (provide, offer) in &service.provides {
            if offer.interface == need.interface {
                found.push(Candidate {
                    provider: provider.clone(),
                    provide: provide.clone(),
                });
            }
        }
    }
    found
}

fn chosen_by_hand(
    by_hand: &[&Bind],
    binds: &[Bind],
    all: &[Candidate],
    notes: &Notes,
) -> Vec<Candidate> {
    let mut chosen = Vec::new();
    for bind in by_hand {
        let index = binds
            .iter()
            .position(|other| std::ptr::eq(other, *bind))
            .unwrap_or(0);
        let matching: Vec<&Candidate> = all
            .iter()
            .filter(|candidate| names(&bind.provider, &candidate.provider))
            .filter(|candidate| {
                bind.provide
                    .as_ref()
                    .is_none_or(|p| *p == candidate.provide)
            })
            .collect();
        match matching.as_slice() {
            [one] => chosen.push((*one).clone()),
            [] => notes.problem(
                &format!("stack/bind/{index}/provider"),
                format!(
                    "`{}` cannot provide `{}` of `{}`",
                    bind.provider, bind.need, bind.consumer
                ),
                match all.is_empty() {
                    true => "nothing on the stack can".into(),
                    false => format!("these can: {}", list(all)),
                },
                None,
            ),
            several => notes.problem(
                &format!("stack/bind/{index}/provider"),
                format!(
                    "`{}` is not one provider but {}",
                    bind.provider,
                    several.len()
                ),
                format!("it may be: {}", list(all)),
                Some("write `role/service`, and `provide` where a service has several".into()),
            ),
        }
    }
    chosen
}

fn list(candidates: &[Candidate]) -> String {
    let names: Vec<String> = candidates
        .iter()
        .map(|candidate| {
            let twice = candidates
                .iter()
                .any(|other| other.provider == candidate.provider && other != candidate);
            match twice {
                true => format!("{} ({})", candidate.provider, candidate.provide),
                false => candidate.provider.to_string(),
            }
        })
        .collect();
    names.join(", ")
}

fn chosen_alone(
    stack: &Stack,
    consumer: &Instance,
    name: &str,
    need: &Need,
    all: &[Candidate],
    notes: &Notes,
    providers: &dyn Fn(&str) -> Vec<String>,
) -> Vec<Candidate> {
    let place = format!("service/{}/needs/{name}/interface", consumer.service);
    if all.is_empty() {
        if !need.optional {
            absent(stack, consumer, name, need, notes, providers);
        }
        return Vec::new();
    }
    if need.many || all.len() == 1 {
        return all.to_vec();
    }
    // Where every host runs the same provider, each consumer has its own beside it.
    let one_service = all
        .iter()
        .all(|c| c.provider.service == all[0].provider.service);
    let beside: Vec<&Candidate> = all
        .iter()
        .filter(|c| c.provider.role == consumer.role)
        .collect();
    if let ([own], true) = (
        beside.as_slice(),
        one_service && all.len() == stack.roles.len(),
    ) {
        return vec![(*own).clone()];
    }
    let first = &all[0];
    let by_role = all
        .iter()
        .filter(|c| c.provider.service == first.provider.service)
        .count()
        > 1;
    let provider = if by_role {
        first.provider.to_string()
    } else {
        first.provider.service.clone()
    };
    notes.problem(
        &place,
        format!("`{consumer}` needs one `{}` for `{name}`, and there are {}", need.interface, all.len()),
        format!("it may be: {}", list(all)),
        Some(format!(
            "say which in stack.toml, for example:\n    [[bind]]\n    consumer = \"{}\"\n    need = \"{name}\"\n    provider = \"{provider}\"",
            consumer.service,
        )),
    );
    Vec::new()
}

fn absent(
    stack: &Stack,
    consumer: &Instance,
    name: &str,
    need: &Need,
    notes: &Notes,
    providers: &dyn Fn(&str) -> Vec<String>,
) {
    let elsewhere: Vec<String> = instances(stack)
        .into_iter()
        .filter(|instance| {
            instance != consumer
                && stack
                    .services
                    .get(&instance.service)
                    .is_some_and(|s| s.provides.values().any(|p| p.interface == need.interface))
        })
        .map(|instance| instance.to_string())
        .collect();
    let known = providers(&need.interface);
    let (why, hint) = match (elsewhere.is_empty(), known.is_empty()) {
        (false, _) => (
            format!(
                "`{}` stays on one host, and {} is on another",
                need.interface,
                elsewhere.join(", ")
            ),
            format!("put both on the role `{}`", consumer.role),
        ),
        (true, false) => (
            format!("services that provide it: {}", known.join(", ")),
            format!(
                "add one of them to a role, and to a phase no later than that of `{}`",
                consumer.service
            ),
        ),
        (true, true) => (
            "no service there is provides it".to_owned(),
            "write a service with [provides.…]".to_owned(),
        ),
    };
    notes.problem(
        &format!("service/{}/needs/{name}/interface", consumer.service),
        format!(
            "`{consumer}` needs `{}` for `{name}`, and nothing on the stack provides it",
            need.interface
        ),
        why,
        Some(hint),
    );
}

fn unused(stack: &Stack, index: usize, bind: &Bind, notes: &Notes) {
    let service = bind.consumer.rsplit('/').next().unwrap_or_default();
    let running = instances(stack);
    if !running
        .iter()
        .any(|instance| names(&bind.consumer, instance))
    {
        notes.problem(
            &format!("stack/bind/{index}/consumer"),
            format!("no role runs `{}`", bind.consumer),
            "this [[bind]] is for nobody".into(),
            suggest(
                service,
                running.iter().map(|instance| instance.service.as_str()),
            ),
        );
        return;
    }
    let needs = stack
        .services
        .get(service)
        .map(|s| s.needs.keys())
        .into_iter()
        .flatten();
    let needs: Vec<&str> = needs.map(String::as_str).collect();
    notes.problem(
        &format!("stack/bind/{index}/need"),
        format!("`{service}` has no need `{}`", bind.need),
        format!("its needs: {}", needs.join(", ")),
        suggest(&bind.need, needs.iter().copied()),
    );
}
