//! Lock and overlays to a virtual tree to filesystems to a disk.

pub mod disk;
pub mod filesystem;
pub mod tree;
