//! A mirror on the loopback interface that behaves as mirrors do on their bad days.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
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
}

/// A running server; it ends with the test.
pub struct Server {
    pub url: String,
    /// Every request as `path` or `path from N`.
    pub requests: Arc<Mutex<Vec<String>>>,
}

/// Serves a folder.
pub fn serve(folder: PathBuf, mood: Mood) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, log) = (folder.clone(), log.clone());
            std::thread::spawn(move || answer(stream, &folder, mood, &log));
        }
    });
    Server { url, requests }
}

/// Answers requests on one connection until it ends.
fn answer(
    mut stream: TcpStream,
    folder: &std::path::Path,
    mood: Mood,
    log: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let first = lines.next()?.ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        let mut from = 0;
        loop {
            let line = lines.next()?.ok()?.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().ok()?;
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
        if mood == Mood::Faltering && !seen_before {
            stream.write_all(&body[..body.len() / 2]).ok()?;
            return None;
        }
        stream.write_all(body).ok()?;
    }
}
