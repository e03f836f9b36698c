//! muster turns a description of a company's IT into running machines whose services are
//! proven to work together.
//!
//! The rooms stand in the order that data flows through them; a room imports only rooms
//! above it in this list.

pub mod profile;
pub mod packages;
pub mod image;
pub mod machine;
pub mod site;
pub mod plan;
pub mod bringup;
pub mod mesh;
pub mod console;
pub mod agent;
pub mod cli;
