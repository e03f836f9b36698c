//! What a person sees.

pub mod bring_up;
pub mod dialogue;
pub mod events;
pub mod fancy;
pub mod joining;
pub mod line;
pub mod lobby;
pub mod matrix;
pub mod plain;
pub mod progress;
pub mod quiet;
pub mod tty;
