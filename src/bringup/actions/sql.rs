//! SQL through the local PostgreSQL server as its superuser, over its socket.

use super::{Act, ActionError, Found, Surroundings};
use crate::bringup::process::{Program, Said};

/// See [`crate::profile::Action::Sql`].
#[derive(Debug)]
pub struct Sql<'a> {
    /// Database; `postgres` when absent.
    pub database: Option<&'a str>,
    /// Statements.
    pub sql: &'a str,
    /// Done already when this query gives a row.
    pub unless: Option<&'a str>,
}

impl Sql<'_> {
    fn psql(&self, statements: &str) -> Result<Said, ActionError> {
        let database = self.database.unwrap_or("postgres");
        // On standard input: statements may hold passwords, and arguments are public.
        let program = Program {
            user: Some("postgres".into()),
            stdin: Some(statements.to_string()),
            ..Program::new([
                "psql",
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                database,
            ])
        };
        Ok(program.run()?)
    }
}

impl Act for Sql<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let Some(query) = self.unless else {
            return Ok(Found::Unknown);
        };
        // A row of nulls is a row too: count instead of reading.
        let query = query.trim().trim_end_matches(';');
        let said = self.psql(&format!("SELECT count(*) FROM (\n{query}\n) AS wanted;\n"))?;
        Ok(match said.stdout.trim() {
            "0" => Found::Wanting("its query gives no row".into()),
            _ => Found::Satisfied,
        })
    }

    fn apply(&self, _around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        self.psql(self.sql).map(drop)
    }

    /// The server commits to its log on the disk.
    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("run SQL in {}", self.database.unwrap_or("postgres"))
    }
}
