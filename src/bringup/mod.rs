//! A plan to a finished bring-up: actions, probes, journal.

pub mod actions;
pub mod attempt;
pub mod board;
pub mod context;
pub mod filters;
pub mod job;
pub mod journal;
pub mod names;
pub mod places;
pub mod prober;
pub mod probes;
pub mod process;
pub mod render;
pub mod run;
pub mod schedule;
pub mod share;
pub mod status;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;
