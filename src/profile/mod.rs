//! Text to a checked [`Stack`] value. Reads files, and does nothing else.

pub mod artifact;
pub mod interfaces;
pub mod model;
pub mod network;
pub mod probe_kinds;
pub mod problem;
pub mod source;
mod archives;
mod bind;
mod check;
pub mod glob;
mod load;
pub(crate) mod names;
mod notes;
mod parse;
mod reader;

pub use bind::instances;
pub use load::Choice;
pub use model::*;
pub use problem::ProfileError;
pub use source::Source;
