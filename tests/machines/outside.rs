//! The probes again, from the workstation's side and with other people's tools, against
//! `site-ca.pem`; and what a stranger would look for on the host.

use crate::site::Site;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// The address people reach from a workstation, and what they need for it.
struct Door {
    ca: String,
    https: u64,
    imaps: u64,
    submission: u64,
    smtp: u64,
    password: String,
}

fn door(site: &Site) -> Door {
    let ps = site.ps();
    let machine = &ps["machines"][0];
    let port = |guest: u64| -> u64 {
        machine["forwards"]
            .as_array()
            .and_then(|forwards| forwards.iter().find(|one| one["guest"] == guest))
            .and_then(|one| one["host"].as_u64())
            .unwrap_or_else(|| panic!("port {guest} is not forwarded: {machine}"))
    };
    Door {
        ca: machine["site-ca"].as_str().expect("site-ca.pem").to_owned(),
        https: port(443),
        imaps: port(993),
        submission: port(587),
        smtp: port(25),
        password: site.password("staff"),
    }
}

/// Runs a program of the workstation: whether it succeeded, and all that it said.
pub fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&both).into_owned(),
    )
}

/// Sends and reads mail as a persona, over every door a person uses.
pub fn probe(site: &Site) {
    let door = door(site);
    let limit = ["--silent", "--show-error", "--max-time", "120"];
    let curl = |arguments: &[&str]| run("curl", &[&limit, arguments].concat());

    // HTTPS, verified, under the name a workstation uses.
    let page = format!("https://webmail.localhost:{}/", door.https);
    let (fine, text) = curl(&["--cacert", &door.ca, &page]);
    assert!(fine && text.contains("rcmloginuser"), "{text}");
    let (fine, text) = curl(&[&page]);
    assert!(
        !fine && text.contains("certificate"),
        "without the CA it must fail: {text}"
    );
    site.saw("HTTPS verifies against site-ca.pem, and only against it");

    // The webmail, as a persona.
    let subject = format!("from-webmail-{}", std::process::id());
    let jar = tempfile::NamedTempFile::new().unwrap();
    send_by_webmail(&door, jar.path().to_str().unwrap(), &subject);
    site.saw("staff sent a message through the webmail");
    read_by_imap(&door, &subject);
    site.saw("staff read it over IMAPS");

    // Submission with STARTTLS and a password, by swaks.
    let subject = format!("from-swaks-{}", std::process::id());
    let server = format!("127.0.0.1:{}", door.submission);
    let header = format!("Subject: {subject}");
    let swaks = |password: &str| {
        run(
            "swaks",
            &[
                "--server",
                &server,
                "--tls",
                "--tls-ca-path",
                &door.ca,
                "--auth",
                "PLAIN",
                "--auth-user",
                "staff",
                "--auth-password",
                password,
                "--from",
                "staff@example.org",
                "--to",
                "admin@example.org,staff@example.org",
                "--header",
                &header,
                "--timeout",
                "60",
            ],
        )
    };
    let (fine, text) = swaks(&door.password);
    assert!(fine, "{text}");
    read_by_imap(&door, &subject);
    let (fine, text) = swaks("not the password");
    assert!(!fine && text.contains("535"), "{text}");
    site.saw("swaks submitted with the password, and was refused without it");

    // Port 25 takes mail for the domain, and for no other.
    let server = format!("127.0.0.1:{}", door.smtp);
    let relay = |to: &str| {
        run(
            "swaks",
            &[
                "--server",
                &server,
                "--from",
                "a@example.net",
                "--to",
                to,
                "--timeout",
                "60",
                "--quit-after",
                "RCPT",
            ],
        )
    };
    let (fine, text) = relay("staff@example.org");
    assert!(fine, "{text}");
    let (fine, text) = relay("someone@example.com");
    assert!(!fine && text.contains("554"), "an open relay: {text}");
    site.saw("port 25 takes mail for the domain and relays for nobody");
}

fn send_by_webmail(door: &Door, jar: &str, subject: &str) {
    let url = format!("https://webmail.localhost:{}/", door.https);
    let curl = |arguments: &[&str]| {
        let always = [
            "--silent",
            "--show-error",
            "--location",
            "--max-time",
            "120",
            "--cacert",
            &door.ca,
            "--cookie",
            jar,
            "--cookie-jar",
            jar,
        ];
        let (fine, text) = run("curl", &[&always, arguments].concat());
        assert!(fine, "{text}");
        text
    };
    let login = curl(&[&format!("{url}?_task=login")]);
    let token = hidden(&login, "_token");
    let mailbox = curl(&[
        "--data-urlencode",
        &format!("_token={token}"),
        "--data",
        "_task=login&_action=login",
        "--data",
        "_user=staff",
        "--data-urlencode",
        &format!("_pass={}", door.password),
        &format!("{url}?_task=login"),
    ]);
    assert!(
        mailbox.contains("_task=logout") || mailbox.contains("task-mail"),
        "{mailbox}"
    );
    let form = curl(&[&format!("{url}?_task=mail&_action=compose")]);
    let (token, id) = (hidden(&form, "_token"), hidden(&form, "_id"));
    let identity = form
        .split("name=\"_from\"")
        .nth(1)
        .and_then(|rest| rest.split("value=\"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("no identity in {form}"))
        .to_owned();
    let sent = curl(&[
        "--data-urlencode",
        &format!("_token={token}"),
        "--data",
        "_task=mail&_action=send",
        "--data-urlencode",
        &format!("_id={id}"),
        "--data-urlencode",
        &format!("_from={identity}"),
        "--data-urlencode",
        "_to=staff@example.org",
        "--data-urlencode",
        &format!("_subject={subject}"),
        "--data-urlencode",
        "_message=Seen from outside.",
        &format!("{url}?_task=mail&_action=send"),
    ]);
    assert!(
        sent.contains("sent_successfully") || sent.contains("successfully"),
        "{sent}"
    );
}

/// The value of a hidden field of a form.
fn hidden(page: &str, name: &str) -> String {
    let field = page
        .split("<input")
        .find(|field| field.contains(&format!("name=\"{name}\"")))
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    let value = field.split("value=\"").nth(1).expect("a value");
    value.split('"').next().expect("an end").to_owned()
}

fn read_by_imap(door: &Door, subject: &str) {
    crate::site::wait(
        &format!("{subject} over IMAPS"),
        Duration::from_secs(120),
        || {
            let (fine, text) = run(
                "curl",
                &[
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "60",
                    "--cacert",
                    &door.ca,
                    "--resolve",
                    &format!("office.example.org:{}:127.0.0.1", door.imaps),
                    "--user",
                    &format!("staff:{}", door.password),
                    &format!("imaps://office.example.org:{}/INBOX", door.imaps),
                    "--request",
                    &format!("SEARCH HEADER SUBJECT {subject}"),
                ],
            );
            assert!(fine, "{text}");
            text.lines()
                .any(|line| line.starts_with("* SEARCH ") && line.trim().len() > "* SEARCH".len())
                .then_some(())
        },
    );
}

/// What a stranger looks for on the host.
pub fn look_inside(site: &Site) {
    let failed = site.on_host("systemctl --failed --plain --no-legend | cat");
    assert_eq!(failed.trim(), "", "failed units");
    let readable = site.on_host(
        "find /var/lib/muster/secrets /var/lib/muster/ca /var/lib/muster/site.json -type f ! -perm 0600 ! -name '*.pem'; find /var/lib/muster -name 'key.pem' -perm /o=r",
    );
    assert_eq!(readable.trim(), "", "files others may read");
    let resident: Value = serde_json::from_str(&site.on_host(
        "pid=$(systemctl show -p MainPID --value muster-agent.service); awk '/^VmRSS/ {print $2}' /proc/$pid/status",
    ))
    .expect("KiB");
    site.saw(&format!(
        "no failed unit, no readable secret; agent resident {resident} KiB"
    ));
    let state = site.on_host("findmnt -rno TARGET,SOURCE | grep /state/ | cat");
    for path in [
        "/var/lib/ldap",
        "/var/lib/postgresql",
        "/var/vmail",
        "/var/lib/muster",
        "/home",
        "/var/log",
    ] {
        assert!(
            state.contains(path),
            "{path} is not on the data partition:\n{state}"
        );
    }
    let rules = site.on_host("nft list ruleset");
    assert!(rules.contains("policy drop"), "{rules}");
    let root = site.on_host("passwd -S root");
    assert!(root.starts_with("root L"), "root is not locked: {root}");
    site.saw("state is on the data partition, the packet filter is loaded, root is locked");
}
