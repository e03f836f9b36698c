//! What only running machines can prove. Boots the stack `starter` in QEMU.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod browser;
mod contents;
mod cuts;
mod disk;
mod firmware;
mod install;
mod interrupted;
mod network;
mod outside;
mod person;
mod red;
mod screen;
mod site;
mod soak;
mod stranger;
mod traffic;
mod trouble;
mod typed;
mod unattended;
