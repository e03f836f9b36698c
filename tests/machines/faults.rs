//! Every integration broken on purpose: its probe turns red with the reason, what does not
//! rest on it stays green, and it recovers when the fault is taken away.

use crate::site::{Site, soak, wait};
use std::collections::BTreeSet;
use std::time::Duration;

/// A fault.
struct Fault {
    /// What is broken, for people.
    what: &'static str,
    /// Breaks it, as root.
    breaks: &'static str,
    /// Mends it, as root.
    mends: &'static str,
    /// The integration that must turn red, and words its reason has.
    red: (&'static str, &'static str),
    /// Integrations that rest on it and may turn red too; all others stay green.
    rests: &'static [&'static str],
}

const BIND: &str = "office/dovecot.users -> office/slapd";
const PEOPLE: &str = "office/postfix.people -> office/slapd";
const DELIVERY: &str = "office/postfix.mailboxes -> office/dovecot";
const SASL: &str = "office/postfix.logins -> office/dovecot";
const DATABASE: &str = "office/roundcube.database -> office/postgresql";
const IMAP: &str = "office/roundcube.mailboxes -> office/dovecot";
const SUBMISSION: &str = "office/roundcube.submission -> office/postfix";
const ROUTE: &str = "office/roundcube.web -> office/nginx";
const FIGURES: &str = "office/postgres-exporter.database -> office/postgresql";
const NODE: &str = "office/prometheus.targets -> office/node-exporter";
const POSTGRES: &str = "office/prometheus.targets -> office/postgres-exporter";

const FAULTS: &[Fault] = &[
    Fault {
        what: "dovecot has the wrong bind password",
        breaks: "ldappasswd -Q -Y EXTERNAL -H ldapi:/// -s wrong cn=office-dovecot-users,ou=services,dc=example,dc=org; doveadm auth cache flush >/dev/null; systemctl restart dovecot",
        mends: "ldappasswd -Q -Y EXTERNAL -H ldapi:/// -T /var/lib/muster/secrets/office/slapd/directory/dovecot.users/password cn=office-dovecot-users,ou=services,dc=example,dc=org; systemctl restart dovecot",
        red: (BIND, "invalid credentials"),
        rests: &[DELIVERY, SASL, IMAP, SUBMISSION],
    },
    Fault {
        what: "postfix has the wrong bind password",
        breaks: "ldappasswd -Q -Y EXTERNAL -H ldapi:/// -s wrong cn=office-postfix-people,ou=services,dc=example,dc=org; systemctl restart postfix",
        mends: "ldappasswd -Q -Y EXTERNAL -H ldapi:/// -T /var/lib/muster/secrets/office/slapd/directory/postfix.people/password cn=office-postfix-people,ou=services,dc=example,dc=org; systemctl restart postfix",
        red: (PEOPLE, "invalid credentials"),
        rests: &[DELIVERY, SUBMISSION],
    },
    Fault {
        what: "dovecot takes no deliveries any more",
        breaks: "mv /etc/dovecot/consumers/lmtp-office-postfix.conf /root/; systemctl restart dovecot",
        mends: "mv /root/lmtp-office-postfix.conf /etc/dovecot/consumers/; systemctl restart dovecot; sleep 2; postqueue -f",
        red: (DELIVERY, "the queue says"),
        rests: &[SUBMISSION],
    },
    Fault {
        what: "dovecot takes no logins for postfix any more",
        breaks: "mv /etc/dovecot/consumers/auth-postfix.conf /root/; systemctl restart dovecot",
        mends: "mv /root/auth-postfix.conf /etc/dovecot/consumers/; systemctl restart dovecot postfix",
        red: (SASL, ""),
        rests: &[SUBMISSION],
    },
    Fault {
        what: "the webmail's database password is wrong",
        breaks: "runuser -u postgres -- psql -qc \"alter role roundcube password 'wrong'\"",
        mends: "runuser -u postgres -- psql -qc \"alter role roundcube password '$(cat /var/lib/muster/secrets/office/postgresql/*/roundcube.database/password)'\"",
        red: (DATABASE, "password authentication failed"),
        rests: &[IMAP, SUBMISSION, ROUTE],
    },
    Fault {
        what: "the IMAPS port is closed",
        breaks: "nft add table inet fault; nft 'add chain inet fault input { type filter hook input priority -10; }'; nft add rule inet fault input tcp dport 993 reject with tcp reset",
        mends: "nft delete table inet fault",
        red: (IMAP, ""),
        rests: &[BIND, DELIVERY, SUBMISSION],
    },
    Fault {
        what: "the submission port is closed",
        breaks: "nft add table inet fault; nft 'add chain inet fault input { type filter hook input priority -10; }'; nft add rule inet fault input tcp dport 587 reject with tcp reset",
        mends: "nft delete table inet fault",
        red: (SUBMISSION, ""),
        rests: &[SASL],
    },
    Fault {
        what: "the webmail's PHP is stopped",
        breaks: "systemctl stop roundcube-php.service",
        mends: "systemctl start roundcube-php.service",
        red: (ROUTE, "502"),
        rests: &[IMAP, SUBMISSION],
    },
    Fault {
        what: "the route has a certificate of another authority",
        breaks: "cd /var/lib/muster/certificates/nginx/routes; cp -p certificate.pem /root/; cp -p key.pem /root/; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=webmail.example.org -addext subjectAltName=DNS:webmail.example.org -keyout key.pem -out certificate.pem 2>/dev/null; systemctl reload nginx; sleep 1",
        mends: "cp -p /root/certificate.pem /root/key.pem /var/lib/muster/certificates/nginx/routes/; systemctl reload nginx; sleep 1",
        red: (ROUTE, "site CA"),
        rests: &[IMAP, SUBMISSION],
    },
    Fault {
        what: "the exporter's database password is wrong",
        breaks: "runuser -u postgres -- psql -qc \"alter role postgres_exporter password 'wrong'\"; systemctl restart prometheus-postgres-exporter",
        mends: "runuser -u postgres -- psql -qc \"alter role postgres_exporter password '$(cat /var/lib/muster/secrets/office/postgresql/*/postgres-exporter.database/password)'\"; systemctl restart prometheus-postgres-exporter",
        red: (FIGURES, "pg_up"),
        rests: &[],
    },
    Fault {
        what: "the node exporter is stopped",
        breaks: "systemctl stop prometheus-node-exporter; sleep 20",
        mends: "systemctl start prometheus-node-exporter",
        red: (NODE, "refused"),
        rests: &[],
    },
    Fault {
        what: "the database's exporter is stopped",
        breaks: "systemctl stop prometheus-postgres-exporter; sleep 20",
        mends: "systemctl start prometheus-postgres-exporter",
        red: (POSTGRES, "refused"),
        rests: &[FIGURES],
    },
];

/// Faults that can be told apart when they happen together: the integration that one must
/// turn red is not one that another may. In `soak` each happens alone; elsewhere one for each
/// integration is enough.
fn rounds() -> Vec<Vec<&'static Fault>> {
    let apart = |one: &Fault, other: &Fault| {
        one.red.0 != other.red.0
            && !one.rests.contains(&other.red.0)
            && !other.rests.contains(&one.red.0)
    };
    let alone = soak();
    let mut rounds: Vec<Vec<&Fault>> = Vec::new();
    for fault in FAULTS {
        let mut before = rounds.iter().flatten();
        if !alone && before.any(|one| one.red.0 == fault.red.0) {
            continue;
        }
        let fits = |round: &&mut Vec<&Fault>| !alone && round.iter().all(|one| apart(one, fault));
        match rounds.iter_mut().find(fits) {
            Some(round) => round.push(fault),
            None => rounds.push(vec![fault]),
        }
    }
    rounds
}

/// Breaks and mends every integration once.
pub fn break_everything(site: &Site) {
    let all: BTreeSet<String> = site.verify().into_iter().map(|(id, ..)| id).collect();
    let broken: BTreeSet<String> = FAULTS.iter().map(|fault| fault.red.0.to_owned()).collect();
    assert_eq!(
        all, broken,
        "every integration has a fault that turns it red"
    );
    for round in rounds() {
        let each = |script: fn(&Fault) -> &str| {
            let scripts: Vec<String> = round
                .iter()
                .map(|one| format!("({})", script(one)))
                .collect();
            scripts.join("\n")
        };
        site.on_host(&each(|fault| fault.breaks));
        let rows = site.verify();
        site.on_host(&each(|fault| fault.mends));
        let what: Vec<&str> = round.iter().map(|fault| fault.what).collect();
        let what = what.join(", and ");
        for (id, green, reason) in &rows {
            if let Some(fault) = round.iter().find(|fault| fault.red.0 == id) {
                assert!(!green, "{}: {id} stayed green", fault.what);
                assert!(
                    reason.contains(fault.red.1),
                    "{}: {id}: {reason}",
                    fault.what
                );
                site.saw(&format!("{}: {id} is red: {reason}", fault.what));
            } else if !round.iter().any(|fault| fault.rests.contains(&id.as_str())) {
                assert!(green, "{what}: {id} turned red too: {reason}");
            }
        }
        let end = format!("all green after: {what}");
        // Asked for, and not when the agent next looks by itself.
        wait(&end, Duration::from_secs(600), || {
            let verified = site.run(&["verify", "office"]);
            verified.status.success().then_some(())
        });
        site.saw(&end);
    }
}
