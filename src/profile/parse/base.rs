//! `bases/<name>.toml`.

use super::service::{preseed, state};
use crate::profile::reader::Table;
use crate::profile::{Account, Archive, Base};
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
    top.expects(&["base", "packages", "kernels", "archive", "account"]);
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
    base.archives = top.tables("archive").iter().map(archive).collect();
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

fn archive(table: &Table<'_>) -> Archive {
    let list = |key: &str| {
        let list = table.texts(key);
        if list.is_empty() {
            table.problem(
                key,
                format!("[[archive]] has no `{key}`"),
                "a list with at least one entry is expected".into(),
                None,
            );
        }
        list
    };
    let archive = Archive {
        name: table.required_name("name"),
        mirror: table.required("mirror"),
        origin: table.required("origin"),
        suites: list("suites"),
        components: list("components"),
        fingerprints: list("fingerprints"),
        keys: table.required("keys"),
        snapshot: table.text("snapshot"),
    };
    check_fingerprints(table, &archive.fingerprints);
    table.done();
    archive
}

/// Refuses what is no fingerprint of an OpenPGP key.
pub fn check_fingerprints(table: &Table<'_>, fingerprints: &[String]) {
    for fingerprint in fingerprints {
        let hex = fingerprint
            .chars()
            .all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c));
        if !hex || !matches!(fingerprint.len(), 40 | 64) {
            table.problem(
                "fingerprints",
                format!("`{fingerprint}` is not a fingerprint"),
                "40 (or 64) upper-case hexadecimal digits without spaces are expected".into(),
                None,
            );
        }
    }
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
