//! A stack to its plan: tasks in order, wiring, phases, firewall. Pure.

pub mod model;
pub mod picture;
pub mod words;
mod firewall;
mod new;
mod order;

pub use firewall::MESH_PORT;
pub use model::*;
pub use order::relative;
