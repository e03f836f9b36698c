//! What of an image artifacts and container images have brought, compared with their files from
//! the cache.

use super::{Piece, What, layout, pieces};
use crate::image::error::Error;
use crate::image::filesystem::ext4::read::{Kind, Node};
use crate::image::inspect::{Findings, Inspection};
use crate::image::member::canonical;
use crate::image::store::Store;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Links that are followed on the way to one place (path_resolution(7)).
const LINKS: usize = 40;

/// A piece and, of a file, the digest of its content.
type Expected = (Piece, Option<[u8; 32]>);

impl Inspection<'_> {
    /// Compares everything that artifacts and container images have placed; adds it to what is
    /// `known`.
    pub(in crate::image) fn artifacts(
        &self,
        store: &Store,
        overlay: &BTreeMap<String, Option<String>>,
        known: &mut BTreeSet<Vec<u8>>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let artifacts = self.artifacts.par_iter().map(|placed| {
            let mut expected = Vec::new();
            pieces(placed, store, &mut |piece, content| {
                expect(&mut expected, &placed.file.key(), piece, content)
            })?;
            Ok((format!("the artifact {}", placed.file.key()), expected))
        });
        let images = self.images.par_iter().map(|image| {
            let mut expected = Vec::new();
            layout(image, store, &mut |piece, content| {
                expect(&mut expected, &image.key(), piece, content)
            })?;
            Ok((format!("the container image {}", image.key()), expected))
        });
        let all: Vec<(String, Vec<Expected>)> =
            artifacts.chain(images).collect::<Result<_, Error>>()?;
        for (of, expected) in all {
            // What further names are of.
            let mut digests: BTreeMap<&str, [u8; 32]> = BTreeMap::new();
            for (piece, digest) in &expected {
                let digest = match &piece.what {
                    What::HardLink(source) => digests.get(source.as_str()).copied(),
                    _ => *digest,
                };
                digests.extend(digest.map(|digest| (piece.path.as_str(), digest)));
                let path = real(self.nodes, &piece.path);
                if overlay.contains_key(&path) || piece.what == What::Directory {
                    continue;
                }
                match self.nodes.get(path.as_bytes()) {
                    None => findings.problem(&path, &format!("is not there, and belongs to {of}")),
                    Some(node) => match self.unlike(node, piece, digest)? {
                        Some(what) => findings.problem(&path, &format!("{what} {of} brings")),
                        None => findings.placed += 1,
                    },
                }
                known.insert(path.into_bytes());
            }
        }
        Ok(())
    }

    /// How a node is not as it was placed.
    fn unlike(
        &self,
        node: &Node,
        piece: &Piece,
        digest: Option<[u8; 32]>,
    ) -> Result<Option<&'static str>, Error> {
        let same = match (&node.kind, &piece.what) {
            (Kind::Symlink(found), What::Symlink(target)) => found == target.as_bytes(),
            (Kind::File(_), What::File | What::HardLink(_)) => Some(self.digest(node)?) == digest,
            _ => false,
        };
        // Of several names of one file the first has its mode.
        let mode = piece.what != What::File || node.mode & 0o7777 == piece.mode;
        Ok(match (same, mode) {
            (false, _) => Some("is not what"),
            (true, false) => Some("has another mode than what"),
            (true, true) => None,
        })
    }
}

fn expect(
    expected: &mut Vec<Expected>,
    name: &str,
    piece: &Piece,
    content: &mut dyn Read,
) -> Result<(), Error> {
    let digest = match piece.what {
        What::File => Some(digest(name, content)?),
        _ => None,
    };
    expected.push((piece.clone(), digest));
    Ok(())
}

fn digest(name: &str, content: &mut dyn Read) -> Result<[u8; 32], Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = content.read(&mut buffer);
        match read.map_err(Error::io("cannot read", name))? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Where a path really is, once links among its parents are followed.
fn real(nodes: &BTreeMap<Vec<u8>, Node>, path: &str) -> String {
    let mut path = canonical(path);
    for _ in 0..LINKS {
        let link = path.match_indices('/').find_map(|(at, _)| {
            let node = nodes.get(&path.as_bytes()[..at])?;
            match &node.kind {
                Kind::Symlink(target) => Some((at, String::from_utf8_lossy(target).into_owned())),
                _ => None,
            }
        });
        let Some((at, target)) = link else { break };
        let mut parts: Vec<&str> = match target.starts_with('/') {
            true => Vec::new(),
            false => path[..at].split('/').rev().skip(1).collect(),
        };
        parts.reverse();
        for part in target.split('/').chain(path[at + 1..].split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        path = parts.join("/");
    }
    path
}
