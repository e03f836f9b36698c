//! Why an answer is refused, in the words a person reads where they typed it.

use std::net::IpAddr;

/// A refused answer. The same words stand on the console, on the page and in
/// `muster answers check`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the words of each are its documentation
pub enum Refusal {
    #[error("this cannot be empty")]
    Empty,
    #[error("at most {0} characters fit here")]
    TooLong(usize),
    #[error("a control character is in it; was that an arrow key?")]
    Control,
    #[error(
        "some of that is not UTF-8; set the terminal to UTF-8, or leave letters with accents out"
    )]
    NotUtf8,
    #[error("a join token has 64 hexadecimal digits; `muster up` draws one for each site")]
    Token,
    #[error("`{0}` is not the name of a role: lower-case letters, digits and dashes")]
    Role(String),
    #[error("answer yes or no")]
    YesOrNo,
    #[error("`{value}` is none of the choices: {choices}")]
    NoSuchChoice { value: String, choices: String },

    #[error("a domain has at least two labels, for example example.org")]
    SingleLabel,
    #[error("write the domain in lower case: {0}")]
    UpperCase(String),
    #[error(
        "multicast DNS owns .local (RFC 6762): hosts would look these names up on the wire and \
         not in your DNS; take a domain you own, or one below home.arpa"
    )]
    DotLocal,
    #[error(
        "names under .localhost always mean the machine itself (RFC 6761); take a domain you own, \
         or one below home.arpa"
    )]
    DotLocalhost,
    #[error("`{0}` cannot stand in a domain: only a-z, 0-9, - and dots can")]
    DomainCharacter(char),
    #[error("a label of the domain is empty: two dots in a row, or one at an end")]
    EmptyLabel,
    #[error("`{0}` starts or ends with a hyphen, which no label of a domain may")]
    HyphenAtEnd(String),
    #[error("`{0}` has more than 63 characters, the most a label of a domain can have")]
    LongLabel(String),
    #[error("`{0}` is a number, and the last label of a domain cannot be one")]
    NumericTop(String),

    #[error("write the address with its prefix length, for example 192.0.2.10/24")]
    NoPrefix,
    #[error("leave the prefix length out: only the address itself, for example 192.0.2.10")]
    Prefix,
    #[error(
        "`{0}` cannot stand behind this address: only a link-local one has the name of a network \
         card there, for example fe80::1%eth0"
    )]
    Zone(String),
    #[error("`{0}` is not an IP address")]
    NotAnAddress(String),
    #[error("a prefix length is a number from 1 to {0} here")]
    PrefixLength(u8),
    #[error("{0} is a {1} address; a host cannot have it")]
    UnusableAddress(IpAddr, &'static str),
    #[error("{gateway} is not in {network}, so this host cannot reach it")]
    GatewayOutside { gateway: IpAddr, network: String },
    #[error("{0} is this host's own address; the gateway is another machine")]
    GatewayIsSelf(IpAddr),
    #[error("give the address before the gateway")]
    GatewayWithoutAddress,

    #[error("there is no time zone `{value}`{}", hint(nearest))]
    NoSuchTimeZone {
        value: String,
        nearest: Option<String>,
    },
    #[error("there is no keyboard layout `{value}`{}", hint(nearest))]
    NoSuchKeyboard {
        value: String,
        nearest: Option<String>,
    },

    #[error(
        "a login name starts with a letter a-z and goes on with a-z, 0-9 and -, at most 32 \
         characters"
    )]
    LoginName,
    #[error("`{0}` is the name of an account or group of the system; take another")]
    ReservedName(String),
    #[error("`{0}` is taken by another person")]
    DuplicateName(String),
    #[error("`{0}` cannot stand in a full name")]
    FullNameCharacter(char),

    #[error("a password has at least {0} characters")]
    ShortPassword(usize),
    #[error("a password has at most {0} bytes")]
    LongPassword(usize),
    #[error("the password contains the account's name")]
    PasswordIsName,
    #[error("the password is made of too few different characters")]
    MonotonePassword,
    #[error("that password is on every attacker's first page")]
    CommonPassword,
    #[error("the two passwords differ")]
    PasswordsDiffer,
    #[error(
        "this is not a crypt hash; make one with `mkpasswd -m sha-512` or `openssl passwd -6` (it \
         starts with $6$)"
    )]
    NotAHash,

    #[error("this is a private key; give the public one, the line in the .pub file")]
    PrivateKey,
    #[error("an SSH public key is a line like `ssh-ed25519 AAAA... name`")]
    NotAKey,
    #[error("`{0}` is not a type of SSH key that is taken here: {taken}", taken = super::rules::ssh_key::TAKEN)]
    KeyType(String),
    #[error("the key is damaged: it was probably cut while copying")]
    DamagedKey,
    #[error("this RSA key has {0} bits; 2048 is the least that is taken, ed25519 is better")]
    ShortRsaKey(usize),
}

fn hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    }
}
