//! Where things are on a host.

use std::path::PathBuf;

/// Paths of the running host; only tests have others than [`Places::host`].
#[derive(Debug, Clone)]
pub struct Places {
    /// The agent's state.
    pub state: PathBuf,
    /// The root, for passwd(5) and group(5).
    pub root: PathBuf,
    /// The site CA's certificate where services look for it.
    pub ca: PathBuf,
    /// The site CA's certificate where update-ca-certificates(8) looks for it.
    pub ca_anchor: PathBuf,
    /// Whether update-ca-certificates(8) is run when the anchor changes.
    pub refresh_trust: bool,
    /// hosts(5).
    pub hosts: PathBuf,
    /// What lives until the next boot.
    pub run: PathBuf,
}

impl Places {
    /// Those of a host.
    pub fn host() -> Places {
        Places {
            state: "/var/lib/muster".into(),
            root: "/".into(),
            ca: "/etc/ssl/certs/muster-site-ca.pem".into(),
            ca_anchor: "/usr/local/share/ca-certificates/muster-site-ca.crt".into(),
            refresh_trust: true,
            hosts: "/etc/hosts".into(),
            run: "/run/muster".into(),
        }
    }

    /// Everything below one directory.
    pub fn below(directory: &std::path::Path) -> Places {
        Places {
            state: directory.join("state"),
            root: "/".into(),
            ca: directory.join("ca.pem"),
            ca_anchor: directory.join("ca.crt"),
            refresh_trust: false,
            hosts: directory.join("hosts"),
            run: directory.join("run"),
        }
    }

    /// The site's values.
    pub fn site(&self) -> PathBuf {
        self.state.join("site.json")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// What `muster status` reads.
    pub fn status(&self) -> PathBuf {
        self.state.join("status.json")
    }

    /// What keeps the agent from its work, in words; there only while something does.
    pub fn trouble(&self) -> PathBuf {
        self.run.join("trouble")
    }

    /// The folder of secrets.
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// The folder of the site CA.
    pub fn authority(&self) -> PathBuf {
        self.state.join("ca")
    }

    /// The folder of one certificate.
    pub fn certificate(&self, service: &str, name: &str) -> PathBuf {
        self.state.join("certificates").join(service).join(name)
    }

    /// The socket on which the agent answers whoever is on the host.
    pub fn socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }

    /// The socket on which the agent of a lead answers `muster join`.
    pub fn join_socket(&self) -> PathBuf {
        self.run.join("join.sock")
    }
}
