//! The dialogue of first boot on real terminals (pty pairs), as people type.

mod agent;
mod hang_ups;
mod joining;
mod keys;
mod killed;
mod person;
mod refused;
mod secret;
mod serial;
mod terminals;
mod together;
mod whole;
