//! `bases/<name>.toml`.

use super::archive;
use super::service::{preseed, state};
use crate::profile::glob::is_odd;
use crate::profile::reader::Table;
use crate::profile::{Account, Base, Exclude};
use std::collections::BTreeMap;

/// A base as written: its overlay folders and key files are read by whoever reads files.
pub struct Written {
    /// The base, with names of key files in `archives[…].keys` and without its overlay.
    pub base: Base,
    /// Overlay folders, later ones over earlier ones.
    pub overlays: Vec<String>,
}

/// Reads a base.
pub fn base(top: &Table<'_>) -> Written {
    top.expects(&[
        "base", "packages", "kernels", "archive", "account", "exclude",
    ]);
    let mut base = Base {
        name: String::new(),
        summary: String::new(),
        family: String::new(),
        version: String::new(),
        codename: String::new(),
        architecture: String::new(),
        archives: Vec::new(),
        packages: Vec::new(),
        kernel: String::new(),
        kernels: BTreeMap::new(),
        boot: Vec::new(),
        preseed: Vec::new(),
        early: Vec::new(),
        accounts: Vec::new(),
        overlay: BTreeMap::new(),
        state: Vec::new(),
        exclude: exclude(top),
    };
    let mut overlays = Vec::new();
    if let Some(table) = top.required_table("base") {
        base.name = table.required("name");
        base.summary = table.required("summary");
        base.family = table.required_name("family");
        base.version = table.required("version");
        base.codename = table.required("codename");
        base.architecture = table.required("architecture");
        base.kernel = table.required("kernel");
        base.state = state(&table);
        overlays = table.texts("overlays");
        if !table.has("overlays") {
            overlays = vec![base.family.clone()];
        }
        table.done();
    }
    if let Some(table) = top.table("packages") {
        base.packages = table.texts("apt");
        base.boot = table.texts("boot");
        base.preseed = preseed(&table);
        base.early = table.texts("early");
        table.done();
    }
    if let Some(table) = top.table("kernels") {
        for name in table.rest() {
            let package = table.required(&name);
            base.kernels.insert(name, package);
        }
        table.done();
    }
    base.archives = archive::of_base(top);
    if base.archives.is_empty() {
        top.problem(
            "base",
            "a base without an [[archive]]".into(),
            "its packages come from somewhere".into(),
            None,
        );
    }
    base.accounts = top.tables("account").iter().map(account).collect();
    Written { base, overlays }
}

/// What images of the base do without.
fn exclude(top: &Table<'_>) -> Exclude {
    let Some(table) = top.table("exclude") else {
        return Exclude::default();
    };
    let exclude = Exclude {
        paths: paths(&table, "paths"),
        keep: paths(&table, "keep"),
    };
    if exclude.paths.is_empty() {
        table.problem(
            "paths",
            "[exclude] has no `paths`".into(),
            "a list with at least one pattern is expected".into(),
            None,
        );
    }
    table.done();
    exclude
}

/// Patterns of absolute paths. dpkg reads them line by line.
fn paths(table: &Table<'_>, key: &str) -> Vec<String> {
    let patterns = table.texts(key);
    for pattern in &patterns {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'');
        if !pattern.starts_with('/') || is_odd(pattern) || pattern.contains(odd) {
            table.problem(
                key,
                format!("`{pattern}` is not a pattern for paths"),
                "an absolute path without blanks and quotes is expected, in which `*` stands for any \
                 characters, slashes among them, and `?` for one"
                    .into(),
                None,
            );
        }
    }
    patterns
}

fn account(table: &Table<'_>) -> Account {
    let gid = table.number("gid", 0, 65534);
    if !table.has("gid") {
        table.required("gid");
    }
    let account = Account {
        name: table.required("name"),
        uid: table.number("uid", 0, 65534),
        gid: gid.unwrap_or(0),
        home: table.text("home"),
        shell: table.text("shell"),
        gecos: table.text("gecos"),
    };
    table.done();
    account
}
