//! Names and arguments of every kind of probe. What they do is in `bringup/probes/`.

/// One kind of probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeKind {
    /// Name, as in `probe = "tcp"`.
    pub name: &'static str,
    /// What is proven when it is green.
    pub proves: &'static str,
    /// Arguments that must be given.
    pub required: &'static [&'static str],
    /// Arguments that may be given.
    pub optional: &'static [&'static str],
}

/// Every kind, sorted by name.
pub const PROBE_KINDS: &[ProbeKind] = &[
    ProbeKind {
        name: "dns",
        proves: "a name server has a record of this name and type with this answer",
        required: &["server", "name", "type", "answer"],
        optional: &[],
    },
    ProbeKind {
        name: "http",
        proves: "a page answers with the status (200) and contains the text",
        required: &["url"],
        optional: &["status", "contains", "address"],
    },
    ProbeKind {
        name: "imap-login",
        proves: "a login over IMAPS works and the inbox opens",
        required: &["host", "port", "name", "user", "password"],
        optional: &[],
    },
    ProbeKind {
        name: "ldap-bind",
        proves: "a bind works and a search below `base` finds something",
        required: &["url", "bind-dn", "password", "base"],
        optional: &["filter"],
    },
    ProbeKind {
        name: "mail-delivery",
        proves: "a message handed in over SMTP is found in a mailbox over IMAPS",
        required: &[
            "host",
            "port",
            "from",
            "to",
            "imap-host",
            "imap-port",
            "imap-name",
            "user",
            "password",
        ],
        optional: &[],
    },
    ProbeKind {
        name: "mail-signed",
        proves: "a message that a person hands in arrives with the signature of the site",
        required: &[
            "host",
            "port",
            "name",
            "from",
            "to",
            "imap-host",
            "imap-port",
            "imap-name",
            "user",
            "password",
            "domain",
            "selector",
        ],
        optional: &[],
    },
    ProbeKind {
        name: "metrics",
        proves: "a page of figures contains the one named",
        required: &["url", "contains"],
        optional: &[],
    },
    ProbeKind {
        name: "ntp",
        proves: "a time server gives the time, and this host's clock agrees within a second",
        required: &["server"],
        optional: &[],
    },
    ProbeKind {
        name: "postgres",
        proves: "a login to a database works and it answers a query",
        required: &["host", "port", "database", "user", "password"],
        optional: &[],
    },
    ProbeKind {
        name: "prometheus-target",
        proves: "Prometheus itself reports the target as up",
        required: &["url", "job", "instance"],
        optional: &[],
    },
    ProbeKind {
        name: "smtp-login",
        proves: "a login for the submission of mail works",
        required: &["host", "port", "name", "user", "password"],
        optional: &[],
    },
    ProbeKind {
        name: "smtp-recipient",
        proves: "mail for an address is taken, and for one that nobody has is refused",
        required: &["host", "port", "from", "to"],
        optional: &["nobody"],
    },
    ProbeKind {
        name: "tcp",
        proves: "a port accepts connections",
        required: &["host", "port"],
        optional: &[],
    },
    ProbeKind {
        name: "tls",
        proves: "a certificate for the name, signed by the site CA, is presented",
        required: &["host", "port", "name"],
        optional: &["starttls"],
    },
    ProbeKind {
        name: "unit",
        proves: "a systemd unit is active",
        required: &["unit"],
        optional: &[],
    },
    ProbeKind {
        name: "webmail-login",
        proves: "a person logs in to the webmail over HTTPS",
        required: &["url", "user", "password"],
        optional: &["address"],
    },
    ProbeKind {
        name: "webmail-roundtrip",
        proves: "a message written in the webmail over HTTPS is read over IMAPS",
        required: &[
            "url",
            "user",
            "password",
            "to",
            "imap-host",
            "imap-port",
            "imap-name",
        ],
        optional: &["address"],
    },
];

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static ProbeKind> {
    PROBE_KINDS.iter().find(|kind| kind.name == name)
}
