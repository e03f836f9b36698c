//! A stack to its plan: tasks in order, wiring, phases, firewall. Pure.

pub mod model;

pub use model::*;
