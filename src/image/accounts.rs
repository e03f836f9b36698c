//! System users and groups with the ids of the lock's table.
//!
//! Packages make accounts in three ways. `adduser` takes ids from a pool (adduser.conf(5),
//! `UID_POOL`), so that homes and shells stay the package's own choice. For sysusers.d(5) and
//! scripts that call `useradd` or `groupadd`, the account is made before they look for it; also
//! for all others where adduser is older than its pools (3.130; Ubuntu 22.04 has 3.118).
//! Afterwards every account must be one of the table, or one that base-passwd brings.

use super::error::Error;
use super::unpack::Loaded;
use crate::profile::Account;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const POOL: &str = "run/muster-account-pool";
const SYSUSERS: &str = "usr/lib/sysusers.d";

/// Accounts of one root.
#[derive(Debug)]
pub struct Accounts<'a> {
    root: PathBuf,
    table: &'a [Account],
    configuration: Option<String>,
}

impl<'a> Accounts<'a> {
    /// Accounts below `root`, with this table.
    pub fn new(root: &Path, table: &'a [Account]) -> Accounts<'a> {
        Accounts {
            root: root.to_path_buf(),
            table,
            configuration: None,
        }
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.root.join(name);
        fs::read_to_string(&path).map_err(Error::io("cannot read", &path))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.root.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))
    }

    /// Lets `adduser` take ids from the table until [`Accounts::close_pool`].
    pub fn open_pool(&mut self) -> Result<(), Error> {
        let Ok(configuration) = self.read("etc/adduser.conf") else {
            return Ok(());
        };
        let mut users = String::new();
        let mut groups = String::new();
        for account in self.table {
            if let Some(uid) = account.uid {
                let _ = writeln!(users, "{}:{uid}", account.name);
            }
            let _ = writeln!(groups, "{}:{}", account.name, account.gid);
        }
        self.write(&format!("{POOL}.uid"), &users)?;
        self.write(&format!("{POOL}.gid"), &groups)?;
        let pooled = format!("{configuration}\nUID_POOL=/{POOL}.uid\nGID_POOL=/{POOL}.gid\n");
        self.write("etc/adduser.conf", &pooled)?;
        self.configuration = Some(configuration);
        Ok(())
    }

    /// Gives adduser its own configuration back.
    pub fn close_pool(&mut self) -> Result<(), Error> {
        match self.configuration.take() {
            Some(configuration) => self.write("etc/adduser.conf", &configuration),
            None => Ok(()),
        }
    }

    /// Makes the accounts of the table that scripts make without a pool.
    pub fn create_for(&self, packages: &[&Loaded]) -> Result<(), Error> {
        let mut text = self.sysusers()?;
        let mut tools = vec!["useradd", "groupadd"];
        let adduser = self.read("usr/sbin/adduser").unwrap_or_default();
        if !adduser.contains("uid_pool") {
            tools.extend(["adduser", "addgroup"]);
        }
        for loaded in packages {
            for script in ["preinst", "postinst"] {
                let script = loaded.control.text(script);
                if tools.iter().any(|tool| mentions(&script, tool)) {
                    text.push_str(&script);
                }
            }
        }
        self.create(
            self.table
                .iter()
                .filter(|account| mentions(&text, &account.name)),
        )
    }

    fn sysusers(&self) -> Result<String, Error> {
        let mut text = String::new();
        for (_, content) in self.sysusers_files()? {
            text.push_str(&content);
            text.push('\n');
        }
        Ok(text)
    }

    fn sysusers_files(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut files = BTreeMap::new();
        let Ok(entries) = fs::read_dir(self.root.join(SYSUSERS)) else {
            return Ok(files);
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name.clone(), self.read(&format!("{SYSUSERS}/{name}"))?);
        }
        Ok(files)
    }

    fn create<'b>(&self, wanted: impl Iterator<Item = &'b Account>) -> Result<(), Error> {
        let mut passwd = self.read("etc/passwd")?;
        let mut group = self.read("etc/group")?;
        let mut shadow = self.read("etc/shadow").ok();
        let mut gshadow = self.read("etc/gshadow").ok();
        for account in wanted {
            let Account { name, gid, .. } = account;
            let primary = account.uid.is_none() || ids(&group).values().all(|found| found != gid);
            if primary && !ids(&group).contains_key(name.as_str()) {
                let _ = writeln!(group, "{name}:x:{gid}:");
                if let Some(gshadow) = &mut gshadow {
                    let _ = writeln!(gshadow, "{name}:!::");
                }
            }
            let Some(uid) = account.uid else { continue };
            if !ids(&passwd).contains_key(name.as_str()) {
                let gecos = account.gecos.as_deref().unwrap_or_default();
                let home = account.home.as_deref().unwrap_or("/nonexistent");
                let shell = account.shell.as_deref().unwrap_or("/usr/sbin/nologin");
                let _ = writeln!(passwd, "{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}");
                if let Some(shadow) = &mut shadow {
                    let _ = writeln!(shadow, "{name}:!*:::::::");
                }
            }
        }
        self.write("etc/passwd", &passwd)?;
        self.write("etc/group", &group)?;
        if let Some(shadow) = shadow {
            self.write("etc/shadow", &shadow)?;
        }
        match gshadow {
            Some(gshadow) => self.write("etc/gshadow", &gshadow),
            None => Ok(()),
        }
    }

    /// Compares what there is with the table.
    pub fn check(&self, role: &str, packages: &[&Loaded]) -> Result<(), Error> {
        let sysusers = self.sysusers()?;
        let fixed = numbered(&sysusers);
        let mut unknown: BTreeMap<String, (Option<u32>, Option<u32>)> = BTreeMap::new();
        for (file, master) in [("passwd", "passwd.master"), ("group", "group.master")] {
            let users = file == "passwd";
            let master = self.read(&format!("usr/share/base-passwd/{master}"))?;
            let master = ids(&master);
            let text = self.read(&format!("etc/{file}"))?;
            for (name, &found) in ids(&text)
                .iter()
                .filter(|(name, _)| !master.contains_key(*name))
            {
                let account = self.table.iter().find(|account| account.name == *name);
                let wanted = account.and_then(|account| match users {
                    true => account.uid,
                    false => Some(account.gid),
                });
                let wanted = wanted.or_else(|| fixed.get(*name).copied());
                match wanted {
                    Some(wanted) if wanted == found => {}
                    Some(wanted) => {
                        return Err(Error::AccountId {
                            name: (*name).to_owned(),
                            found,
                            wanted,
                        });
                    }
                    None => {
                        let entry = unknown.entry((*name).to_owned()).or_default();
                        *(if users { &mut entry.0 } else { &mut entry.1 }) = Some(found);
                    }
                }
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let mut taken: BTreeSet<u32> = self.table.iter().map(|account| account.gid).collect();
        taken.extend(self.table.iter().filter_map(|account| account.uid));
        let mut free = (200..1000).filter(|id| !taken.contains(id));
        let mut lines = String::new();
        let mut names = Vec::new();
        for (name, (uid, gid)) in &unknown {
            names.push(match self.maker(name, packages) {
                Some(package) => format!("{name} ({package})"),
                None => name.clone(),
            });
            let id = free.next().unwrap_or_default();
            let _ = writeln!(lines, "[[account]]\nname = \"{name}\"");
            if uid.is_some() {
                let _ = writeln!(lines, "uid = {id}");
            }
            let gid = if gid.is_some() {
                id
            } else {
                self.primary_group(name)?
            };
            let _ = writeln!(lines, "gid = {gid}\n");
        }
        let (role, names) = (role.to_owned(), names.join(", "));
        Err(Error::Accounts {
            role,
            names,
            lines: lines.trim_end().to_owned(),
        })
    }

    fn primary_group(&self, name: &str) -> Result<u32, Error> {
        let text = self.read("etc/passwd")?;
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        let gid = line.and_then(|line| line.split(':').nth(3)?.parse().ok());
        Ok(gid.unwrap_or(65534))
    }

    /// The package that makes an account, as far as its files tell.
    fn maker(&self, name: &str, packages: &[&Loaded]) -> Option<String> {
        let tools = ["adduser", "addgroup", "useradd", "groupadd"];
        let by_script = packages.iter().find(|loaded| {
            ["preinst", "postinst"].iter().any(|script| {
                let script = loaded.control.text(script);
                mentions(&script, name) && tools.iter().any(|tool| mentions(&script, tool))
            })
        });
        let by_file = || {
            let files = self.sysusers_files().ok()?;
            let (file, _) = files.iter().find(|(_, text)| mentions(text, name))?;
            Some(format!("/{SYSUSERS}/{file}"))
        };
        by_script
            .map(|loaded| loaded.package.name.clone())
            .or_else(by_file)
    }
}

/// Names and ids of passwd(5) or group(5).
fn ids(text: &str) -> BTreeMap<&str, u32> {
    let entries = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?))
    });
    entries.collect()
}

/// Accounts of sysusers.d(5) whose line itself fixes the number.
fn numbered(text: &str) -> BTreeMap<&str, u32> {
    let entries = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let name = words.next()?;
        let id = words.next()?.parse().ok()?;
        matches!(kind, "u" | "u!" | "g").then_some((name, id))
    });
    entries.collect()
}

/// Whether `name` stands in `text` as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + name.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::image::deb::Control;
    use crate::packages::lock::Package;

    #[test]
    fn names_count_only_as_words() {
        assert!(mentions("adduser --system postfix\n", "postfix"));
        assert!(mentions("chown openldap:openldap", "openldap"));
        assert!(!mentions("postfix-policyd", "postfix"));
    }

    #[test]
    fn an_adduser_without_pools_finds_the_accounts_made() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let package = Package {
            name: "slapd".into(),
            version: "1".into(),
            architecture: "amd64".into(),
            base: "ubuntu-22.04".into(),
            archive: "ubuntu".into(),
            suite: "jammy".into(),
            path: "pool/slapd.deb".into(),
            size: 1,
            sha256: "0".repeat(64),
        };
        let script = "adduser --system --group --home /var/lib/ldap openldap\n";
        let files = [("postinst".to_owned(), (script.into(), 0o755))];
        let loaded = Loaded {
            package: &package,
            control: Control {
                fields: vec![],
                files: files.into(),
            },
        };
        let table = [Account {
            name: "openldap".into(),
            uid: Some(230),
            gid: 230,
            home: Some("/var/lib/ldap".into()),
            shell: Some("/bin/false".into()),
            gecos: None,
        }];
        for (adduser, expected) in [
            ("if ($config{uid_pool}) {\n", ""),
            (
                "@config\n",
                "openldap:x:230:230::/var/lib/ldap:/bin/false\n",
            ),
        ] {
            write("usr/sbin/adduser", adduser);
            write("etc/passwd", "");
            write("etc/group", "");
            let accounts = Accounts::new(root.path(), &table);
            accounts.create_for(&[&loaded]).unwrap();
            let made = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
            assert_eq!(made, expected);
        }
    }

    #[test]
    fn accounts_outside_the_table_are_named_with_the_lines_to_add() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                "usr/share/base-passwd/passwd.master",
                "root:*:0:0:root:/root:/bin/bash\n",
            ),
            ("usr/share/base-passwd/group.master", "root:*:0:\n"),
            ("usr/lib/sysusers.d/x.conf", "u spool - - /\n"),
            ("etc/passwd", "root:x:0:0:::\nspool:x:999:999:::\n"),
            ("etc/group", "root:x:0:\nspool:x:999:\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let error = Accounts::new(root.path(), &[])
            .check("office", &[])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the packages of office make system accounts without fixed ids: \
             spool (/usr/lib/sysusers.d/x.conf)"
        );
        assert_eq!(
            error.hint(),
            "add them to the base's file and lock again:\n\n\
             [[account]]\nname = \"spool\"\nuid = 200\ngid = 200"
        );
    }

    #[test]
    fn a_number_in_sysusers_is_as_fixed_as_one_of_the_table() {
        let text = "# comment\nu vmail 5000 \"Mailboxes\" /var/vmail\nu spool - - /\ng kvm 61\n";
        let found = numbered(text);
        assert_eq!(found, BTreeMap::from([("vmail", 5000), ("kvm", 61)]));
    }

    #[test]
    fn a_moved_id_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("usr/share/base-passwd/passwd.master", ""),
            ("usr/share/base-passwd/group.master", ""),
            ("etc/passwd", ""),
            ("etc/group", "spool:x:999:\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let spool = Account {
            name: "spool".into(),
            uid: None,
            gid: 210,
            home: None,
            shell: None,
            gecos: None,
        };
        let table = [spool];
        let error = Accounts::new(root.path(), &table)
            .check("office", &[])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "spool was made with id 999, the lock's table says 210"
        );
    }
}
