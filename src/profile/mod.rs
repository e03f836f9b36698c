//! Text to a checked [`Stack`] value. Reads files, and does nothing else.

pub mod model;

pub use model::*;
