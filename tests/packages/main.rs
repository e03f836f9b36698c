//! From a signed archive to verified files: order of versions, closures, locks, refusals.

#![allow(clippy::unwrap_used)]

mod apt;
mod archive;
mod artifacts;
mod bases;
mod closure_equals_apt;
mod downloads;
mod flat;
mod images;
mod indexes;
mod key;
mod liar;
mod locks;
mod mirrors;
mod phased;
mod pins;
mod qualifiers;
mod random_sets;
mod refusals;
mod resolver;
mod server;
mod signatures;
mod versions;
