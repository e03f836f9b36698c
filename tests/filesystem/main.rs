//! Filesystems and disks are read back by the tools and the kernel that others use.

#![allow(clippy::unwrap_used)]

mod ext4;
mod mounted;
mod random;
