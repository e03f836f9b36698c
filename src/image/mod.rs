//! Lock and overlays to a virtual tree to filesystems to a disk.

pub mod disk;
pub mod filesystem;
pub mod agent;
pub mod identity;
pub mod layout;
pub mod manifest;
pub mod build;
pub mod assemble;
pub mod accounts;
pub mod cleanup;
pub mod configure;
pub mod ar;
pub mod deb;
pub mod diversion;
pub mod dpkg;
pub mod error;
pub mod fence;
mod ground;
pub mod grub;
pub mod harvest;
pub mod initramfs;
pub mod job;
pub mod member;
mod meter;
pub mod namespace;
pub mod ordinary;
pub mod overlay;
pub mod program;
pub mod standin;
pub mod tree;
pub mod unpack;
pub mod worker;

pub use error::{Error, Refusal};
