//! What the image room refuses, and what an image it made looks like.

#![allow(clippy::unwrap_used)]

mod package;
mod refusals;
mod replaced;
