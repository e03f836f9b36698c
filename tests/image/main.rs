//! What the image room refuses, and what an image it made looks like.

#![allow(clippy::unwrap_used)]

// The signed archive and its mirror, of which the tests of packages use more.
#[allow(dead_code)]
#[path = "../packages/archive.rs"]
mod archive;
#[allow(dead_code)]
#[path = "../packages/key.rs"]
mod key;
#[allow(dead_code)]
#[path = "../packages/server.rs"]
mod server;

mod archives;
mod artifacts;
mod capabilities;
mod excluded;
mod host;
mod limits;
mod links;
mod package;
mod refusals;
mod replaced;
