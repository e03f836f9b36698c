//! A stack to a [`lock::Lock`] to verified files in the [`cache::Cache`].

pub mod cache;
pub mod lock;
