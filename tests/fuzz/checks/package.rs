//! deb(5): an ar archive of compressed tar archives.

use muster::image::deb::{self, Control};

/// More than any control archive holds.
const MOST: usize = 64 << 20;

pub fn check(bytes: &[u8]) {
    if let Ok(control) = deb::control("fuzz", bytes) {
        let held = control.files.values().map(|(content, _)| content.len());
        assert!(held.sum::<usize>() <= MOST);
        for name in control.files.keys() {
            assert!(!name.contains('/') && !name.is_empty() && name != "..");
        }
        for path in control.conffiles() {
            assert!(path.starts_with('/'));
        }
        let again = deb::control("fuzz", pack(&control).as_slice()).unwrap();
        assert_eq!(again.files, control.files);
    }
    let _ = deb::data("fuzz", bytes, MOST as u64, |tar| {
        tar.each(|entry| {
            super::members::holds(entry);
            Ok(())
        })
    });
}

/// The same control archive as a package of its own.
fn pack(control: &Control) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let empty = (Vec::new(), 0o644);
    let own = ("control".to_owned(), empty);
    let own = [(&own.0, &own.1)].into_iter();
    for (name, (content, mode)) in own.chain(&control.files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        tar.append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut archive = ar::Builder::new(Vec::new());
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &tar)] {
        let header = ar::Header::new(name.into(), content.len() as u64);
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}
