//! Files of a host's site that somebody removed or edited.

use muster::bringup::journal::{History, Journal};
use muster::profile::Secret;
use muster::site::authority::Authority;
use muster::site::rules::person::password;
use muster::site::secrets::Secrets;

#[test]
fn a_lost_or_foreign_key_of_the_authority_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    for place in [&ours, &theirs] {
        Authority::open_or_create(place, "Example").unwrap();
    }
    let key = ours.join("ca.key");
    let refused = || {
        let error = Authority::open_or_create(&ours, "Example").err().unwrap();
        error.to_string()
    };
    std::fs::copy(theirs.join("ca.key"), &key).unwrap();
    assert_eq!(
        refused(),
        format!(
            "{} is not the key of the CA certificate beside it",
            key.display()
        )
    );
    std::fs::remove_file(&key).unwrap();
    assert_eq!(
        refused(),
        format!(
            "{} is missing, but its certificate is there; restore it from a backup",
            key.display()
        )
    );
    assert!(!key.exists());
}

#[test]
fn an_emptied_secret_and_a_name_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = Secrets::open(folder.path().join("secrets")).unwrap();
    let refused = |name: &str| {
        let error = secrets.get_or_create(name, &Secret::Password { length: 20 });
        error.unwrap_err().to_string()
    };
    assert_eq!(
        refused("../admin"),
        "`../admin` does not name a secret: names are like `office/postgresql/admin`"
    );
    let path = secrets.path("office/admin").unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(
        refused("office/admin"),
        format!(
            "secret {} is empty; restore it, or remove it to have a new one drawn",
            path.display()
        )
    );
}

#[test]
fn a_journal_in_use_and_one_with_a_hole_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let shown = path.display();
    let mut journal = Journal::open(&path, "image").unwrap();
    for task in ["a", "b"] {
        let started = muster::bringup::journal::Entry::Started;
        journal.write(task, started).unwrap();
    }
    assert_eq!(
        Journal::open(&path, "image").err().unwrap().to_string(),
        format!("the journal {shown} is in use by another muster: is muster-agent running?")
    );
    drop(journal);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"a\"", "\"x\"", 1)).unwrap();
    let said = History::read(&path).unwrap_err().to_string();
    assert!(
        said.starts_with(&format!("the journal {shown} is damaged in line "))
            && said.ends_with(
                "; move it aside and restart muster-agent: every task checks before it acts"
            ),
        "{said}"
    );
}

#[test]
fn a_password_is_refused_for_its_reason() {
    let long = "ab cd ".repeat(100);
    for (text, words) in [
        ("short", "a password has at least 10 characters"),
        (&*long, "a password has at most 128 bytes"),
        (
            "ababababababab",
            "the password is made of too few different characters",
        ),
        (
            "Password1234",
            "that password is on every attacker's first page",
        ),
        ("staff123", "the password contains the account's name"),
        (
            "up\u{1b}[A and more",
            "a control character is in it; was that an arrow key?",
        ),
    ] {
        let refused = password(text, Some("staff")).unwrap_err();
        assert_eq!(refused.to_string(), words, "{text}");
    }
}
