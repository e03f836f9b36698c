//! What only running machines can prove. Boots the stack `office` in QEMU.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../packages/apt.rs"]
#[allow(dead_code)]
mod apt;
#[path = "../packages/archive.rs"]
#[allow(dead_code)]
mod archive;
mod artifacts;
mod bonded;
mod browser;
mod cache;
mod contents;
mod cuts;
mod cuts_of_two;
mod deb;
mod deputy;
mod derived;
mod disk;
mod elsewhere;
mod excluded;
mod faults;
mod firmware;
mod hostile;
mod hosts;
mod install;
mod interrupted;
mod joining;
#[path = "../packages/key.rs"]
#[allow(dead_code)]
mod key;
mod layers;
mod mishaps;
mod moments;
mod network;
mod noble;
mod ordinary;
mod outside;
mod pair;
mod person;
mod screen;
#[path = "../packages/server.rs"]
#[allow(dead_code)]
mod server;
mod site;
mod soak;
mod starter;
mod stranger;
mod traffic;
mod trouble;
mod typed;
mod unattended;
