//! What nobody writes by hand: names, signatures, certificates.

use crate::hosts::Hosts;
use crate::site::wait;
use crate::starter::{LONG, is_green};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOSTS: [&str; 2] = ["core", "edge"];

/// DNS says of the site what its registrar would be told, and who asks it finds the signature of
/// a letter right.
pub fn said_of(site: &Hosts) {
    let printed = site.as_root("core", "muster records --address 192.0.2.7");
    let records = printed.lines().filter(|line| !line.starts_with(';'));
    let public: BTreeMap<(&str, &str), &str> = records
        .map(|line| {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            ((words[0], words[3]), words[4])
        })
        .collect();
    let said = |name, kind| public.get(&(name, kind)).copied();
    assert_eq!(
        said("edge.example.org.", "A"),
        Some("192.0.2.7"),
        "{printed}"
    );
    assert_eq!(said("webmail.example.org.", "A"), Some("192.0.2.7"));
    assert_eq!(said("core.example.org.", "A"), None);
    assert_eq!(said("example.org.", "MX"), Some("10 edge.example.org."));
    assert_eq!(said("example.org.", "TXT"), Some("\"v=spf1 mx -all\""));
    let key = said("muster._domainkey.example.org.", "TXT").expect("a key");
    let key = text(key);
    // The resolver of the edge asks BIND on the core, forward and back.
    let resolved = |question: &str| {
        let asked = format!("resolvectl query --legend=no {question}");
        site.as_root("edge", &asked)
    };
    let back = resolved("10.77.0.11");
    assert!(back.contains("edge.example.org"), "{back}");
    let found = resolved("--type=TXT muster._domainkey.example.org");
    assert!(text(&found).contains(&key), "{found} instead of {key}");

    let send = "printf 'From: admin@example.org\nTo: staff@example.org\nSubject: signed\n\n\
                signed\n' | sendmail -f admin@example.org staff@example.org";
    site.as_root("edge", send);
    // Only in letters: Dovecot's own files hold subjects too.
    let find = "cd /var/vmail/staff/Maildir; for _ in $(seq 90); do \
                grep -rls 'Subject: signed' $PWD/new $PWD/cur && exit 0; sleep 1; done; exit 1";
    let path = site.as_root("core", find);
    is_signed(&site.as_root("core", &format!("cat {}", path.trim())), &key);
    site.saw("a letter is signed, and its key is in DNS and in what is printed");
}

/// Without the quotes between the strings of a TXT record, and the blanks of the record.
fn text(said: &str) -> String {
    said.replace(['"', ' ', '\n'], "")
}

/// Verifies the signature of a letter as a receiver would to whom DNS says this.
fn is_signed(letter: &str, record: &str) {
    let program = "
import dkim, sys
asked = []
def txt(name, timeout=5):
    asked.append(name)
    return sys.argv[1].encode()
letter = sys.stdin.buffer.read().replace(b'\\r\\n', b'\\n').replace(b'\\n', b'\\r\\n')
print(dkim.verify(letter, dnsfunc=txt), asked[0].decode())
";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", program, record])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = python.stdin.take().expect("its input");
    input.write_all(letter.as_bytes()).expect("written");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.trim(),
        "True muster._domainkey.example.org.",
        "{letter}"
    );
}

/// When certificates are 61 days old every host gets new ones, and also when they have ended
/// before anybody looked; and all is green with these.
pub fn time_passes(site: &Hosts) {
    let serials = |host: &str| {
        let each = "for one in $(find /var/lib/muster/certificates -name certificate.pem | sort); \
                    do openssl x509 -in $one -noout -serial; done";
        site.as_root(host, each)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    for days in [61, 400] {
        let before = HOSTS.map(serials);
        assert!(before[0].lines().count() >= 4, "{}", before[0]);
        let then = now + days * 24 * 3600;
        for host in HOSTS {
            site.as_root(host, &format!("systemctl stop chrony; date --set @{then}"));
        }
        for (host, before) in HOSTS.iter().zip(&before) {
            wait(&format!("new certificates of {host}"), LONG, || {
                let after = serials(host);
                let renewed = after.lines().zip(before.lines()).all(|(a, b)| a != b);
                if !renewed {
                    std::thread::sleep(Duration::from_secs(2));
                }
                renewed.then_some(())
            });
        }
        for host in HOSTS {
            site.as_root(host, "systemctl start chrony");
        }
        let what = format!("all green with new certificates {days} days later");
        site.until_within(LONG, "edge", &what, is_green);
    }
}
