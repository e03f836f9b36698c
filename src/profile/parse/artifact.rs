//! `[[artifact]]` and `[[oci]]` of a service.

use super::step::check_owner;
use crate::profile::artifact::{
    Artifact, Kind, OciImage, Origin, Placing, Proof, Reference, is_sha256,
};
use crate::profile::reader::{Table, choice};

/// Suffixes that say what an artifact is.
const SUFFIXES: [(&str, Kind); 7] = [
    (".tar", Kind::Tar),
    (".tar.gz", Kind::Tar),
    (".tgz", Kind::Tar),
    (".tar.xz", Kind::Tar),
    (".txz", Kind::Tar),
    (".tar.zst", Kind::Tar),
    (".zip", Kind::Zip),
];

/// Suffixes of archives that nothing here unpacks: who names one hardly wants it as a file.
const FOREIGN: [&str; 6] = [".tar.bz2", ".tbz2", ".tar.lz", ".tar.lzma", ".7z", ".rar"];

/// Reads the artifacts of a service; their names differ.
pub fn artifacts(tables: &[Table<'_>]) -> Vec<Artifact> {
    let mut artifacts: Vec<Artifact> = Vec::new();
    for table in tables {
        let artifact = artifact(table);
        twice(
            table,
            artifacts.iter().any(|other| other.name == artifact.name),
            &artifact.name,
        );
        artifacts.push(artifact);
    }
    artifacts
}

fn twice(table: &Table<'_>, known: bool, name: &str) {
    if known && !name.is_empty() {
        table.problem(
            "name",
            format!("two tables {} are called `{name}`", table.title),
            "this is the second".into(),
            None,
        );
    }
}

fn artifact(table: &Table<'_>) -> Artifact {
    table.expects(&["name", "version", "url", "supplied", "size", "sha256"]);
    let name = table.required_name("name");
    let version = table.text("version");
    let fill = |key: &str| {
        let text = table.text(key)?;
        Some(filled(table, key, &text, version.as_deref()))
    };
    let origin = match (fill("url"), fill("supplied")) {
        (Some(url), None) => {
            check_url(table, "url", &url);
            Origin::Url(url)
        }
        (None, Some(file)) => {
            if file.is_empty() || file.contains('/') || file.starts_with('.') {
                table.problem(
                    "supplied",
                    format!("`{file}` is not the name of a file"),
                    "the name alone is expected: the file lies in the folder `artifacts` beside \
                     the lock"
                        .into(),
                    None,
                );
            }
            Origin::Supplied(file)
        }
        (url, _) => {
            table.problem(
                if url.is_some() { "supplied" } else { "name" },
                format!("{} comes from nowhere, or from two places", table.title),
                "either `url` or `supplied` is expected".into(),
                None,
            );
            Origin::Supplied(String::new())
        }
    };
    let by_url = matches!(origin, Origin::Url(_));
    let size = table.bytes("size");
    let sha256 = table.text("sha256");
    for key in ["size", "sha256"] {
        if by_url && !table.has(key) {
            table.problem(
                key,
                format!("{} lacks `{key}`", table.title),
                "what a URL gives today it need not give tomorrow".into(),
                Some(format!(
                    "fetch it once, and take its `{key}`: wc -c FILE; sha256sum FILE"
                )),
            );
        }
    }
    if let Some(digest) = sha256.as_ref().filter(|digest| !is_sha256(digest)) {
        table.problem(
            "sha256",
            format!("`{digest}` is not a SHA-256"),
            "64 lower-case hexadecimal digits are expected".into(),
            None,
        );
    }
    let checksums = fill("checksums");
    let signature = fill("signature");
    let proof = proof(table, checksums, signature);
    let placing = placing(table, &origin, version.as_deref());
    table.done();
    Artifact {
        name,
        version,
        origin,
        size,
        sha256,
        proof,
        placing,
    }
}

/// A text with the version in the place of `{version}`.
fn filled(table: &Table<'_>, key: &str, text: &str, version: Option<&str>) -> String {
    let filled = match version {
        Some(version) => text.replace("{version}", version),
        None => text.to_owned(),
    };
    if filled.contains(['{', '}']) {
        table.problem(
            key,
            format!("`{filled}` has a brace that stands for nothing"),
            "only `{version}` is replaced, by the `version` beside it".into(),
            None,
        );
    }
    filled
}

fn check_url(table: &Table<'_>, key: &str, url: &str) {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let plain = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    if host.is_none_or(str::is_empty) || !plain {
        table.problem(
            key,
            format!("`{url}` is not a URL of a file"),
            "`https://…` or `http://…` is expected".into(),
            None,
        );
    } else if host.is_some_and(|host| host.contains('@')) {
        table.problem(
            key,
            "a URL with a login in it".into(),
            "profiles are no place for secrets".into(),
            Some("fetch the file yourself, and give it as `supplied`".into()),
        );
    }
}

fn proof(table: &Table<'_>, checksums: Option<String>, signature: Option<String>) -> Proof {
    for (key, url) in [("checksums", &checksums), ("signature", &signature)] {
        if let Some(url) = url {
            check_url(table, key, url);
        }
    }
    let keys = table.text("keys").unwrap_or_default();
    let fingerprints = table.texts("fingerprints");
    super::archive::fingerprints(table, &fingerprints);
    let signed = [table.has("keys"), table.has("fingerprints")];
    let wanted = signature.is_some() || signed.contains(&true);
    if wanted && (signed.contains(&false) || fingerprints.is_empty()) {
        table.problem(
            if signature.is_some() {
                "signature"
            } else {
                "fingerprints"
            },
            "a signature is believed by `keys` and `fingerprints`".into(),
            "one of the two is not here".into(),
            Some(
                "keys = \"keys/NAME.asc\" (beside the services) holds the publisher's \
                 certificates, fingerprints = [\"…\"] says which of them may sign"
                    .into(),
            ),
        );
    } else if wanted && signature.is_none() && checksums.is_none() {
        table.problem(
            "keys",
            "keys that nothing is signed with".into(),
            "neither `signature` nor `checksums` is here".into(),
            None,
        );
    }
    Proof {
        checksums,
        signature,
        keys,
        fingerprints,
    }
}

fn placing(table: &Table<'_>, origin: &Origin, version: Option<&str>) -> Placing {
    let kinds = [("tar", Kind::Tar), ("zip", Kind::Zip), ("file", Kind::File)];
    let kind = match table.text("kind") {
        Some(text) => choice(table, "kind", &text, &kinds).unwrap_or(Kind::File),
        None => {
            let name = origin.file_name().to_ascii_lowercase();
            if let Some(suffix) = FOREIGN.iter().find(|suffix| name.ends_with(**suffix)) {
                table.problem(
                    if matches!(origin, Origin::Url(_)) {
                        "url"
                    } else {
                        "supplied"
                    },
                    format!("`{suffix}` is an archive that cannot be unpacked"),
                    "tar (plain, gzip, xz, zstd) and zip can".into(),
                    Some("take another of the publisher's files, or write kind = \"file\"".into()),
                );
            }
            let known = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix));
            known.map_or(Kind::File, |(_, kind)| *kind)
        }
    };
    let to = table.required("to");
    let to = match to.is_empty() {
        true => to,
        false => filled(table, "to", &to, version),
    };
    let bad = |part: &str| matches!(part, "" | "." | "..");
    if !to.is_empty() && (!to.starts_with('/') || to.split('/').skip(1).any(bad)) {
        table.problem(
            "to",
            format!("`{to}` is not a place in an image"),
            "an absolute path below `/`, without a final slash, `.` or `..`, is expected".into(),
            None,
        );
    }
    let strip = table.number("strip", 0, 64).unwrap_or(0);
    let only = patterns(table, "only");
    let except = patterns(table, "except");
    let setuid = patterns(table, "setuid");
    let owner = table.text("owner").unwrap_or_else(|| "root:root".into());
    check_owner(table, "owner", &owner);
    let mode = mode(table);
    let (foreign, why): (&[&str], _) = match kind {
        Kind::File => (
            &["strip", "only", "except", "setuid"],
            "it says what of an archive is taken, and this is one file",
        ),
        Kind::Tar | Kind::Zip => (&["mode"], "what is in an archive has its own modes"),
    };
    for key in foreign {
        if table.has(key) {
            let what = format!("`{key}` means nothing here");
            table.problem(key, what, why.into(), None);
        }
    }
    Placing {
        kind,
        to,
        strip,
        only,
        except,
        setuid,
        owner,
        mode,
    }
}

fn patterns(table: &Table<'_>, key: &str) -> Vec<String> {
    let patterns = table.texts(key);
    let bad = |part: &str| matches!(part, "" | "." | "..");
    for pattern in &patterns {
        if pattern.trim_end_matches('/').split('/').any(bad) {
            table.problem(
                key,
                format!("`{pattern}` is not a pattern of `{key}`"),
                "paths as they land below `to` are expected, as `bin/app`, `doc` or `*.jar`".into(),
                None,
            );
        }
    }
    let plain = patterns.iter().map(|pattern| pattern.trim_end_matches('/'));
    plain.map(str::to_owned).collect()
}

fn mode(table: &Table<'_>) -> u32 {
    const DEFAULT: u32 = 0o644;
    let Some(text) = table.text("mode") else {
        return DEFAULT;
    };
    let mode = u32::from_str_radix(&text, 8).ok();
    match mode.filter(|_| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(mode) => mode,
        None => {
            table.problem(
                "mode",
                format!("`{text}` is not a mode"),
                "four octal digits in quotes are expected, for example \"0755\"".into(),
                None,
            );
            DEFAULT
        }
    }
}

/// Reads the container images of a service.
pub fn images(tables: &[Table<'_>]) -> Vec<OciImage> {
    let mut images: Vec<OciImage> = Vec::new();
    for table in tables {
        let name = table.required_name("name");
        twice(table, images.iter().any(|other| other.name == name), &name);
        let image = table.required("image");
        if let (false, Err(why)) = (image.is_empty(), Reference::parse(&image)) {
            table.problem(
                "image",
                format!("`{image}` does not name a container image for good"),
                why.into(),
                None,
            );
        }
        let platform = table
            .text("platform")
            .unwrap_or_else(|| "linux/amd64".into());
        let parts: Vec<&str> = platform.split('/').collect();
        if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.is_empty()) {
            table.problem(
                "platform",
                format!("`{platform}` is not a platform"),
                "`os/architecture` or `os/architecture/variant` is expected, as linux/amd64".into(),
                None,
            );
        }
        table.done();
        images.push(OciImage {
            name,
            image,
            platform,
        });
    }
    images
}
