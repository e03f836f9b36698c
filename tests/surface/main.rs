//! What programs read of muster: JSON, progress, and the published schemas of both.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as expected"
)]

mod demo;
mod desk;
mod mistakes;
mod progress;
mod published;
mod schema;
mod setup;
