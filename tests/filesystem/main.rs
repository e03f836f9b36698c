//! Filesystems and disks are read back by the tools and the kernel that others use.

#![allow(clippy::unwrap_used)]

mod bench;
mod disk;
mod ext4;
mod fat;
mod mounted;
mod random;
mod read;
