//! Questions to answers to a [`Site`]: organisations, addresses, the CA, secrets.

pub mod model;

pub use model::*;
