//! Disk to a running machine.

pub mod events;
