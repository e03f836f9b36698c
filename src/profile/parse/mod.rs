//! Text to values: one file per kind of table. Pure; names are resolved later.

pub mod archive;
pub mod artifact;
pub mod base;
pub mod probe;
pub mod service;
pub mod stack;
pub mod step;
