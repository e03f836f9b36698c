//! Container images as OCI image layouts (OCI image specification 1.1, "Image Layout"): what
//! podman, skopeo and others read as `oci:FOLDER`.

use super::{Piece, TakePiece, What};
use crate::image::error::Error;
use crate::image::store::Store;
use crate::packages::lock::{OciImage, Part};
use crate::profile::artifact::OCI;
use serde_json::json;
use std::io::Read;

/// Gives the folder of a container image to `take`. It is that of one platform, so an index of
/// several stays out of it.
pub fn layout(image: &OciImage, store: &Store, take: TakePiece<'_>) -> Result<(), Error> {
    let root = format!("{}/{}", &OCI[1..], image.name);
    let mut put = |path: &str, what: What, content: &mut dyn Read| {
        let mode = if what == What::Directory {
            0o755
        } else {
            0o644
        };
        let piece = Piece {
            path: format!("{root}{path}"),
            mode,
            mtime: None,
            what,
        };
        take(&piece, content)
    };
    for folder in ["", "/blobs", "/blobs/sha256"] {
        put(folder, What::Directory, &mut std::io::empty())?;
    }
    let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
    put("/oci-layout", What::File, &mut version.as_bytes())?;
    let manifests: Vec<_> = image
        .parts(Part::Manifest)
        .map(|blob| {
            json!({
                "mediaType": blob.media_type,
                "digest": format!("sha256:{}", blob.sha256),
                "size": blob.size,
                "annotations": { "org.opencontainers.image.ref.name": image.image },
            })
        })
        .collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    put("/index.json", What::File, &mut index.to_string().as_bytes())?;
    // Several layers may be the same.
    let mut digests: Vec<&str> = image
        .blobs
        .iter()
        .filter(|blob| blob.part != Part::Index)
        .map(|blob| &*blob.sha256)
        .collect();
    digests.sort_unstable();
    digests.dedup();
    for digest in digests {
        let mut content = store.verified_file(&image.key(), digest)?;
        put(&format!("/blobs/sha256/{digest}"), What::File, &mut content)?;
    }
    Ok(())
}
