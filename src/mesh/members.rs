//! Who belongs to the site: the lead's table of roles and the keys of their hosts.

use super::identity::Print;
use crate::site::durable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a host is told when it has joined, and again whenever it joins with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// Id of the site.
    pub site: String,
    /// The role of the host.
    pub role: String,
    /// Role of the lead.
    pub lead: String,
    /// Key of the lead.
    pub lead_key: Print,
    /// Certificate of the site CA, PEM.
    pub ca: String,
    /// Certificate of the host for its role and addresses, PEM.
    pub certificate: String,
}

/// A host of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Member {
    /// Its key.
    pub key: Print,
    /// When it joined, RFC 3339 in UTC.
    pub joined: String,
    /// From where.
    pub address: String,
    /// What it was told.
    pub record: Record,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    members: BTreeMap<String, Member>,
    /// Keys of hosts that were replaced.
    revoked: BTreeSet<Print>,
}

/// The table and its file.
#[derive(Debug)]
pub struct Members {
    path: PathBuf,
    table: Table,
}

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: the table of hosts is damaged: {error}; restore the file from a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
}

/// Why a host is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Another host has the role.
    Taken {
        /// Since when.
        since: String,
    },
    /// This key was revoked.
    Revoked,
}

impl Members {
    /// Opens `members.json` in the folder; empty where there is none.
    pub fn open(folder: &Path) -> Result<Members, MembersError> {
        let path = folder.join("members.json");
        let table = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| MembersError::Damaged {
                path: path.clone(),
                error,
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Table::default(),
            Err(error) => return Err(MembersError::Io { path, error }),
        };
        Ok(Members { path, table })
    }

    /// The host of a role.
    pub fn of_role(&self, role: &str) -> Option<&Member> {
        self.table.members.get(role)
    }

    /// The role of the host with this key.
    pub fn role_of(&self, key: Print) -> Option<&str> {
        let mut members = self.table.members.iter();
        let found = members.find(|(_, member)| member.key == key);
        found.map(|(role, _)| role.as_str())
    }

    /// Every role that has joined.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.table.members.keys().map(String::as_str)
    }

    /// Whether a host with this key may take a role: nobody has it, or this very host does.
    pub fn may(&self, role: &str, key: Print) -> Result<(), Refused> {
        if self.table.revoked.contains(&key) {
            return Err(Refused::Revoked);
        }
        match self.table.members.get(role) {
            Some(member) if member.key != key => Err(Refused::Taken {
                since: member.joined.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Enters a host; it is on the disk when this returns. One that is in it stays as it is.
    pub fn enter(&mut self, role: &str, member: Member) -> Result<&Member, MembersError> {
        if !self.table.members.contains_key(role) {
            let mut next = self.table.clone();
            next.members.insert(role.to_owned(), member);
            self.keep(next)?;
        }
        // It is there now.
        Ok(&self.table.members[role])
    }

    /// Takes a role from its host, whose key is good for nothing from now on.
    pub fn revoke(&mut self, role: &str) -> Result<Option<Member>, MembersError> {
        let mut next = self.table.clone();
        let Some(gone) = next.members.remove(role) else {
            return Ok(None);
        };
        next.revoked.insert(gone.key);
        self.keep(next)?;
        Ok(Some(gone))
    }

    /// Whether the host with this key was replaced.
    pub fn is_revoked(&self, key: Print) -> bool {
        self.table.revoked.contains(&key)
    }

    /// The host of a role leads from now on, in the place of the one with this key: that one is
    /// good for nothing any more, and the new lead is no member.
    pub fn promote(&mut self, role: &str, former: Print) -> Result<(), MembersError> {
        let mut next = self.table.clone();
        next.members.remove(role);
        next.revoked.insert(former);
        self.keep(next)
    }

    fn keep(&mut self, next: Table) -> Result<(), MembersError> {
        let failed = |error| MembersError::Io {
            path: self.path.clone(),
            error,
        };
        let text = serde_json::to_vec_pretty(&next).map_err(|error| failed(error.into()))?;
        durable::write(&self.path, &text, 0o600, None).map_err(failed)?;
        self.table = next;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn member(key: u8) -> Member {
        Member {
            key: Print([key; 32]),
            joined: "2026-01-01T00:00:00Z".into(),
            address: "192.0.2.7".into(),
            record: Record {
                site: "0".repeat(32),
                role: "edge".into(),
                lead: "core".into(),
                lead_key: Print([9; 32]),
                ca: String::new(),
                certificate: format!("certificate of {key}"),
            },
        }
    }

    #[test]
    fn a_role_has_one_host_which_may_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = Members::open(folder.path()).unwrap();
        assert_eq!(members.may("edge", Print([1; 32])), Ok(()));
        members.enter("edge", member(1)).unwrap();
        let mut again = Members::open(folder.path()).unwrap();
        assert_eq!(again.may("edge", Print([1; 32])), Ok(()));
        let taken = Refused::Taken {
            since: "2026-01-01T00:00:00Z".into(),
        };
        assert_eq!(again.may("edge", Print([2; 32])), Err(taken));
        assert_eq!(again.role_of(Print([1; 32])), Some("edge"));
        assert_eq!(again.role_of(Print([2; 32])), None);
        // What it was told the first time is what it is told again.
        let other = Member {
            record: member(3).record,
            ..member(1)
        };
        assert_eq!(*again.enter("edge", other).unwrap(), member(1));
        assert_eq!(again.roles().collect::<Vec<_>>(), ["edge"]);
    }

    #[test]
    fn a_host_that_was_replaced_never_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = Members::open(folder.path()).unwrap();
        members.enter("edge", member(1)).unwrap();
        assert_eq!(members.revoke("edge").unwrap(), Some(member(1)));
        assert_eq!(members.revoke("edge").unwrap(), None);
        let members = Members::open(folder.path()).unwrap();
        assert_eq!(members.may("edge", Print([1; 32])), Err(Refused::Revoked));
        assert_eq!(members.may("edge", Print([2; 32])), Ok(()));
        assert_eq!(members.role_of(Print([1; 32])), None);
    }

    #[test]
    fn a_member_that_is_promoted_is_none_and_the_former_lead_never_joins() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = Members::open(folder.path()).unwrap();
        members.enter("edge", member(1)).unwrap();
        members.enter("files", member(2)).unwrap();
        for _ in 0..2 {
            members.promote("edge", Print([9; 32])).unwrap();
            members = Members::open(folder.path()).unwrap();
            assert_eq!(members.roles().collect::<Vec<_>>(), ["files"]);
            assert_eq!(members.may("core", Print([9; 32])), Err(Refused::Revoked));
            assert!(members.is_revoked(Print([9; 32])));
            // It may come back as a member when another is promoted over it: not with this key.
            assert_eq!(members.may("core", Print([3; 32])), Ok(()));
        }
    }

    #[test]
    fn a_damaged_table_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("members.json"), "{").unwrap();
        let words = Members::open(folder.path()).unwrap_err().to_string();
        assert!(words.ends_with("restore the file from a backup"), "{words}");
    }
}
