//! Questions to answers to a [`Site`]: organisations, addresses, the CA, secrets.

pub mod accounts;
pub mod answers;
pub mod assemble;
pub mod authority;
pub mod demo;
pub mod durable;
pub mod estate;
pub mod model;
pub mod password;
pub mod question;
pub mod recovery;
pub mod refusal;
pub mod rules;
pub mod sealed;
pub mod secrets;
pub mod trust;
pub mod words;

pub use model::*;
