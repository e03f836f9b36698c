//! Disks: partition tables, and the file formats in which a disk travels.

pub mod direct;
pub mod gpt;
pub mod grow;
pub mod hashed;
pub mod image;
pub mod kernel;
pub mod qcow2;
pub mod raw;
