//! What stands after the colon of a relation, beside every kind of Multi-Arch: closures are those
//! of apt, and so are refusals.

use crate::apt::Apt;
use crate::archive::{Miniature, Suite, mirrors, stack};
use crate::key::Key;
use std::collections::BTreeSet;

const QUALIFIERS: [&str; 6] = ["", ":any", ":native", ":amd64", ":all", ":i386"];
const ARCHITECTURES: [&str; 2] = ["amd64", "all"];
const MULTI: [&str; 4] = ["no", "same", "foreign", "allowed"];

/// Every package that is asked for: its name, what is asked for beside it, and whether the role
/// takes recommendations.
struct Question {
    names: Vec<String>,
    recommends: bool,
}

/// An archive in which each question has packages of its own.
fn archive() -> (String, Vec<Question>) {
    let (mut index, mut questions) = (String::new(), Vec::new());
    let mut add = |name: &str, architecture: &str, more: &str| {
        index += &format!("Package: {name}\nVersion: 1\nArchitecture: {architecture}\n{more}\n");
    };
    for (number, architecture) in ARCHITECTURES.iter().enumerate() {
        for multi in MULTI {
            // apt refuses an index in which `all` is `same`.
            if (*architecture, multi) == ("all", "same") {
                continue;
            }
            let target = format!("t-{architecture}-{multi}");
            let virtue = format!("v{number}{multi}");
            let provides = format!("Multi-Arch: {multi}\nProvides: {virtue} (= 2)\n");
            add(&target, architecture, &provides);
            for (at, qualifier) in QUALIFIERS.iter().enumerate() {
                for (field, wanted) in [
                    ("Depends", &target),
                    ("Depends", &virtue),
                    ("Pre-Depends", &target),
                    ("Recommends", &target),
                    ("Conflicts", &target),
                    ("Breaks", &virtue),
                ] {
                    let kind = field.to_lowercase();
                    let name = format!("a-{kind}-{wanted}-{at}");
                    add(&name, "amd64", &format!("{field}: {wanted}{qualifier}\n"));
                    let mut names = vec![name];
                    if matches!(field, "Conflicts" | "Breaks") {
                        names.push(target.clone());
                    }
                    questions.push(Question {
                        names,
                        recommends: field == "Recommends",
                    });
                }
            }
        }
    }
    // What is provided may be said of an architecture, too.
    for architecture in ARCHITECTURES {
        for multi in ["no", "allowed"] {
            for (at, qualifier) in QUALIFIERS.iter().enumerate() {
                let name = format!("w-{architecture}-{multi}-{at}");
                let provides = format!("Multi-Arch: {multi}\nProvides: {name}{qualifier}\n");
                add(&format!("p{name}"), architecture, &provides);
                for (other, wanted) in QUALIFIERS.iter().enumerate() {
                    let asking = format!("b{name}-{other}");
                    add(&asking, "amd64", &format!("Depends: {name}{wanted}\n"));
                    questions.push(Question {
                        names: vec![asking],
                        recommends: false,
                    });
                }
            }
        }
    }
    (index, questions)
}

#[test]
fn qualified_relations_are_answered_as_apt_answers_them() {
    if Apt::is_missing() {
        return;
    }
    let (index, questions) = archive();
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", &index));
    let base = mini.base(&["noble"], &["main"]);
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), &base, &mirrors(&stack(base.clone(), &[])));
    let mut differences = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    for question in questions {
        let names: Vec<&str> = question.names.iter().map(String::as_str).collect();
        let mut request = stack(base.clone(), &names);
        request.roles[0].recommends = question.recommends;
        let ours = mini.lock(&request, 11, None, false).map(|locked| {
            let packages = locked.lock.packages.iter();
            let names = packages.map(|package| format!("{}={}", package.name, package.version));
            names.collect::<BTreeSet<String>>()
        });
        let ours = ours.map_err(|error| error.to_string());
        let theirs = apt.simulate(&question.names, question.recommends);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => taken += 1,
            (Err(_), Err(_)) => refused += 1,
            _ => differences.push(format!("{}: {ours:?}, apt: {theirs:?}", names.join(" "))),
        }
    }
    println!("{taken} taken by both, {refused} refused by both");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}
