//! Artifacts and container images, from a publisher and a registry on the loopback interface into
//! an image, and read back from its disk.

use crate::cache::Cache;
use crate::server::{Mood, Server, serve};
use crate::site::images;
use muster::image::disk::image;
use muster::image::filesystem::ext4::read::{Kind, Reader};
use muster::image::inspect::root;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

const PROGRAM: &[u8] = b"#!/bin/sh\necho the program\n";
const JAR: &[u8] = b"a library\n";
const LAYER: &[u8] = b"the only layer\n";

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn tarball() -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::default(),
    ));
    for (path, mode, content) in [
        ("tool-1/bin/tool", 0o755, PROGRAM),
        ("tool-1/doc/guide", 0o644, b"nobody reads it"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        archive
            .append_data(&mut header, path, content)
            .expect("added");
    }
    archive
        .into_inner()
        .and_then(|packed| packed.finish())
        .expect("packed")
}

fn zipped() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o640);
    archive.start_file("lib/app.jar", options).expect("begun");
    archive.write_all(JAR).expect("written");
    archive.finish().expect("finished").into_inner()
}

/// A container image below `folder`, as a registry serves it; its digest.
fn container(folder: &Path) -> String {
    let put = |kind: &str, bytes: &[u8]| {
        let place = folder.join("v2/tools/app").join(kind);
        fs::create_dir_all(&place).expect("made");
        let name = format!("sha256:{}", digest(bytes));
        fs::write(place.join(&name), bytes).expect("written");
        json!({ "mediaType": "", "digest": name, "size": bytes.len() })
    };
    let typed = |mut pointer: Value, media_type: &str| {
        pointer["mediaType"] = format!("application/vnd.oci.image.{media_type}").into();
        pointer
    };
    let config = json!({ "os": "linux", "architecture": "amd64", "config": {} }).to_string();
    let config = typed(put("blobs", config.as_bytes()), "config.v1+json");
    let layer = typed(put("blobs", LAYER), "layer.v1.tar");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] }).to_string();
    put("manifests", manifest.as_bytes());
    digest(manifest.as_bytes())
}

/// A stack of one host with one service that has no package.
fn stack(folder: &Path, server: &Server) {
    let site = folder.join("site");
    let mut service =
        String::from("[service]\nname = \"tools\"\nsummary = \"Tools\"\nbases = [\"debian-12\"]\n");
    for (name, file, content, rules) in [
        (
            "tool",
            "tool-1.tar.gz",
            tarball(),
            "to = \"/opt/tool\"\nstrip = 1\nexcept = [\"doc\"]\nowner = \"root:www-data\"\n",
        ),
        ("app", "app.zip", zipped(), "to = \"/usr/share/app\"\n"),
        (
            "one",
            "one",
            PROGRAM.to_vec(),
            "to = \"/usr/local/bin/one\"\nmode = \"0755\"\n",
        ),
    ] {
        fs::create_dir_all(&site).expect("made");
        fs::write(site.join(file), &content).expect("written");
        let sums = format!("{}  {file}\n", digest(&content));
        fs::write(site.join(format!("{file}.sha256")), sums).expect("written");
        let url = format!("{}/{file}", server.url);
        service += &format!(
            "\n[[artifact]]\nname = \"{name}\"\nurl = \"{url}\"\nsize = {}\nsha256 = \"{}\"\n\
             checksums = \"{url}.sha256\"\n{rules}",
            content.len(),
            digest(&content)
        );
    }
    service += "\n[[artifact]]\nname = \"licensed\"\nsupplied = \"licensed.bin\"\n\
                to = \"/opt/licensed.bin\"\n";
    let host = server.url.strip_prefix("http://").expect("a URL");
    service += &format!(
        "\n[[oci]]\nname = \"app\"\nimage = \"{host}/tools/app@sha256:{}\"\n",
        container(&site)
    );
    let office = folder.join("office");
    fs::create_dir_all(office.join("services")).expect("made");
    fs::create_dir_all(office.join("artifacts")).expect("made");
    fs::write(office.join("services/tools.toml"), service).expect("written");
    fs::write(office.join("artifacts/licensed.bin"), "for some").expect("written");
    let text = "[stack]\nname = \"office\"\nsummary = \"Tools\"\nbase = \"debian-12\"\n\n\
                [[role]]\nname = \"office\"\nsummary = \"All\"\nservices = [\"tools\"]\n\n\
                [[phase]]\nname = \"all\"\ntitle = \"All\"\nservices = [\"tools\"]\n";
    fs::write(office.join("stack.toml"), text).expect("written");
}

#[test]
fn artifacts_and_container_images_are_in_the_image_as_they_were_published() {
    // Where the workstation keeps its layers, so that the base is made once.
    images();
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    fs::create_dir(folder.path().join("site")).expect("made");
    let server = serve(folder.path().join("site"), Mood::Faltering);
    stack(folder.path(), &server);
    let office = folder.path().join("office");
    let office = office.to_str().expect("UTF-8");
    let out = folder.path().join("out");
    let build = ["build", office, "--out", out.to_str().expect("UTF-8")];
    let cache = Cache::of_everybody();
    let said = cache.says(&build);
    assert!(
        said.contains("place 4 artifacts and 1 container images"),
        "{said}"
    );

    // Again, by nobody's network, without layers, under another sky: the same bits.
    let checked = [&build[..], &["--check", "--offline", "--locked"]].concat();
    let said = cache.says(&checked);
    let words = "a second build under other conditions gave the same bits";
    assert!(said.contains(words), "{said}");

    let disk = out.join("office/office.raw");
    let source = image::open(&disk).expect("an image");
    let part = root(&*source).expect("a root");
    let reader = Reader::open(&part).expect("ext4");
    let nodes = reader.walk().expect("read");
    let holds = |path: &str| {
        let node = &nodes[path.as_bytes()];
        let mut content = Vec::new();
        if let Kind::File(_) = node.kind {
            let mut take = |part: &[u8]| content.extend_from_slice(part);
            reader.content(node.ino, &mut take).expect("read");
        }
        (node.mode & 0o7777, content)
    };
    assert_eq!(holds("opt/tool/bin/tool"), (0o755, PROGRAM.to_vec()));
    assert_eq!(holds("usr/share/app/lib/app.jar"), (0o640, JAR.to_vec()));
    assert_eq!(holds("usr/local/bin/one"), (0o755, PROGRAM.to_vec()));
    assert_eq!(holds("opt/licensed.bin"), (0o644, b"for some".to_vec()));
    assert!(!nodes.contains_key(&b"opt/tool/doc"[..]));
    let layout = "usr/share/muster/oci/app";
    let layer = format!("{layout}/blobs/sha256/{}", digest(LAYER));
    assert_eq!(holds(&layer), (0o644, LAYER.to_vec()));
    let index: Value =
        serde_json::from_slice(&holds(&format!("{layout}/index.json")).1).expect("JSON");
    let manifest = index["manifests"][0]["digest"].as_str().expect("a digest");
    assert!(
        nodes.contains_key(format!("{layout}/blobs/{}", manifest.replace(':', "/")).as_bytes())
    );

    let verified = cache.muster(&["verify-image", disk.to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}");
    // Four files, and of the container oci-layout, index.json and three blobs.
    assert!(said.contains("9 files of artifacts as placed"), "{said}");
    println!("[artifacts] {}", said.trim());
    let lock = format!("{office}/muster.lock");
    let by_lock = cache.muster(&[
        "verify-image",
        disk.to_str().expect("UTF-8"),
        "--lock",
        &lock,
    ]);
    assert_eq!(String::from_utf8_lossy(&by_lock.stdout), said);
}
