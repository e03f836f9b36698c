//! What programs read of muster: JSON and its published schemas.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as expected"
)]

mod desk;
mod published;
mod schema;
