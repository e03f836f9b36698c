//! Artifacts in a root: where they land, whose they are, and what of them is refused.

use crate::archives::{Member, directory, file, link, other, symlink, tar, zip};
use muster::image::Error;
use muster::image::artifact::{Placed, Places};
use muster::image::store::Store;
use muster::packages::cache::Cache;
use muster::packages::lock::{Artifact, Blob, OciImage, Part};
use muster::profile::artifact::{Kind, Placing};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink as make_link};
use std::path::PathBuf;
use tar::EntryType;

/// The image's time.
const EPOCH: i64 = 1_500_000_000;

/// A cache, and a root that has accounts.
struct Bench {
    folder: tempfile::TempDir,
    overlay: Vec<&'static str>,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench {
            folder: tempfile::tempdir().unwrap(),
            overlay: vec![],
        };
        let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
        bench.has("etc/passwd", &format!("root:x:{user}:{group}::/:/bin/sh\n"));
        bench.has("etc/group", &format!("root:x:{group}:\n"));
        fs::create_dir_all(bench.cache().root().join("sha256")).unwrap();
        bench
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path().join("cache"))
    }

    /// A file of the root.
    fn has(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Puts something into the cache; its digest.
    fn keeps(&self, content: &[u8]) -> String {
        let sha256 = hex::encode(Sha256::digest(content));
        let path = self.cache().path(&sha256);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        sha256
    }

    fn artifact(&self, kind: Kind, content: &[u8]) -> Placed {
        Placed {
            file: Artifact {
                service: "wiki".into(),
                name: "app".into(),
                version: None,
                url: None,
                file: Some("app".into()),
                size: content.len() as u64,
                sha256: self.keeps(content),
                checksums: None,
                signed_by: None,
            },
            placing: Placing {
                kind,
                to: "/opt/app".into(),
                strip: 0,
                only: vec![],
                except: vec![],
                setuid: vec![],
                owner: "root:root".into(),
                mode: 0o755,
            },
        }
    }

    fn place(&self, placed: &Placed) -> Result<(), Error> {
        let store = Store::open(self.cache().root())?;
        let overlay = self.overlay.iter().copied();
        Places::new(&self.root(), &store, overlay, EPOCH).artifact(placed)
    }

    /// Places an archive with some change of how.
    fn unpack(
        &self,
        kind: Kind,
        content: &[u8],
        change: impl FnOnce(&mut Placing),
    ) -> Result<(), Error> {
        let mut placed = self.artifact(kind, content);
        change(&mut placed.placing);
        self.place(&placed)
    }

    /// What is below a folder of the root: mode, time and path, and what it holds.
    fn listing(&self, folder: &str) -> String {
        let mut lines = Vec::new();
        for entry in walkdir::WalkDir::new(self.root().join(folder)).sort_by_file_name() {
            let entry = entry.unwrap();
            let path = entry
                .path()
                .strip_prefix(self.root())
                .unwrap()
                .display()
                .to_string();
            let found = entry.metadata().unwrap();
            assert!(found.mtime() <= EPOCH, "{path} is younger than the image");
            let holds = if entry.path_is_symlink() {
                format!(" -> {}", fs::read_link(entry.path()).unwrap().display())
            } else if found.is_file() {
                format!(": {}", fs::read_to_string(entry.path()).unwrap())
            } else {
                "/".into()
            };
            let mode = found.mode() & 0o7777;
            lines.push(format!("{mode:04o} {} {path}{holds}", found.mtime()));
        }
        lines.join("\n")
    }

    /// What is said of an artifact, and that nothing but the root has been written to.
    fn refusal(&self, outcome: Result<(), Error>) -> String {
        let error = outcome.unwrap_err();
        assert_ne!(error.hint(), "", "{error}");
        let names = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["cache", "root"]);
        let here = self.root().display().to_string();
        error.to_string().replace(&here, "")
    }
}

/// What a publisher packs: one folder with a version in its name.
fn release() -> Vec<Member> {
    vec![
        directory("app-1/", 0o2777),
        file("app-1/README", 0o666, "words"),
        directory("app-1/bin/", 0o755),
        file("app-1/bin/app", 0o775, "program"),
        symlink("app-1/bin/app-1", "app"),
        file("app-1/lib/deep/a.so", 0o600, "library"),
        symlink("app-1/lib/a.so", "./deep/a.so"),
        symlink("app-1/lib/deep/up", "../../README"),
        file("app-1/doc/guide.html", 0o644, "guide"),
    ]
}

fn packed(suffix: &str, bytes: &[u8]) -> Vec<u8> {
    match suffix {
        "gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

#[test]
fn an_archive_lands_below_its_folder_however_it_is_packed() {
    let archive = [release(), vec![link("app-1/bin/second", "app-1/bin/app")]].concat();
    let archive = tar(&archive);
    let mut listings = Vec::new();
    for suffix in ["", "gz", "xz", "zst"] {
        let bench = Bench::new();
        let placed = bench.unpack(Kind::Tar, &packed(suffix, &archive), |placing| {
            placing.strip = 1;
            placing.except = vec!["doc".into()];
        });
        placed.unwrap();
        listings.push(bench.listing("opt"));
        let bin = bench.root().join("opt/app/bin");
        let number = |name| fs::metadata(bin.join(name)).unwrap().ino();
        assert_eq!(number("app"), number("second"));
    }
    insta::assert_snapshot!(listings[0]);
    listings.dedup();
    assert_eq!(listings.len(), 1);
}

#[test]
fn a_zip_archive_lands_the_same_way() {
    let bench = Bench::new();
    let placed = bench.unpack(Kind::Zip, &zip(&release()), |placing| {
        placing.strip = 1;
        placing.only = vec!["bin".into(), "**/*.so".into()];
    });
    placed.unwrap();
    insta::assert_snapshot!(bench.listing("opt"));
}

#[test]
fn one_file_has_the_mode_that_it_is_given() {
    let bench = Bench::new();
    let mut placed = bench.artifact(Kind::File, b"program");
    placed.placing.to = "/opt/tools/bin/app".into();
    bench.place(&placed).unwrap();
    let wanted = format!("0755 {EPOCH} opt/tools/bin/\n0755 {EPOCH} opt/tools/bin/app: program");
    assert_eq!(bench.listing("opt/tools/bin"), wanted);
    placed.placing.to = "/opt/sandbox".into();
    placed.placing.mode = 0o4755;
    bench.place(&placed).unwrap();
    let wanted = format!("4755 {EPOCH} opt/sandbox: program");
    assert_eq!(bench.listing("opt/sandbox"), wanted);
}

#[test]
fn several_artifacts_share_a_folder_and_replace_nothing() {
    let mut bench = Bench::new();
    bench.has("opt/app/bin/there", "mine");
    let one = tar(&[file("bin/one", 0o755, "one")]);
    let two = tar(&[directory("bin/", 0o700), file("bin/two", 0o755, "two")]);
    bench.unpack(Kind::Tar, &one, |_| {}).unwrap();
    bench.unpack(Kind::Tar, &two, |_| {}).unwrap();
    let read =
        |name: &str| fs::read_to_string(bench.root().join("opt/app/bin").join(name)).unwrap();
    assert_eq!(["one", "two", "there"].map(read), ["one", "two", "mine"]);
    let mode = fs::metadata(bench.root().join("opt/app/bin"))
        .unwrap()
        .mode();
    assert_ne!(
        mode & 0o777,
        0o700,
        "a folder that was there stays as it was"
    );

    let there = tar(&[file("bin/there", 0o755, "theirs")]);
    let mut said = vec![bench.refusal(bench.unpack(Kind::Tar, &there, |_| {}))];
    said.push(bench.refusal(bench.unpack(Kind::Tar, &one, |_| {})));
    let below = tar(&[file("bin/there/x", 0o755, "theirs")]);
    said.push(bench.refusal(bench.unpack(Kind::Tar, &below, |_| {})));
    let folder = tar(&[file("bin", 0o755, "theirs")]);
    said.push(bench.refusal(bench.unpack(Kind::Tar, &folder, |_| {})));
    let mut placed = bench.artifact(Kind::File, b"theirs");
    placed.placing.to = "/opt/app/bin/there".into();
    said.push(bench.refusal(bench.place(&placed)));
    // A file of an overlay stands there on purpose.
    bench.overlay = vec!["/opt/app/bin/there"];
    bench.unpack(Kind::Tar, &there, |_| {}).unwrap();
    assert_eq!(
        fs::read_to_string(bench.root().join("opt/app/bin/there")).unwrap(),
        "mine"
    );
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn links_of_the_image_are_followed_inside_of_it_and_no_further() {
    let bench = Bench::new();
    let out = bench.folder.path().join("cache");
    bench.has("usr/share/man/x", "");
    fs::create_dir_all(bench.root().join("usr/local")).unwrap();
    make_link("../share/man", bench.root().join("usr/local/man")).unwrap();
    make_link("/nowhere", bench.root().join("usr/local/lost")).unwrap();
    make_link(&out, bench.root().join("usr/local/out")).unwrap();
    let to = |placing: &mut Placing| placing.to = "/usr/local".into();
    let page = tar(&[file("man/man1/app.1", 0o644, "page")]);
    bench.unpack(Kind::Tar, &page, to).unwrap();
    let found = bench.root().join("usr/share/man/man1/app.1");
    assert_eq!(fs::read_to_string(found).unwrap(), "page");
    let mut said = Vec::new();
    for place in ["lost/x", "out/x", "out/sha256/x"] {
        let archive = tar(&[file(place, 0o644, "page")]);
        said.push(bench.refusal(bench.unpack(Kind::Tar, &archive, to)));
    }
    assert!(!out.join("x").exists() && !out.join("sha256/x").exists());
    let said = said
        .join("\n")
        .replace(&bench.folder.path().display().to_string(), "[here]");
    insta::assert_snapshot!(said);
}

#[test]
fn what_is_hostile_is_refused_in_these_words() {
    let mut said = Vec::new();
    let same = |_: &mut Placing| {};
    for members in [
        vec![file("../x", 0o644, "")],
        vec![file("a/../../x", 0o644, "")],
        vec![file("/etc/x", 0o644, "")],
        vec![file(b"caf\xe9", 0o644, "")],
        vec![file("line\nline", 0o644, "")],
        vec![symlink("a", "/etc/passwd")],
        vec![symlink("a/b", "../../x")],
        vec![symlink("a/b", "c/../../../x")],
        vec![symlink("a", ".."), file("a/x", 0o644, "")],
        vec![symlink("a", "b"), file("a/x", 0o644, "")],
        vec![file("a", 0o644, ""), file("a/x", 0o644, "")],
        vec![file("a/x", 0o644, ""), symlink("a", "b")],
        vec![file("a", 0o644, ""), file("./a", 0o644, "")],
        vec![file("a", 0o4755, "")],
        vec![file("a", 0o2755, "")],
        vec![other(EntryType::Char, "dev/null")],
        vec![other(EntryType::Fifo, "a")],
    ] {
        for (kind, archive) in [(Kind::Tar, tar(&members)), (Kind::Zip, zip(&members))] {
            let bench = Bench::new();
            said.push(bench.refusal(bench.unpack(kind, &archive, same)));
            assert!(!bench.folder.path().join("x").exists());
            assert!(!bench.root().join("etc/x").exists());
        }
    }
    for members in [
        vec![link("a", "etc/passwd")],
        vec![link("a", "../../etc/passwd")],
        vec![other(EntryType::Block, "a")],
    ] {
        let bench = Bench::new();
        said.push(bench.refusal(bench.unpack(Kind::Tar, &tar(&members), same)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_is_left_out_is_not_refused_and_what_is_asked_for_must_be_there() {
    let members = [
        file("bin/app", 0o4755, "program"),
        other(EntryType::Fifo, "run/pipe"),
        symlink("etc/out", "/etc/out"),
    ];
    let bench = Bench::new();
    let placed = bench.unpack(Kind::Tar, &tar(&members), |placing| {
        placing.except = vec!["run".into(), "etc/*".into()];
        placing.setuid = vec!["bin/app".into()];
    });
    placed.unwrap();
    let mode = fs::metadata(bench.root().join("opt/app/bin/app"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o7777, 0o4755);
    let plain = tar(&[file("bin/app", 0o755, "program")]);
    let mut said = Vec::new();
    let changes: [fn(&mut Placing); 4] = [
        |placing| placing.only = vec!["bin/app".into(), "sbin".into()],
        |placing| placing.setuid = vec!["bin/app".into()],
        |placing| placing.strip = 2,
        |placing| placing.owner = "wiki:www-data".into(),
    ];
    for change in changes {
        let bench = Bench::new();
        said.push(bench.refusal(bench.unpack(Kind::Tar, &plain, change)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn archives_that_would_fill_the_disk_or_end_early_are_refused() {
    let mut said = Vec::new();
    let same = |_: &mut Placing| {};
    let zeros = vec![0; 64 << 20];
    let members: Vec<Member> = (0..5)
        .map(|n| file(format!("{n}"), 0o644, &zeros))
        .collect();
    let (tarball, zipped) = (packed("zst", &tar(&members)), zip(&members));
    for (kind, archive) in [(Kind::Tar, &tarball), (Kind::Zip, &zipped)] {
        assert!(archive.len() < 1 << 20);
        let bench = Bench::new();
        said.push(bench.refusal(bench.unpack(kind, archive, same)));
    }
    // What a member says of itself is all that is taken from it.
    for lie in [4, 6, u32::MAX] {
        let mut member = file("a", 0o644, "words");
        member.said = Some(lie);
        let bench = Bench::new();
        said.push(bench.refusal(bench.unpack(Kind::Zip, &zip(&[member]), same)));
    }
    let whole = tar(&[file("a", 0o644, vec![b'x'; 5000])]);
    let zipped = zip(&[file("a", 0o644, "words")]);
    let mut torn = zipped.clone();
    torn[31 + 3] ^= 1;
    for (kind, archive) in [
        (Kind::Tar, &whole[..3000]),
        (Kind::Tar, &packed("gz", &whole)[..40]),
        (Kind::Tar, &packed("xz", &whole)[..60]),
        (Kind::Tar, b"<html>not found</html>"),
        (Kind::Tar, b""),
        (Kind::Zip, &zipped[..zipped.len() - 1]),
        (Kind::Zip, &torn),
        (Kind::Zip, b"<html>not found</html>"),
    ] {
        let bench = Bench::new();
        said.push(bench.refusal(bench.unpack(kind, archive, same)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_file_of_the_cache_that_was_written_to_is_refused() {
    let bench = Bench::new();
    let placed = bench.artifact(Kind::File, b"program");
    fs::write(bench.cache().path(&placed.file.sha256), b"another").unwrap();
    let said = bench.refusal(bench.place(&placed));
    assert!(
        said.starts_with("wiki/app: the cached file has SHA-256 "),
        "{said}"
    );
}

#[test]
fn a_container_image_becomes_a_layout_of_its_own() {
    let bench = Bench::new();
    let blob = |part, media_type: &str, content: &[u8]| Blob {
        part,
        media_type: media_type.into(),
        size: content.len() as u64,
        sha256: bench.keeps(content),
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let image = OciImage {
        service: "wiki".into(),
        name: "index".into(),
        image: format!("registry.example/index@sha256:{}", "0".repeat(64)),
        platform: "linux/amd64".into(),
        blobs: vec![
            blob(
                Part::Index,
                "application/vnd.oci.image.index.v1+json",
                b"index",
            ),
            blob(Part::Manifest, manifest, b"manifest"),
            blob(
                Part::Config,
                "application/vnd.oci.image.config.v1+json",
                b"config",
            ),
            blob(Part::Layer, layer, b"layer"),
            blob(Part::Layer, layer, b"layer"),
        ],
    };
    let store = Store::open(bench.cache().root()).unwrap();
    let places = Places::new(&bench.root(), &store, std::iter::empty(), EPOCH);
    places.image(&image).unwrap();
    insta::assert_snapshot!(bench.listing("usr/share/muster"));
}
