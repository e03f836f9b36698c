//! The host's own apt: what the image left of archives, keys and dpkg's database is good for
//! whoever installs more.

use crate::site::Site;
use muster::packages::apt::mirror::{Mirrors, Preferences};
use muster::profile::{Source, Stack};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

/// Refreshes the lists and installs a package that is not there. The guest reaches the mirror
/// of this computer through a proxy on its loopback.
pub fn more(site: &Site) {
    let port = serve();
    let apt = format!(
        "apt-get -q -o Acquire::http::Proxy=http://10.0.2.2:{port} -o Acquire::Languages=none"
    );
    let said = site.on_host(&format!(
        "export DEBIAN_FRONTEND=noninteractive; {apt} update 2>&1; {apt} install -y --no-install-recommends hello 2>&1; hello"
    ));
    assert!(said.contains("Setting up hello"), "{said}");
    assert!(!said.contains("W: ") && !said.contains("E: "), "{said}");
    assert!(said.ends_with("Hello, world!\n"), "{said}");
    let audit =
        site.on_host("dpkg --audit; apt-get check -q 2>&1 | grep -v '^Reading\\|^Building' | cat");
    assert_eq!(audit, "");
    site.saw("apt update and apt install work on the host");
}

/// Answers on a port of the loopback until the process ends.
fn serve() -> u16 {
    let stack = Stack::load(&Source::new(None), "office", None).expect("sound");
    let preferences = Preferences::read(&[]).expect("readable");
    let mirrors = Mirrors::choose(stack.bases.values(), &preferences);
    let base = stack.bases.values().next().expect("one");
    let near: Vec<(String, String)> = base
        .archives
        .iter()
        .map(|archive| {
            let url = mirrors.url(&base.name, &archive.name).expect("a mirror");
            (
                archive.mirror.clone() + "/",
                url.trim_end_matches('/').to_owned() + "/",
            )
        })
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let near = Arc::new(near);
    std::thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            let near = Arc::clone(&near);
            std::thread::spawn(move || answer(visitor, &near));
        }
    });
    port
}

/// One request; the connection is closed behind it.
fn answer(mut visitor: TcpStream, near: &[(String, String)]) -> std::io::Result<()> {
    let mut lines = BufReader::new(visitor.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let asked = request.split(' ').nth(1).unwrap_or_default();
    let found = near.iter().find_map(|(far, near)| {
        let path = asked.strip_prefix(far.as_str())?;
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--location", "--max-time", "120"])
            .arg(format!("{near}{path}"))
            .output();
        output.ok().filter(|output| output.status.success())
    });
    let (line, body) = match found {
        Some(output) => ("200 OK", output.stdout),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(
        visitor,
        "HTTP/1.1 {line}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    visitor.write_all(&body)
}
