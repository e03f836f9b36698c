//! Files come whole or not at all, whatever the mirror does.

use crate::archive::{Miniature, Suite, moment, put, stack};
use crate::key::Key;
use crate::server::{Mood, serve};
use indicatif::ProgressBar;
use muster::packages::PackagesError;
use muster::packages::apt::archive::Reader;
use muster::packages::apt::mirror::{Mirrors, Preferences};
use muster::packages::download::{Wanted, download};
use muster::packages::fetch::fetch;
use muster::packages::http::{Patience, Transport};
use muster::packages::lock::Lock;
use muster::profile::Stack;
use std::time::Duration;

const PACKAGES: &str = "Package: a\nVersion: 1\nDepends: b\n\nPackage: b\nVersion: 2\n";

/// Two attempts, and no time for either.
pub const HURRIED: Patience = Patience {
    attempts: 2,
    pause: Duration::from_millis(10),
    connect: Duration::from_millis(500),
    silence: Duration::from_secs(1),
    pace: 1 << 20,
    small_file: Duration::from_millis(1500),
};

/// Two attempts; time only runs out where that is what is looked at.
fn patience(mood: Mood) -> Patience {
    match mood {
        Mood::Stalling | Mood::Dribbling | Mood::Mute => HURRIED,
        _ => Patience {
            attempts: HURRIED.attempts,
            pause: HURRIED.pause,
            ..Patience::default()
        },
    }
}

fn locked() -> (Miniature, Stack, Lock) {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", PACKAGES));
    let stack = stack(mini.base(&["noble"], &["main"]), &["a"]);
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    (mini, stack, lock)
}

fn at(stack: &Stack, url: &str) -> Mirrors {
    let preferences = Preferences {
        given: vec![url.to_owned()],
        ..Preferences::default()
    };
    Mirrors::choose(stack.bases.values(), &preferences)
}

fn holds_all(mini: &Miniature, lock: &Lock) {
    for package in &lock.packages {
        let got = std::fs::read_to_string(mini.cache().path(&package.sha256)).unwrap();
        let wanted = format!("{} {} all\n", package.name, package.version);
        assert_eq!(got, wanted);
        assert!(!mini.cache().part(&package.sha256).exists());
    }
}

#[test]
fn every_mood_of_a_mirror_ends_with_the_right_files() {
    for mood in [
        Mood::Resuming,
        Mood::Forgetful,
        Mood::Faltering,
        Mood::Busy,
        Mood::Redirecting(3),
        Mood::Unsatisfied,
        Mood::Beside,
    ] {
        let (mini, stack, lock) = locked();
        let server = serve(mini.mirror(), mood);
        let mirrors = at(&stack, &server.url);
        // What an earlier run left behind.
        put(&mini.cache().part(&lock.packages[0].sha256), b"a 1 ");
        let bar = ProgressBar::hidden();
        let done = fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap();
        assert_eq!((done.files, done.fetched_files), (2, 2));
        assert_eq!(bar.position(), bar.length().unwrap());
        holds_all(&mini, &lock);
        let first = server
            .requests
            .lock()
            .unwrap()
            .iter()
            .any(|r| r.ends_with("_1_all.deb from 4"));
        assert!(first, "the partial file was not resumed");
        let again = fetch(&lock, &mini.cache(), None, &bar).unwrap();
        assert_eq!(again.fetched_files, 0);
    }
}

#[test]
fn a_partial_file_that_is_rubbish_is_fetched_anew() {
    let (mini, stack, lock) = locked();
    let server = serve(mini.mirror(), Mood::Resuming);
    let mirrors = at(&stack, &server.url);
    // As long as a beginning of the file, and longer than the file is.
    put(&mini.cache().part(&lock.packages[0].sha256), b"x 1 ");
    put(&mini.cache().part(&lock.packages[1].sha256), &[b'x'; 9000]);
    let bar = ProgressBar::hidden();
    fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap();
    holds_all(&mini, &lock);
}

#[test]
fn a_mirror_is_asked_for_five_files_at_a_time() {
    let mini = Miniature::new(Key::new());
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    let stanzas = names
        .iter()
        .map(|name| format!("Package: {name}\nVersion: 1\n\n"));
    mini.write(&Suite::new("noble", &stanzas.collect::<String>()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stack = stack(mini.base(&["noble"], &["main"]), &names);
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    let server = serve(mini.mirror(), Mood::Slow);
    let mirrors = at(&stack, &server.url);
    fetch(&lock, &mini.cache(), Some(&mirrors), &ProgressBar::hidden()).unwrap();
    holds_all(&mini, &lock);
    assert_eq!(server.at_once.load(std::sync::atomic::Ordering::SeqCst), 5);
}

#[test]
fn a_file_that_is_gone_or_changed_is_named() {
    let (mini, stack, lock) = locked();
    let mirrors = at(&stack, &mini.url());
    let bar = ProgressBar::hidden();
    let path = mini.mirror().join(&lock.packages[1].path);
    let honest = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let part = mini.cache().part(&lock.packages[1].sha256);
    let words = |error: PackagesError| {
        // Nothing that is wrong is kept, not even as a beginning.
        assert_eq!(std::fs::metadata(&part).map_or(0, |kept| kept.len()), 0);
        error.to_string().replace(&mini.url(), "[mirror]")
    };
    let error = fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap_err();
    assert_eq!(
        words(error),
        "b:all=2 cannot be fetched: [mirror]/pool/b_2_all.deb: not there (HTTP 404)"
    );
    put(&path, b"b 3 all\n");
    let error = fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap_err();
    assert!(words(error).starts_with(
        "b:all=2 cannot be fetched: [mirror]/pool/b_2_all.deb is not the file the lock or index \
         names: its SHA-256 is "
    ));
    assert!(!mini.cache().has(&lock.packages[1].sha256));
    put(&path, &honest[..5]);
    let error = fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap_err();
    assert_eq!(
        words(error),
        "b:all=2 cannot be fetched: [mirror]/pool/b_2_all.deb is not the file the lock or index \
         names: it has 5 bytes, not 8"
    );
    put(&path, &[honest.as_slice(), b"more"].concat());
    let error = fetch(&lock, &mini.cache(), Some(&mirrors), &bar).unwrap_err();
    assert_eq!(
        words(error),
        "b:all=2 cannot be fetched: [mirror]/pool/b_2_all.deb is not the file the lock or index \
         names: it has 12 bytes, not 8"
    );
}

#[test]
fn a_mirror_that_never_gives_the_file_is_given_up_in_words() {
    for (mood, words) in [
        (
            Mood::Cutting,
            "[mirror]/pool/a_1_all.deb: the mirror hung up in the middle of the file",
        ),
        (
            Mood::Stalling,
            "[mirror]/pool/a_1_all.deb: the mirror stalls: no further byte came within 1 seconds",
        ),
        (
            Mood::Dribbling,
            "[mirror]/pool/a_1_all.deb: the mirror stalls: next to nothing came within 1 seconds",
        ),
        (
            Mood::Mute,
            "[mirror]/pool/a_1_all.deb: the mirror stalls: no answer came within 1 seconds",
        ),
        (
            Mood::Astray,
            "[mirror]/pool/a_1_all.deb: the mirror sends another part of the file than it was \
             asked for",
        ),
        (
            Mood::Leaving,
            "[mirror]/pool/a_1_all.deb: the connection ended after 4 of 8 bytes",
        ),
        (
            Mood::Endless,
            "[mirror]/pool/a_1_all.deb is not the file the lock or index names: it goes on after 8 \
             bytes",
        ),
        (
            Mood::Redirecting(u32::MAX),
            "[mirror]/pool/a_1_all.deb: redirected more than 5 times",
        ),
        (
            Mood::Luring,
            "[mirror]/pool/a_1_all.deb: redirected more than 5 times",
        ),
        (
            Mood::Redirecting(6),
            "[mirror]/pool/a_1_all.deb: redirected more than 5 times",
        ),
    ] {
        let (mini, stack, lock) = locked();
        let server = serve(mini.mirror(), mood);
        let transport = Transport::new(patience(mood));
        let package = &lock.packages[0];
        let url = format!("{}/{}", server.url, package.path);
        let wanted = Wanted {
            sha256: package.sha256.clone(),
            size: package.size,
        };
        let certain = std::cell::Cell::new(0);
        let told = |bytes| certain.set(certain.get() + bytes);
        let error = download(&transport, &mini.cache(), &url, &wanted, &told).unwrap_err();
        assert_eq!(error.to_string().replace(&server.url, "[mirror]"), words);
        assert_eq!(certain.get(), 0, "{words}");
        assert!(!mini.cache().has(&package.sha256));
        mini.is_unharmed();
        let asked = server.requests.lock().unwrap().len();
        let passing = matches!(
            mood,
            Mood::Stalling | Mood::Dribbling | Mood::Mute | Mood::Cutting | Mood::Leaving
        );
        if passing {
            // A file that is cut again and again grows until it is whole or the attempts end.
            assert_eq!(asked, 2, "{words}");
        }
        let mirrors = at(&stack, &mini.url());
        fetch(&lock, &mini.cache(), Some(&mirrors), &ProgressBar::hidden()).unwrap();
        holds_all(&mini, &lock);
    }
}

#[test]
fn a_mirror_that_takes_no_connection_is_given_up_in_words() {
    use std::net::{TcpListener, TcpStream};
    // A listener whose queue is full answers no further one (listen(2)).
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let none = nix::sys::socket::Backlog::new(0).unwrap();
    nix::sys::socket::listen(&full, none).unwrap();
    let place = full.local_addr().unwrap();
    let brief = Duration::from_millis(200);
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&place, brief) {
        queue.push(stream);
    }
    let (mini, stack, lock) = locked();
    let package = &lock.packages[0];
    let url = format!("http://{place}/{}", package.path);
    let wanted = Wanted {
        sha256: package.sha256.clone(),
        size: package.size,
    };
    let transport = Transport::new(HURRIED);
    let error = download(&transport, &mini.cache(), &url, &wanted, &|_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{url}: the mirror stalls: no connection stood within 0.5 seconds")
    );
    mini.is_unharmed();
    let mirrors = at(&stack, &mini.url());
    fetch(&lock, &mini.cache(), Some(&mirrors), &ProgressBar::hidden()).unwrap();
    holds_all(&mini, &lock);
}

#[test]
fn a_release_file_that_never_ends_or_never_comes() {
    for (mood, words) in [
        (Mood::Endless, "more than 16777216 bytes"),
        (
            Mood::Dribbling,
            "the mirror stalls: the file did not come within 1.5 seconds",
        ),
        (
            Mood::Cutting,
            "the mirror hung up in the middle of the file",
        ),
        (Mood::Redirecting(u32::MAX), "redirected more than 5 times"),
    ] {
        let (mini, stack, _) = locked();
        let server = serve(mini.mirror(), mood);
        let mirrors = at(&stack, &server.url);
        let cache = mini.cache();
        let reader = |mirrors| Reader {
            mirrors,
            cache: &cache,
            transport: Transport::new(patience(mood)),
            offline: false,
            now: moment(11),
            seen: &[],
        };
        let base = &stack.bases["mini-1"];
        let error = reader(&mirrors).suite(base, &base.archives[0], "noble");
        let error = PackagesError::from(error.unwrap_err());
        assert_eq!(
            error.to_string().replace(&server.url, "[mirror]"),
            format!(
                "the release file of noble (archive mini of mini-1) cannot be fetched: \
                 [mirror]/dists/noble/InRelease: {words}"
            )
        );
        assert_eq!(
            error.hint(),
            Some("try another mirror with --mirror URL, or work from the cache with --offline")
        );
        mini.is_unharmed();
        let honest = at(&stack, &mini.url());
        reader(&honest)
            .suite(base, &base.archives[0], "noble")
            .unwrap();
    }
}

#[test]
fn a_password_in_the_address_of_a_mirror_stays_out_of_all_words() {
    let (mini, stack, lock) = locked();
    let path = mini.mirror().join(&lock.packages[0].path);
    for content in [&b"short"[..], b"other 1\n"] {
        put(&path, content);
        let url = mini.url().replace("http://", "http://me:secret@");
        let error = fetch(
            &lock,
            &mini.cache(),
            Some(&at(&stack, &url)),
            &ProgressBar::hidden(),
        );
        let words = error.unwrap_err().to_string();
        assert!(
            words.contains(&mini.url()) && !words.contains("secret"),
            "{words}"
        );
    }
}

#[test]
fn offline_names_what_is_missing() {
    let (mini, _, lock) = locked();
    let error = fetch(&lock, &mini.cache(), None, &ProgressBar::hidden()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cache lacks 2 of the locked files, and --offline forbids to fetch them: a:all=1, b:all=2"
    );
}

#[test]
fn a_file_that_the_mirror_dropped_comes_from_the_snapshot_service() {
    let (mini, mut stack, lock) = locked();
    let dropped = mini.mirror().join(&lock.packages[1].path);
    // A day after the release file was made: 11 January 2026.
    let kept = mini.folder.path().join("snapshot/20260112T000000Z");
    put(
        &kept.join(&lock.packages[1].path),
        &std::fs::read(&dropped).unwrap(),
    );
    std::fs::remove_file(&dropped).unwrap();
    let pattern = format!(
        "file://{}/snapshot/{{moment}}/{{path}}",
        mini.folder.path().display()
    );
    let base = stack.bases.get_mut("mini-1").unwrap();
    base.archives[0].snapshot = Some(pattern);
    let mirrors = at(&stack, &mini.url());
    fetch(&lock, &mini.cache(), Some(&mirrors), &ProgressBar::hidden()).unwrap();
    holds_all(&mini, &lock);
}
