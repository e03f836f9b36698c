//! What a person in front of the machine sees: pictures of its screen.

use crate::hosts::Hosts;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A login prompt below its banner lights 3500 pixels; QEMU's own word that nothing has been
/// drawn yet 1044, a lone cursor 16.
const TEXT: usize = 2000;

/// Takes a picture of the screen of a host, kept as NAME.png with the results of the
/// tests, and makes sure that there is text on it.
pub fn picture(site: &Hosts, host: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut qmp = site.qemu(host);
    let mut dump = |format: &str| {
        let path = folder.join(format!("{name}.{format}"));
        let arguments = json!({ "filename": path, "format": format });
        qmp.execute_with("screendump", arguments)
            .expect("a picture");
        path
    };
    let (picture, raw) = (dump("png"), dump("ppm"));
    let lit = lit(&std::fs::read(&raw).expect("a picture"));
    std::fs::remove_file(&raw).expect("removed");
    assert!(
        lit > TEXT,
        "only {lit} pixels of the screen are lit: {}",
        picture.display()
    );
    site.saw(&format!(
        "the screen, {lit} pixels lit: {}",
        picture.display()
    ));
    picture
}

/// Pixels of a PPM (P6, a byte per colour) that have another colour than most.
fn lit(ppm: &[u8]) -> usize {
    let header: Vec<&[u8]> = ppm.splitn(4, |byte| byte.is_ascii_whitespace()).collect();
    let number = |field: &[u8]| -> usize {
        let text = std::str::from_utf8(field).expect("text");
        text.parse().expect("a number")
    };
    // QEMU writes `P6\nWIDTH HEIGHT\n255\n`.
    let [b"P6", width, height, rest] = header[..] else {
        panic!("not a PPM");
    };
    let pixels = rest.strip_prefix(b"255\n").expect("a byte per colour");
    let size = number(width) * number(height);
    assert_eq!(pixels.len(), size * 3, "a whole picture");
    let mut colours: HashMap<&[u8], usize> = HashMap::new();
    for pixel in pixels.chunks(3) {
        *colours.entry(pixel).or_default() += 1;
    }
    size - colours.values().max().copied().unwrap_or_default()
}
