//! passwd(5) and group(5), read by ourselves: a static glibc binary must not call getpw*.

use super::durable::Owner;
use std::path::Path;

/// A line of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Full name and more.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A line of group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Login names of its supplementary members.
    pub members: Vec<String>,
}

/// The local accounts of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// In file order.
    pub users: Vec<User>,
    /// In file order.
    pub groups: Vec<Group>,
}

/// Why an owner cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No such user.
    #[error("there is no user `{0}` on this host")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}` on this host")]
    NoGroup(String),
    /// The files cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

impl Accounts {
    /// Parses the two files; lines that are not an account (comments, NIS) are passed over.
    pub fn parse(passwd: &str, group: &str) -> Self {
        Accounts {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(members).collect(),
        }
    }

    /// Reads `etc/passwd` and `etc/group` below `root` (`/` on a host).
    pub fn read(root: &Path) -> Result<Self, AccountError> {
        let text = |name: &str| {
            let path = root.join(name);
            std::fs::read_to_string(&path).map_err(|error| AccountError::Read {
                path: path.display().to_string(),
                error,
            })
        };
        Ok(Self::parse(&text("etc/passwd")?, &text("etc/group")?))
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Resolves `user:group`, `user` (with its primary group), or numbers in place of names.
    pub fn owner(&self, text: &str) -> Result<Owner, AccountError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let known = self.user(user);
        let uid = match (known, user.parse()) {
            (Some(known), _) => known.uid,
            (None, Ok(number)) => number,
            (None, Err(_)) => return Err(AccountError::NoUser(user.into())),
        };
        let gid = match (group, known) {
            (Some(group), _) => match (self.group(group), group.parse()) {
                (Some(group), _) => group.gid,
                (None, Ok(number)) => number,
                (None, Err(_)) => return Err(AccountError::NoGroup(group.into())),
            },
            (None, Some(known)) => known.gid,
            (None, None) => uid,
        };
        Ok(Owner { uid, gid })
    }
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, gecos, home, shell] = fields[..] else {
        return None;
    };
    Some(User {
        name: name.into(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        gecos: gecos.into(),
        home: home.into(),
        shell: shell.into(),
    })
}

fn members(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else {
        return None;
    };
    Some(Group {
        name: name.into(),
        gid: gid.parse().ok()?,
        members: members
            .split(',')
            .filter(|name| !name.is_empty())
            .map(Into::into)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n+::::::\npostgres:x:105:110:PostgreSQL \
                          administrator,,,:/var/lib/postgresql:/bin/bash\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:109:postgres,openldap\npostgres:x:110:\n";

    #[test]
    fn owners_resolve_by_name_and_by_number() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        for (text, uid, gid) in [
            ("root:ssl-cert", 0, 109),
            ("postgres", 105, 110),
            ("postgres:root", 105, 0),
            ("105:7", 105, 7),
        ] {
            assert_eq!(
                accounts.owner(text).expect("an owner"),
                Owner { uid, gid },
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_name_is_refused_by_name() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let words = |text| accounts.owner(text).expect_err("refused").to_string();
        assert_eq!(
            words("dovecot:root"),
            "there is no user `dovecot` on this host"
        );
        assert_eq!(words("root:mail"), "there is no group `mail` on this host");
    }

    #[test]
    fn supplementary_members_are_listed() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        assert_eq!(
            accounts.group("ssl-cert").expect("group").members,
            ["postgres", "openldap"]
        );
    }
}
