//! A local system account.

use super::{Act, ActionError, Found, Surroundings, run};

/// See [`crate::profile::Action::User`].
#[derive(Debug)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a str,
    /// Supplementary groups.
    pub groups: &'a [String],
}

impl User<'_> {
    fn missing(&self, around: &Surroundings) -> Result<(bool, Vec<&str>), ActionError> {
        let accounts = around.accounts()?;
        let missing = self
            .groups
            .iter()
            .map(String::as_str)
            .filter(|group| !group.is_empty())
            .filter(|group| {
                !accounts
                    .group(group)
                    .is_some_and(|group| group.members.iter().any(|name| name == self.name))
            })
            .collect();
        Ok((accounts.user(self.name).is_none(), missing))
    }
}

impl Act for User<'_> {
    fn check(&self, around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        Ok(match self.missing(around)? {
            (true, _) => Found::Wanting("there is no such account".into()),
            (false, groups) if groups.is_empty() => Found::Satisfied,
            (false, groups) => Found::Wanting(format!("it is not in {}", groups.join(", "))),
        })
    }

    fn apply(&self, around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let (absent, groups) = self.missing(around)?;
        if absent {
            run([
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                self.name,
            ])?;
        }
        if !groups.is_empty() {
            let list = groups.join(",");
            run(["usermod", "--append", "--groups", &list, self.name])?;
        }
        Ok(())
    }

    fn title(&self) -> String {
        format!("account {}", self.name)
    }
}
