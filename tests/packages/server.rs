//! A mirror on the loopback interface that behaves as mirrors do on their bad days.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers `Range` requests with 206.
    Resuming,
    /// Answers every request with 200 and the whole file.
    Forgetful,
    /// Closes the first connection for each file half way, then resumes.
    Faltering,
    /// Answers 503 to the first request for each file.
    Busy,
    /// Closes every connection half way.
    Cutting,
    /// Says nothing more, half way through a file.
    Stalling,
    /// Takes the request and never answers.
    Mute,
    /// Sends a byte now and then.
    Dribbling,
    /// Says no length, and sends more than the file for as long as anyone listens.
    Endless,
    /// Sends each request on to another address, so many times.
    Redirecting(u32),
    /// Sends each request on to a file of the workstation.
    Luring,
    /// Answers `Range` requests with 416.
    Unsatisfied,
    /// Answers `Range` requests with a part that begins one byte later.
    Beside,
    /// Closes the first connection for each file half way, then resumes as [`Mood::Beside`].
    Astray,
    /// Says no length, and closes every connection half way through the whole file.
    Leaving,
    /// Thinks before each answer.
    Slow,
    /// Gives what is below `/v2/` to who has a token, as registries of container images do.
    Guarded(Guard),
}

/// How a registry asks who is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Has a token for anybody.
    Token,
    /// Takes each token once.
    Once,
    /// Has tokens, and takes none.
    Never,
    /// Wants a name and a password.
    Password,
    /// Says that its tokens are in a file of the workstation.
    Lure,
    /// Answers with something that is no token.
    Nonsense,
    /// Has a token, and sends on to another host, which wants to see none.
    Elsewhere,
}

/// Longer than any test waits.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// A running server; it ends with the test.
pub struct Server {
    pub url: String,
    /// Every request as `path` or `path from N`.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Requests that a slow server has thought about at a time, at most.
    pub at_once: Arc<AtomicUsize>,
}

/// Serves a folder.
pub fn serve(folder: PathBuf, mood: Mood) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let at_once = Arc::new(AtomicUsize::new(0));
    let (log, most) = (requests.clone(), at_once.clone());
    let thinking = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, log) = (folder.clone(), log.clone());
            let (most, thinking) = (most.clone(), thinking.clone());
            let think = move || {
                most.fetch_max(thinking.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(100));
                thinking.fetch_sub(1, SeqCst);
            };
            std::thread::spawn(move || answer(stream, &folder, mood, &log, &think));
        }
    });
    Server {
        url,
        requests,
        at_once,
    }
}

/// Answers requests on one connection until it ends.
fn answer(
    mut stream: TcpStream,
    folder: &std::path::Path,
    mood: Mood,
    log: &Mutex<Vec<String>>,
    think: &dyn Fn(),
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let first = lines.next()?.ok()?;
        let mut path = first.split(' ').nth(1)?.to_owned();
        let mut from = 0;
        let (mut host, mut token) = (String::new(), None);
        loop {
            let line = lines.next()?.ok()?.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().ok()?;
            }
            if let Some(name) = line.strip_prefix("host: ") {
                host = name.to_owned();
            }
            if let Some(value) = line.strip_prefix("authorization: ") {
                token = Some(value.to_owned());
            }
            if line.is_empty() {
                break;
            }
        }
        let seen_before = {
            let mut log = log.lock().ok()?;
            let before = log.iter().any(|entry| entry.starts_with(&path));
            log.push(match from {
                0 => path.clone(),
                _ => format!("{path} from {from}"),
            });
            before
        };
        if let Mood::Redirecting(hops) = mood {
            // `/hop/N/path`: sent on N times already.
            let hopped = path.strip_prefix("/hop/").and_then(|rest| {
                let (number, rest) = rest.split_once('/')?;
                Some((number.parse::<u32>().ok()?, format!("/{rest}")))
            });
            let (so_far, rest) = hopped.unwrap_or((0, path));
            if so_far < hops {
                let to = format!("/hop/{}{rest}", so_far + 1);
                let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n");
                stream.write_all(head.as_bytes()).ok()?;
                stream.write_all(b"Content-Length: 0\r\n\r\n").ok()?;
                continue;
            }
            path = rest;
        }
        if let Mood::Guarded(guard) = mood
            && let Some(answer) = guarded(guard, &path, &host, token.as_deref(), log)
        {
            stream.write_all(answer.as_bytes()).ok()?;
            continue;
        }
        if mood == Mood::Luring {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n")
                .ok()?;
            stream.write_all(b"Content-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        if mood == Mood::Mute {
            std::thread::sleep(LONG);
            return None;
        }
        let Ok(content) = std::fs::read(folder.join(path.trim_start_matches('/'))) else {
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
            continue;
        };
        if mood == Mood::Busy && !seen_before {
            stream
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
            continue;
        }
        if mood == Mood::Unsatisfied && from > 0 {
            stream
                .write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
            continue;
        }
        if mood == Mood::Slow {
            think();
        }
        if mood == Mood::Leaving {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .ok()?;
            stream.write_all(&content[..content.len() / 2]).ok()?;
            return None;
        }
        if matches!(mood, Mood::Beside | Mood::Astray) && from > 0 {
            from += 1;
        }
        if mood == Mood::Endless {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            stream.write_all(&content).ok()?;
            let more = vec![b'x'; 1 << 20];
            loop {
                stream.write_all(&more).ok()?;
            }
        }
        let whole = mood == Mood::Forgetful || from == 0;
        let body = if whole {
            &content[..]
        } else {
            &content[from..]
        };
        let head = if whole {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())
        } else {
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\r\n",
                body.len(),
                content.len() - 1,
                content.len()
            )
        };
        stream.write_all(head.as_bytes()).ok()?;
        let half = &body[..body.len() / 2];
        match mood {
            Mood::Faltering | Mood::Astray if !seen_before => {
                stream.write_all(half).ok()?;
                return None;
            }
            Mood::Cutting => {
                stream.write_all(half).ok()?;
                return None;
            }
            Mood::Stalling => {
                stream.write_all(half).ok()?;
                std::thread::sleep(LONG);
                return None;
            }
            Mood::Dribbling => {
                for byte in body {
                    stream.write_all(&[*byte]).ok()?;
                    std::thread::sleep(std::time::Duration::from_millis(600));
                }
                continue;
            }
            _ => {}
        }
        stream.write_all(body).ok()?;
    }
}

/// What a registry says before it gives anything; nothing to who may have it.
fn guarded(
    guard: Guard,
    path: &str,
    host: &str,
    token: Option<&str>,
    log: &Mutex<Vec<String>>,
) -> Option<String> {
    let asked = |what: &str| {
        let log = log.lock().unwrap();
        log.iter().filter(|entry| entry.starts_with(what)).count()
    };
    if path.starts_with("/token") {
        let body = match guard {
            Guard::Nonsense => "<html>".to_owned(),
            _ => format!("{{\"token\":\"t{}\"}}", asked("/token")),
        };
        let length = body.len();
        return Some(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
    let refused = |head: &str| Some(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n"));
    if path.starts_with("/cdn/") {
        return token.and_then(|_| refused("400 Bad Request"));
    }
    let newest = format!("bearer t{}", asked("/token"));
    let good = match guard {
        Guard::Once => {
            token == Some(&newest) && {
                let mut log = log.lock().unwrap();
                let used = log.contains(&newest);
                log.push(newest);
                !used
            }
        }
        Guard::Token | Guard::Elsewhere => token == Some(&newest),
        _ => false,
    };
    if good {
        let digest = path.strip_prefix("/v2/tools/app/blobs/");
        return match (guard, digest) {
            (Guard::Elsewhere, Some(digest)) => {
                // The same computer by another name.
                let port = host.rsplit(':').next().unwrap();
                let to = format!("http://localhost:{port}/cdn/{digest}");
                refused(&format!("307 Temporary Redirect\r\nLocation: {to}"))
            }
            _ => None,
        };
    }
    let challenge = match guard {
        Guard::Password => "Basic realm=\"mini\"".to_owned(),
        Guard::Lure => "Bearer realm=\"file:///etc/hostname\"".to_owned(),
        _ => format!(
            "Bearer realm=\"http://{host}/token\",service=\"mini\",scope=\"repository:tools/app:pull\""
        ),
    };
    refused(&format!(
        "401 Unauthorized\r\nWWW-Authenticate: {challenge}"
    ))
}
