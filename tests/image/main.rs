//! What the image room refuses, and what an image it made looks like.

mod package;
mod refusals;
mod replaced;
