//! The typed kinds of relation: what a consumer says and what it receives.

/// One kind of relation between two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Name, as in `interface = "postgres"`.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What a need may say, seen by the provider as `consumer.<name>`.
    pub parameters: &'static [Field],
    /// What a provide must give, seen by the consumer as `needs.<need>.<name>`.
    pub values: &'static [Field],
    /// Whether both ends must be on one host, as with a Unix socket.
    pub same_host: bool,
    /// Who opens connections to whom; decides which port the packet filter opens.
    pub dials: Dials,
}

/// Who opens connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dials {
    /// The consumer, to the provider's ports.
    Consumer,
    /// The provider, to the consumer's ports, as a reverse proxy does. People and the
    /// consumer's own probes reach the provider by its public ports.
    Provider,
}

/// A parameter or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name, `[a-z][a-z0-9_]*`.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// One line for people.
    pub summary: &'static str,
}

const fn must(name: &'static str, summary: &'static str) -> Field {
    Field {
        name,
        required: true,
        summary,
    }
}

const fn may(name: &'static str, summary: &'static str) -> Field {
    Field {
        name,
        required: false,
        summary,
    }
}

const HOST: Field = must("host", "name to connect to, as in its certificate");
const PORT: Field = must("port", "port number");
const ACCOUNT: Field = must(
    "account",
    "the consumer's local account, which opens the socket",
);

/// Every interface, sorted by name.
pub const INTERFACES: &[Interface] = &[
    Interface {
        name: "dns",
        summary: "The names of the site",
        parameters: &[],
        values: &[
            HOST,
            must("address", "address of the name server"),
            must("domains", "the domains that it knows, separated by blanks"),
        ],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "imap",
        summary: "Mailboxes over IMAPS",
        parameters: &[],
        values: &[HOST, PORT],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "ldap",
        summary: "The directory, with an account of one's own to read it",
        parameters: &[],
        values: &[
            must(
                "url",
                "`ldaps://host:port` or `ldap://host:port` (with StartTLS)",
            ),
            HOST,
            PORT,
            must("base_dn", "base of the organisation"),
            must("people_dn", "where people are"),
            must("bind_dn", "the consumer's account"),
            must("password", "its password"),
            must("ca", "path of the CA certificate that signed the server's"),
        ],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "lmtp",
        summary: "Delivery into mailboxes",
        parameters: &[ACCOUNT],
        values: &[
            must(
                "address",
                "`unix:/path` for one on its host, `inet:host:port` with STARTTLS for others",
            ),
            must("imap_host", "where what was delivered is read, over IMAPS"),
            must("imap_port", "port number of that"),
        ],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "metrics",
        summary: "Figures in the Prometheus text format",
        parameters: &[],
        values: &[
            must("address", "`host:port` to scrape, over HTTPS"),
            must("path", "path of the page, `/metrics`"),
            must("job", "name of the scrape job"),
        ],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "milter",
        summary: "Signing and checking of mail on its way",
        parameters: &[ACCOUNT],
        values: &[
            must("socket", "`unix:/path` of the filter"),
            must("selector", "name of the key that signs, below `_domainkey`"),
        ],
        same_host: true,
        dials: Dials::Consumer,
    },
    Interface {
        name: "ntp",
        summary: "The time",
        parameters: &[],
        values: &[HOST, must("address", "address of the time server")],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "postgres",
        summary: "A PostgreSQL database and the role that owns it",
        parameters: &[
            must("database", "name of the database, also of its owner"),
            may("extensions", "extensions to create, separated by commas"),
            may(
                "member_of",
                "a role of the server to be a member of, `pg_monitor`",
            ),
        ],
        values: &[
            HOST,
            PORT,
            must("database", "name of the database"),
            must("user", "role that owns it"),
            must("password", "its password"),
        ],
        same_host: false,
        dials: Dials::Consumer,
    },
    Interface {
        name: "route",
        summary: "A name that browsers reach, with TLS",
        parameters: &[
            must("host", "leftmost label of the name, `webmail`"),
            may("upstream", "URL of the consumer's own web server"),
            may(
                "fastcgi",
                "socket or address of the consumer's FastCGI server",
            ),
            may("root", "directory of static files or scripts"),
        ],
        values: &[
            must("host", "the full name, `webmail.example.org`"),
            must("url", "`https://…` of the route, without a final slash"),
        ],
        same_host: false,
        dials: Dials::Provider,
    },
    Interface {
        name: "sasl",
        summary: "Checking of passwords for another service",
        parameters: &[ACCOUNT],
        values: &[
            must("kind", "`dovecot` or `cyrus`"),
            must(
                "path",
                "absolute path of Dovecot's Unix socket; name of the application for Cyrus SASL",
            ),
        ],
        same_host: true,
        dials: Dials::Consumer,
    },
    Interface {
        name: "smtp",
        summary: "Submission of mail with a login",
        parameters: &[],
        values: &[HOST, PORT],
        same_host: false,
        dials: Dials::Consumer,
    },
];

/// The interface of this name.
pub fn find(name: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.name == name)
}
