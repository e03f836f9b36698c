//! Archives of publishers, tar and zip: what is placed stays in its folder, and is placed once.

use muster::image::artifact::{Placed, What, pieces};
use muster::image::store::Store;
use muster::packages::lock::Artifact;
use muster::profile::artifact::{Kind, Placing};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

pub fn check(bytes: &[u8]) {
    let sha256 = hex::encode(Sha256::digest(bytes));
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("sha256").join(&sha256[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&sha256), bytes).unwrap();
    let store = Store::open(cache.path()).unwrap();
    for kind in [Kind::Tar, Kind::Zip] {
        let placed = Placed {
            file: Artifact {
                service: "wiki".into(),
                name: "app".into(),
                version: None,
                url: None,
                file: Some("app".into()),
                size: bytes.len() as u64,
                sha256: sha256.clone(),
                checksums: None,
                signed_by: None,
            },
            placing: Placing {
                kind,
                to: "/opt/app".into(),
                strip: 0,
                only: vec![],
                except: vec!["left-out".into()],
                setuid: vec![],
                owner: "root:root".into(),
                mode: 0o644,
            },
        };
        let mut seen = BTreeSet::new();
        // Most are refused; what was given before that counts.
        let _ = pieces(&placed, &store, &mut |piece, content| {
            let parts: Vec<&str> = piece.path.split('/').collect();
            assert!(parts.len() > 2 && parts.starts_with(&["opt", "app"]));
            assert!(!parts.iter().any(|part| ["", ".", ".."].contains(part)));
            assert_ne!(parts[2], "left-out");
            assert_eq!(piece.mode & !0o777, 0);
            let link = matches!(piece.what, What::Symlink(_) | What::HardLink(_));
            assert!(link || piece.mode & 0o022 == 0);
            match &piece.what {
                What::Directory => {}
                What::HardLink(of) => assert!(seen.contains(of)),
                What::Symlink(to) => {
                    let up = to.split('/').filter(|part| *part == "..").count();
                    assert!(!to.starts_with('/') && up <= parts.len() - 3);
                }
                What::File => {}
            }
            if piece.what != What::Directory {
                assert!(seen.insert(piece.path.clone()));
            }
            let _ = std::io::copy(content, &mut std::io::sink());
            Ok(())
        });
    }
}
