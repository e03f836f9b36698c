//! Who waits for a secret that is drawn, and who does not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::bringup::share::tests::signing;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn whoever_reads_another_secret_does_not_wait_for_one_that_is_drawn() {
    let home = tempfile::tempdir().unwrap();
    let facts = signing(home.path());
    let password = Secret::Password { length: 20 };
    let known = facts.secret("core/data/known", &password).unwrap();
    // As long as this is held, drawing takes.
    let folder = File::open(facts.places.secrets()).unwrap();
    let drawing = Flock::lock(folder, FlockArg::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let facts = &facts;
        let (told, hear) = mpsc::channel();
        for _ in 0..2 {
            let told = told.clone();
            scope.spawn(move || {
                let new = Secret::Password { length: 20 };
                told.send(facts.secret("core/data/new", &new)).unwrap();
            });
        }
        let limit = Duration::from_millis(200);
        assert!(hear.recv_timeout(limit).is_err(), "it cannot be drawn yet");
        let (said, known_again) = mpsc::channel();
        scope.spawn(move || {
            said.send(facts.secret("core/data/known", &password))
                .unwrap();
        });
        let again = known_again.recv_timeout(Duration::from_secs(10));
        drop(drawing);
        assert_eq!(again.unwrap().unwrap(), known);
        let both = [hear.recv().unwrap().unwrap(), hear.recv().unwrap().unwrap()];
        assert_eq!(both[0], both[1]);
        assert_eq!(facts.redact(&both[0]), "[secret]");
    });
}
