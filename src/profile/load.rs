//! Files to a checked [`Stack`].

use super::archives::{self, Brought};
use super::notes::Notes;
use super::problem::{Place, ProfileError, suggest_or_list};
use super::reader::{Table, document};
use super::source::{Source, StackPlace};
use super::{Base, OverlayFile, Role, Service, Stack, bind, check, parse};
use std::collections::{BTreeMap, BTreeSet};

/// What roles are built on where they do not say so themselves; it overrides the stack's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Name of a base (`--base NAME`).
    pub base: Option<&'a str>,
    /// Name of one of the base's kernels (`--kernel NAME`).
    pub kernel: Option<&'a str>,
}

impl Stack {
    /// Loads and checks a stack by name or directory. `base` (`--base NAME`) overrides the
    /// base of every role that does not fix its own.
    pub fn load(
        source: &Source,
        name_or_dir: &str,
        base: Option<&str>,
    ) -> Result<Stack, ProfileError> {
        Stack::load_with(source, name_or_dir, Choice { base, kernel: None })
    }

    /// The same with every choice there is.
    pub fn load_with(
        source: &Source,
        name_or_dir: &str,
        choice: Choice<'_>,
    ) -> Result<Stack, ProfileError> {
        let place = source.locate(name_or_dir)?;
        let (source, text) = source.within(&place)?;
        let notes = Notes::default();
        let Some(mut written) = document(&notes, &text, "stack", parse::stack::stack) else {
            return Err(invalid(notes));
        };
        if let StackPlace::Named(folder) = &place {
            same_name(&notes, "stack/stack/name", &written.name, folder);
        }
        let default_base = choice.base.map(str::to_owned).or(written.base.take());
        let default_kernel = choice.kernel.map(str::to_owned).or(written.kernel.take());
        for (index, role) in written.roles.iter_mut().enumerate() {
            role.kernel = role.kernel.take().or(default_kernel.clone());
            if role.base.is_empty() {
                match &default_base {
                    Some(base) => role.base.clone_from(base),
                    None => notes.problem(
                        &format!("stack/role/{index}/name"),
                        format!("the role `{}` has no base", role.name),
                        "neither it nor the stack names one".into(),
                        Some("give the stack a `base`, or use --base NAME".into()),
                    ),
                }
            }
        }
        let (services, brought) = read_services(&source, &notes, &written)?;
        let mut bases = read_bases(&source, &notes, &written, choice.base)?;
        check_kernels(&written.roles, &bases, &notes);
        let known = source.profiles("bases")?;
        archives::settle(&written.roles, &brought, &mut bases, &known, &notes);
        if !notes.problems.borrow().is_empty() {
            return Err(invalid(notes));
        }
        let mut stack = Stack {
            name: written.name,
            summary: written.summary,
            roles: written.roles,
            network: written.network,
            deputy: written.deputy,
            services,
            bases,
            phases: written.phases,
            bindings: Vec::new(),
            demo: written.demo,
        };
        check::names(&stack, &known, &notes);
        stack.bindings = bind::bind(&stack, &written.binds, &notes, &|interface| {
            providers(&source, interface).unwrap_or_default()
        });
        if notes.problems.borrow().is_empty() {
            check::graph(&stack, &notes);
            check::files(&stack, &notes);
        }
        let sound = notes.problems.borrow().is_empty();
        if sound {
            Ok(stack)
        } else {
            Err(invalid(notes))
        }
    }
}

fn invalid(notes: Notes) -> ProfileError {
    let mut problems = notes.problems.into_inner();
    problems.sort_by_key(|problem| {
        problem
            .place
            .as_ref()
            .map(|place| (place.text.name.clone(), place.span.start))
    });
    ProfileError::Invalid { problems }
}

/// Services, and the archives that they bring, by name.
type Services = (BTreeMap<String, Service>, BTreeMap<String, Vec<Brought>>);

fn read_services(
    source: &Source,
    notes: &Notes,
    written: &parse::stack::Written,
) -> Result<Services, ProfileError> {
    let (mut services, mut brought) = (BTreeMap::new(), BTreeMap::new());
    let known = source.profiles("services")?;
    for (role_index, role) in written.roles.iter().enumerate() {
        for (index, name) in role.services.iter().enumerate() {
            if services.contains_key(name) {
                continue;
            }
            if !known.contains(name) {
                notes.problem(
                    &format!("stack/role/{role_index}/services/{index}"),
                    format!("there is no service `{name}`"),
                    format!("the role `{}` lists it", role.name),
                    suggest_or_list(name, known.iter().map(String::as_str)),
                );
                continue;
            }
            if let Some((service, archives)) = read_service(source, notes, name)? {
                services.insert(name.clone(), service);
                brought.insert(name.clone(), archives);
            }
        }
    }
    Ok((services, brought))
}

fn read_service(
    source: &Source,
    notes: &Notes,
    name: &str,
) -> Result<Option<(Service, Vec<Brought>)>, ProfileError> {
    let Some(found) = source.read(&format!("profiles/services/{name}.toml"))? else {
        return Ok(None);
    };
    let path = format!("service/{name}");
    let read = |top: &Table<'_>| {
        (
            parse::service::service(top),
            parse::archive::of_service(top),
        )
    };
    let Some((mut service, mut brought)) = document(notes, &found.text, &path, read) else {
        return Ok(None);
    };
    for one in &mut brought {
        archives::keys(&mut one.archive, "services", &one.place, source, notes)?;
    }
    same_name(notes, &format!("{path}/service/name"), &service.name, name);
    service.overlay = overlay(source, notes, name)?;
    for (index, artifact) in service.artifacts.iter_mut().enumerate() {
        let keys = &mut artifact.proof.keys;
        if keys.is_empty() {
            continue;
        }
        let file = format!("profiles/services/{keys}");
        match source.read(&file)? {
            Some(found) => *keys = found.text.content.to_string(),
            None => notes.problem(
                &format!("{path}/artifact/{index}/keys"),
                format!("there is no file `{file}`"),
                format!("it holds the certificates that sign `{}`", artifact.name),
                None,
            ),
        }
    }
    Ok(Some((service, brought)))
}

fn same_name(notes: &Notes, path: &str, written: &str, file: &str) {
    if written != file && !written.is_empty() {
        notes.problem(
            path,
            format!("`{file}` names itself `{written}`"),
            "the name is that of the file or folder".into(),
            Some(format!("write name = \"{file}\", or rename it")),
        );
    }
}

/// Files below `overlays/<name>`: path in the image → file. Their texts are noted under
/// `overlay/<name><path>`.
fn overlay(
    source: &Source,
    notes: &Notes,
    name: &str,
) -> Result<BTreeMap<String, OverlayFile>, ProfileError> {
    let mut files = BTreeMap::new();
    for (path, found) in source.below(&format!("overlays/{name}"))? {
        let place = Place {
            text: found.text.clone(),
            span: 0..0,
        };
        notes
            .places
            .borrow_mut()
            .insert(format!("overlay/{name}/{path}"), place);
        let mode = if found.executable { 0o755 } else { 0o644 };
        let content = found.text.content.to_string();
        files.insert(format!("/{path}"), OverlayFile { content, mode });
    }
    Ok(files)
}

fn read_bases(
    source: &Source,
    notes: &Notes,
    written: &parse::stack::Written,
    option: Option<&str>,
) -> Result<BTreeMap<String, Base>, ProfileError> {
    let known = source.profiles("bases")?;
    let mut bases = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for (index, role) in written.roles.iter().enumerate() {
        let name = &role.base;
        if name.is_empty() || bases.contains_key(name) || reported.contains(name) {
            continue;
        }
        if !known.contains(name) {
            reported.insert(name.clone());
            let role_path = format!("stack/role/{index}/base");
            let fixed = notes.places.borrow().contains_key(&role_path);
            let (place, why) = match fixed {
                true => (notes.place(&role_path), "is built on it"),
                // The stack's own line, if it has one, is not what was asked for.
                false if option.is_some() => (None, "would be built on it: --base says so"),
                false => (notes.place("stack/stack/base"), "is built on it"),
            };
            notes.problem_in(
                place,
                format!("there is no base `{name}`"),
                format!("the role `{}` {why}", role.name),
                suggest_or_list(name, known.iter().map(String::as_str)),
            );
            continue;
        }
        if let Some(base) = read_base(source, notes, name)? {
            bases.insert(name.clone(), base);
        }
    }
    Ok(bases)
}

/// Every kernel that a role names is one of its base's.
fn check_kernels(roles: &[Role], bases: &BTreeMap<String, Base>, notes: &Notes) {
    for (index, role) in roles.iter().enumerate() {
        let (Some(kernel), Some(base)) = (&role.kernel, bases.get(&role.base)) else {
            continue;
        };
        if !base.kernels.contains_key(kernel) {
            let own = format!("stack/role/{index}/kernel");
            let fixed = notes.places.borrow().contains_key(&own);
            notes.problem(
                if fixed { &own } else { "stack/stack/kernel" },
                format!("the base `{}` has no kernel `{kernel}`", base.name),
                format!("the role `{}` is built on it", role.name),
                suggest_or_list(kernel, base.kernels.keys().map(String::as_str)),
            );
        }
    }
}

fn read_base(source: &Source, notes: &Notes, name: &str) -> Result<Option<Base>, ProfileError> {
    let Some(found) = source.read(&format!("profiles/bases/{name}.toml"))? else {
        return Ok(None);
    };
    let path = format!("base/{name}");
    let Some(written) = document(notes, &found.text, &path, parse::base::base) else {
        return Ok(None);
    };
    let mut base = written.base;
    same_name(notes, &format!("{path}/base/name"), &base.name, name);
    for folder in &written.overlays {
        base.overlay.extend(overlay(source, notes, folder)?);
    }
    for (index, archive) in base.archives.iter_mut().enumerate() {
        let place = format!("{path}/archive/{index}");
        archives::keys(archive, "bases", &place, source, notes)?;
    }
    Ok(Some(base))
}

/// Names of all services that could provide an interface, whether or not the stack runs them.
fn providers(source: &Source, interface: &str) -> Result<Vec<String>, ProfileError> {
    let mut names = Vec::new();
    for name in source.profiles("services")? {
        let service = read_service(source, &Notes::default(), &name)?;
        let provides =
            |service: &Service| service.provides.values().any(|p| p.interface == interface);
        if service.is_some_and(|(service, _)| provides(&service)) {
            names.push(name);
        }
    }
    Ok(names)
}
