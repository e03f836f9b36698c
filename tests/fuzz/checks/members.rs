//! The members of a data archive, as they are read before anything is written.

use muster::image::member::{Kind, Member, canonical, member_path};
use std::io::Read;

pub fn check(bytes: &[u8]) {
    let mut tar = tar::Archive::new(bytes);
    let Ok(entries) = tar.entries() else { return };
    for entry in entries {
        let Ok(mut entry) = entry else { return };
        if !holds(&entry) || std::io::copy(&mut entry, &mut std::io::sink()).is_err() {
            return;
        }
    }
}

/// Whether a member can be taken; if so, it stays where it belongs.
pub fn holds<R: Read>(entry: &tar::Entry<'_, R>) -> bool {
    let Ok(member) = Member::read(entry, 7) else {
        return false;
    };
    let Some(member) = member else { return true };
    stays_inside(&member.path);
    stays_inside(&canonical(&member.path));
    assert!(member.listed().starts_with('/'));
    assert_eq!(member.meta.mode & !0o7777, 0);
    match &member.kind {
        Kind::HardLink(to, _) => stays_inside(to),
        Kind::Device => assert!(member.path.starts_with("dev/")),
        _ => {}
    }
    true
}

/// Joined to a folder, the path is in this folder; and it is spelled in one way only.
fn stays_inside(path: &str) {
    let parts: Vec<&str> = path.split('/').collect();
    assert!(path.is_empty() || !parts.iter().any(|part| ["", ".", ".."].contains(part)));
    assert_eq!(member_path(path.as_bytes()).unwrap(), path);
}
