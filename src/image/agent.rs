//! Choosing the program that becomes `/usr/bin/muster` in the image: this one, if it can run
//! there, or one that is given.

use super::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Program header type of a request for a dynamic linker (`PT_INTERP`, elf(5)).
const INTERPRETER: u32 = 3;

/// The agent's file: `given`, or the running program.
pub fn choose(given: Option<&Path>, architecture: &str) -> Result<PathBuf, Error> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe().map_err(Error::io("cannot find", "this program"))?,
    };
    let mut head = Vec::new();
    let file = File::open(&path).map_err(Error::io("cannot read", &path))?;
    file.take(64 * 1024)
        .read_to_end(&mut head)
        .map_err(Error::io("cannot read", &path))?;
    match unfit(&head, architecture) {
        Some(reason) => Err(Error::Agent { path, reason }),
        None => Ok(path),
    }
}

/// Why a program cannot run in an image of this architecture, from its ELF header (elf(5)).
fn unfit(head: &[u8], architecture: &str) -> Option<String> {
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)),
        )
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Some("it is not a 64-bit ELF program".into());
    }
    let machine = match architecture {
        "amd64" => 62,
        "arm64" => 183,
        other => return Some(format!("the architecture {other} is unknown")),
    };
    if number(18, 2) != Some(machine) {
        return Some(format!("it is not a program for {architecture}"));
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return Some("its ELF header is cut short".into());
    };
    let dynamic = (0..count).any(|index| {
        let at = usize::try_from(table + index * size).unwrap_or(usize::MAX - 4);
        number(at, 4) == Some(u64::from(INTERPRETER))
    });
    dynamic.then(|| "it is linked dynamically".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u8, kind: u8) -> Vec<u8> {
        let mut head = vec![0; 128];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = machine;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = kind;
        head
    }

    #[test]
    fn only_static_programs_for_the_image_are_agents() {
        assert_eq!(unfit(&program(62, 1), "amd64"), None);
        for (head, reason) in [
            (program(62, 3), "it is linked dynamically"),
            (program(183, 1), "it is not a program for amd64"),
            (b"#!/bin/sh\n".to_vec(), "it is not a 64-bit ELF program"),
        ] {
            assert_eq!(unfit(&head, "amd64").as_deref(), Some(reason));
        }
    }
}
