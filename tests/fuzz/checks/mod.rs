//! What must hold for any bytes at all, one function per parser. Fuzzers call it with bytes of
//! their own (`targets/`), and the suite with those they found worth keeping (`corpus/`).

#![allow(clippy::unwrap_used, missing_docs)]

pub mod answers;
pub mod archives;
pub mod discover;
pub mod gpt;
pub mod index;
pub mod journal;
pub mod lock;
pub mod members;
pub mod names;
pub mod package;
pub mod page;
pub mod signed;
pub mod version;

/// What must hold for bytes; panics where it does not.
pub type Check = fn(&[u8]);

/// Every check by the name of its corpus.
pub const ALL: [(&str, Check); 13] = [
    ("answers", answers::check),
    ("archives", archives::check),
    ("discover", discover::check),
    ("gpt", gpt::check),
    ("index", index::check),
    ("journal", journal::check),
    ("lock", lock::check),
    ("members", members::check),
    ("names", names::check),
    ("package", package::check),
    ("page", page::check),
    ("signed", signed::check),
    ("version", version::check),
];
