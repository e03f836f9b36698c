//! Steps and overlays fit each other, and every template parses.

use super::template::{Scope, check_template, templates_of};
use crate::profile::notes::Notes;
use crate::profile::problem::suggest;
use crate::profile::{Action, OverlayFile, Service, Stack, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every service's files and templates.
pub fn files(stack: &Stack, notes: &Notes) {
    for base in stack.bases.values() {
        let at = format!("base/{}", base.name);
        early(&base.early, &base.overlay, &at, notes);
    }
    for service in stack.services.values() {
        let at = format!("service/{}", service.name);
        early(&service.early, &service.overlay, &at, notes);
        overlay(service, notes);
        for template in templates_of(service) {
            check_template(service, &template, notes);
        }
    }
}

/// What is to be there before packages configure is in the overlay, and not as a template.
fn early(paths: &[String], overlay: &BTreeMap<String, OverlayFile>, at: &str, notes: &Notes) {
    let files = || overlay.keys().filter(|path| !path.ends_with(".j2"));
    for path in paths {
        if !files().any(|file| file == path) {
            notes.problem(
                &format!("{at}/packages/early"),
                format!("`{path}` is not a file of the overlay"),
                "files of the overlay that are there before packages configure are expected".into(),
                suggest(path, files().map(String::as_str)),
            );
        }
    }
}

/// Every list of steps with the path of its place and how its templates see the world.
pub(super) fn step_lists(service: &Service) -> Vec<(String, &[Step], Scope<'_>)> {
    let name = &service.name;
    let mut lists = vec![(
        format!("service/{name}/step"),
        service.steps.as_slice(),
        Scope::OWN,
    )];
    for (provide, offer) in &service.provides {
        lists.push((
            format!("service/{name}/provides/{provide}/step"),
            offer.steps.as_slice(),
            Scope {
                grant: Some(provide),
                item: false,
            },
        ));
    }
    lists
}

fn overlay(service: &Service, notes: &Notes) {
    let mut rendered = BTreeSet::new();
    for (path, steps, _) in step_lists(service) {
        for (index, step) in steps.iter().enumerate() {
            let Action::File {
                template: Some(template),
                ..
            } = &step.action
            else {
                continue;
            };
            rendered.insert(template.as_str());
            if service.overlay.contains_key(template) {
                continue;
            }
            let files = || service.overlay.keys().map(String::as_str);
            let place = format!("{path}/{index}");
            let named = notes
                .places
                .borrow()
                .contains_key(&format!("{place}/template"));
            notes.problem(
                &format!("{place}/{}", if named { "template" } else { "file" }),
                format!("there is no file `overlays/{}{template}`", service.name),
                match named {
                    true => format!("the step `{}` renders it", step.id),
                    false => format!(
                        "the step `{}` has neither `template` nor `content`, so this is its template",
                        step.id
                    ),
                },
                suggest(template, files()),
            );
        }
    }
    for path in service.overlay.keys().filter(|path| path.ends_with(".j2")) {
        if !rendered.contains(path.as_str()) {
            notes.problem(
                &format!("overlay/{}{path}", service.name),
                format!("no step of `{}` renders `{path}`", service.name),
                "a file that ends in `.j2` is a template for a step, and reaches no host by itself"
                    .into(),
                Some(format!(
                    "add a [[step]] with file = \"{}\"",
                    path.trim_end_matches(".j2")
                )),
            );
        }
    }
}
