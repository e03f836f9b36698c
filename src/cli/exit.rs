//! Exit codes, the same for every command.

/// All is proven, or the command did what it was told.
pub const OK: u8 = 0;
/// Something failed.
pub const FAILURE: u8 = 1;
/// The command line makes no sense (clap's own code).
pub const USAGE: u8 = 2;
/// A profile, lock, plan or answers file is wrong.
pub const INVALID: u8 = 3;
/// A probe is red, stale or has not run.
pub const RED: u8 = 4;
/// Bring-up has not ended; it resumes by itself.
pub const UNFINISHED: u8 = 5;
