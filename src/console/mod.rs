//! What a person sees.

pub mod events;
