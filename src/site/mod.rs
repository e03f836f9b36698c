//! Questions to answers to a [`Site`]: organisations, addresses, the CA, secrets.

pub mod accounts;
pub mod authority;
pub mod durable;
pub mod model;
pub mod secrets;

pub use model::*;
