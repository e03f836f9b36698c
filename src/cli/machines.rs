//! What the commands about machines share: from the name a person types to the machine.

use super::Cli;
use crate::machine::{Folder, Machine, MachineError};
use crate::profile::Stack;
use crate::site::demo;
use miette::Result;
use std::io::ErrorKind;
use std::path::Path;

/// The state folder of the stack with this name, or in this directory.
///
/// # Errors
/// A name that neither has machines nor is a stack of the profiles.
pub fn folder(cli: &Cli, stack: &str) -> Result<Folder> {
    let root = Folder::default_root();
    let name = named_in(stack).unwrap_or_else(|| stack.to_owned());
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    let folder = Folder::new(&root, &name);
    if plain(&name) {
        match std::fs::metadata(folder.path()) {
            Ok(metadata) if metadata.is_dir() => return Ok(folder),
            // Another user's, say: it is not true that there are none.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(MachineError::io("look into", &root)(error).into());
            }
            _ => {}
        }
    }
    let profiles = cli.source().stacks().unwrap_or_default();
    if profiles.contains(&name) || (plain(&name) && name != stack) {
        return Ok(folder);
    }
    let mut known = Folder::known(&root)?;
    known.extend(profiles);
    known.sort();
    known.dedup();
    let nearest = known
        .iter()
        .map(|other| (strsim::osa_distance(other, &name), other))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    let hint = match nearest {
        Some((_, other)) => format!("did you mean {other}?"),
        None => format!("stacks: {}", known.join(", ")),
    };
    Err(MachineError::UnknownStack { stack: name, hint }.into())
}

/// The name in `stack.toml` of a stack's directory.
fn named_in(directory: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(directory).join("stack.toml")).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("stack")?.get("name")?.as_str()?.to_owned())
}

/// The machine of this role, else of the lead: the one promoted last, or the stack's first.
pub fn machine(cli: &Cli, folder: &Folder, role: Option<&str>) -> Result<Machine> {
    let stack = folder.stack().to_owned();
    let machines = folder.machines()?;
    if machines.is_empty() {
        // A role that the stack does not have would not run after `up` either.
        if let (Some(role), Ok(whole)) = (role, Stack::load(&cli.source(), &stack, None)) {
            let known = whole.roles.iter().map(|role| role.name.as_str());
            if !known.clone().any(|known| known == role) {
                return Err(MachineError::unknown_role(&stack, role, known).into());
            }
        }
        let role = role.unwrap_or("the lead").to_owned();
        return Err(MachineError::NotRunning { stack, role }.into());
    }
    let known: Vec<String> = machines
        .iter()
        .map(|machine| machine.role.clone())
        .collect();
    let found = match role {
        Some(role) => machines.into_iter().find(|machine| machine.role == role),
        // Of equals the last counts, which is the first of the stack.
        None => {
            let backwards = machines.into_iter().rev();
            backwards.max_by_key(|machine| folder.term(&machine.role))
        }
    };
    found.ok_or_else(|| {
        let known = known.iter().map(String::as_str);
        MachineError::unknown_role(&stack, role.unwrap_or_default(), known).into()
    })
}

/// Login name of the administrator in the kept answers; `admin` when a person answers that
/// question on the console.
pub fn admin(folder: &Folder) -> String {
    std::fs::read_to_string(folder.file("answers.toml"))
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|answers| demo::text(&answers, "admin.name").map(str::to_owned))
        .unwrap_or_else(|| "admin".into())
}
