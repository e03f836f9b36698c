//! The authorities that a host's programs trust, as update-ca-certificates(8) keeps them: links to
//! their certificates, links by the hash of their subjects as `openssl rehash` makes them
//! (openssl-rehash(1ssl)), and all certificates in one file.

use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use x509_parser::der_parser::asn1_rs::{Tag, ToDer};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// The file that has all certificates, among the links.
pub const BUNDLE: &str = "ca-certificates.crt";

/// Where update-ca-certificates(8) has what it reads and writes.
#[derive(Debug)]
pub struct Folders {
    /// Which of the packaged certificates are trusted.
    pub configuration: PathBuf,
    /// Certificates of packages.
    pub packaged: PathBuf,
    /// Certificates of this site.
    pub local: PathBuf,
    /// Programs that are told of what is new.
    pub hooks: PathBuf,
    /// The links, and [`BUNDLE`].
    pub trusted: PathBuf,
}

impl Folders {
    /// Those of a host.
    pub fn host() -> Folders {
        Folders {
            configuration: "/etc/ca-certificates.conf".into(),
            packaged: "/usr/share/ca-certificates".into(),
            local: "/usr/local/share/ca-certificates".into(),
            hooks: "/etc/ca-certificates/update.d".into(),
            trusted: "/etc/ssl/certs".into(),
        }
    }
}

/// A certificate that is to be trusted.
#[derive(Debug)]
pub struct Certificate {
    /// Its file.
    pub path: PathBuf,
    /// Name of the link to it.
    pub link: String,
    /// Its text, as PEM (RFC 7468).
    pub content: Vec<u8>,
}

impl Certificate {
    /// `None` for a file that cannot be read, or whose name a shell script changes.
    fn read(path: PathBuf) -> Option<Certificate> {
        let name = path.file_name()?.to_str()?;
        if is_odd(name) {
            return None;
        }
        Some(Certificate {
            link: format!("{}.pem", name.strip_suffix(".crt")?),
            content: fs::read(&path).ok()?,
            path,
        })
    }

    /// Whether the link to it stands.
    pub fn is_linked(&self, folders: &Folders) -> bool {
        fs::read_link(folders.trusted.join(&self.link)).is_ok_and(|target| target == self.path)
    }

    /// The hash of its subject, and its binary form. `None` for a file that has not just one
    /// certificate, or a rare one.
    pub fn hashed(&self) -> Option<(u32, Vec<u8>)> {
        let mut found = Pem::iter_from_buffer(&self.content);
        let (Some(Ok(pem)), None) = (found.next(), found.next()) else {
            return None;
        };
        let (rest, parsed) = X509Certificate::from_der(&pem.contents).ok()?;
        if pem.label != "CERTIFICATE" || !rest.is_empty() {
            return None;
        }
        let hash = hash(parsed.subject())?;
        Some((hash, pem.contents))
    }
}

/// Whether a shell script may take a name for another one.
fn is_odd(name: &str) -> bool {
    name.contains(|letter: char| letter.is_whitespace() || "!\\(),'\"".contains(letter))
}

/// Whether a folder is empty or not there.
pub fn is_empty(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// The packaged certificates that the configuration lists. `None` where one is to be removed, or
/// has a name that a shell script changes.
pub fn listed(folders: &Folders) -> Option<Vec<Certificate>> {
    let configuration = fs::read_to_string(&folders.configuration).ok()?;
    let lines = configuration.lines().filter(|line| !line.is_empty());
    let mut certificates = Vec::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        if is_odd(line) || line.starts_with('/') {
            return None;
        }
        certificates.push(Certificate::read(folders.packaged.join(line))?);
    }
    (!certificates.is_empty() && apart(&certificates)).then_some(certificates)
}

/// The certificates of this site, in order. `None` for what is not plain files of a folder.
fn local(folders: &Folders) -> Option<Vec<Certificate>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folders.local).ok()? {
        let entry = entry.ok()?;
        if !entry.file_type().ok()?.is_file() {
            return None;
        }
        paths.push(entry.path());
    }
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "crt"));
    paths.sort();
    paths.into_iter().map(Certificate::read).collect()
}

/// Whether no two have one link.
fn apart(certificates: &[Certificate]) -> bool {
    let links: BTreeSet<&str> = certificates.iter().map(|one| one.link.as_str()).collect();
    links.len() == certificates.len()
}

/// Makes programs trust a certificate among those of this site, as update-ca-certificates(8)
/// would in the time that a hundred and fifty others take. Doing it twice is doing it once.
///
/// Returns false, with nothing done, where that program has more to do than this.
pub fn add(folders: &Folders, path: &Path) -> io::Result<bool> {
    let Some((all, new)) = known(folders, path) else {
        return Ok(false);
    };
    let new = &all[new];
    let Some((hash, _)) = new.hashed() else {
        return Ok(false);
    };
    let mut by_hash = None;
    let mut others = Vec::new();
    for number in 0.. {
        let name = folders.trusted.join(format!("{hash:08x}.{number}"));
        match fs::read_link(&name) {
            Ok(target) if target == Path::new(&new.link) => by_hash = Some((name, true)),
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => by_hash = Some((name, false)),
            Err(error) => return Err(error),
        }
        break;
    }
    let Some((name, stands)) = by_hash else {
        return Ok(false);
    };
    for entry in fs::read_dir(&folders.trusted)? {
        let other = entry?.path();
        if other != name && fs::read_link(&other).is_ok_and(|target| target == Path::new(&new.link))
        {
            others.push(other);
        }
    }
    // Another certificate had its place. A gap in the numbers would hide what comes after it.
    if others
        .iter()
        .any(|other| follower(other).is_none_or(|next| next.symlink_metadata().is_ok()))
    {
        return Ok(false);
    }
    if !new.is_linked(folders) {
        let beside = folders.trusted.join(format!("{}.new", new.link));
        remove(&beside)?;
        symlink(&new.path, &beside)?;
        fs::rename(&beside, folders.trusted.join(&new.link))?;
    }
    for other in others {
        fs::remove_file(other)?;
    }
    if !stands {
        symlink(&new.link, name)?;
    }
    write_bundle(folders, &all)?;
    Ok(true)
}

/// All certificates in the order of the bundle, and which of them stands at `path`; only where
/// all others are linked, and nobody else wants to be told.
fn known(folders: &Folders, path: &Path) -> Option<(Vec<Certificate>, usize)> {
    let mut all = listed(folders)?;
    all.extend(local(folders)?);
    let new = all.iter().position(|one| one.path == path)?;
    let mut others = all.iter().filter(|one| one.path != path);
    (is_empty(&folders.hooks) && apart(&all) && others.all(|one| one.is_linked(folders)))
        .then_some((all, new))
}

/// `1a2b3c4d.1` for `1a2b3c4d.0`.
fn follower(link: &Path) -> Option<PathBuf> {
    let number: u32 = link.extension()?.to_str()?.parse().ok()?;
    Some(link.with_extension((number + 1).to_string()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes all certificates to one file.
pub fn write_bundle(folders: &Folders, certificates: &[Certificate]) -> io::Result<()> {
    let mut bundle = Vec::new();
    for certificate in certificates {
        bundle.extend(&certificate.content);
        if !certificate.content.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    let next = folders.trusted.join(format!("{BUNDLE}.new"));
    fs::write(&next, bundle)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o644))?;
    fs::rename(next, folders.trusted.join(BUNDLE))
}

/// OpenSSL's hash of a name (`X509_NAME_hash`): the first four bytes of the SHA-1 of its parts,
/// each with its text in lower case and without spaces to spare. `None` for texts that are rare.
fn hash(name: &X509Name) -> Option<u32> {
    let mut hasher = Sha1::new();
    for part in name.iter_rdn() {
        let mut attributes = part.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return None;
        };
        let value = attribute.attr_value();
        let text = match value.tag() {
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
                std::str::from_utf8(value.data).ok()?.to_owned()
            }
            // Latin-1, whatever X.680 says.
            Tag::T61String => value.data.iter().copied().map(char::from).collect(),
            _ => return None,
        };
        let mut entry = attribute.attr_type().to_der_vec().ok()?;
        entry.extend(der(0x0c, plain(&text).as_bytes()));
        hasher.update(der(0x31, &der(0x30, &entry)));
    }
    let digest = hasher.finalize();
    Some(u32::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}

/// As `asn1_string_canon` of OpenSSL has it.
fn plain(text: &str) -> String {
    let space = |letter: char| matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let words = text.split(space).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    words.join(" ")
}

/// An element of DER (X.690).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|byte| *byte != 0);
    let length = &length[first.unwrap_or(length.len() - 1)..];
    let mut element = vec![tag];
    if content.len() >= 0x80 {
        element.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
    }
    element.extend(length);
    element.extend(content);
    element
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use std::collections::BTreeMap;
    use std::process::Command;

    fn certificate(name: &str) -> String {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        let names = &mut parameters.distinguished_name;
        names.push(DnType::CountryName, "HU");
        names.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_hash_of_a_name_is_openssls() {
        for name in [
            "Root CA",
            "  Spaces   to spare ",
            "Főtanúsítvány ÉÁ",
            &"long ".repeat(60),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let pem = certificate(name);
            fs::write(file.path(), &pem).unwrap();
            let told = Command::new("openssl")
                .args(["x509", "-noout", "-subject_hash", "-in"])
                .arg(file.path())
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            let certificate = Certificate {
                path: file.path().to_owned(),
                link: "x.pem".into(),
                content: pem.into_bytes(),
            };
            let (hash, _) = certificate.hashed().unwrap();
            assert_eq!(format!("{hash:08x}"), told.trim(), "{name:?}");
        }
    }

    /// A host with certificates of packages, all trusted.
    fn host(folder: &Path) -> Folders {
        let folders = Folders {
            configuration: folder.join("conf"),
            packaged: folder.join("packaged"),
            local: folder.join("local"),
            hooks: folder.join("hooks"),
            trusted: folder.join("trusted"),
        };
        for one in [&folders.packaged, &folders.local, &folders.trusted] {
            fs::create_dir(one).unwrap();
        }
        let mut lines = String::from("# those of packages\n");
        for name in ["One", "Two", "Site"] {
            lines += &format!("{name}.crt\n");
            let path = folders.packaged.join(format!("{name}.crt"));
            // Without a line's end, as it happens.
            fs::write(path, certificate(name).trim_end()).unwrap();
        }
        fs::write(&folders.configuration, lines).unwrap();
        program(&folders);
        folders
    }

    /// update-ca-certificates(8) itself.
    fn program(folders: &Folders) {
        let done = Command::new("update-ca-certificates")
            .arg("--certsconf")
            .arg(&folders.configuration)
            .arg("--certsdir")
            .arg(&folders.packaged)
            .arg("--localcertsdir")
            .arg(&folders.local)
            .arg("--etccertsdir")
            .arg(&folders.trusted)
            .args(["--hooksdir", ""])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Where each link leads, and what is in each file.
    fn state(folders: &Folders) -> BTreeMap<String, String> {
        let entries = fs::read_dir(&folders.trusted).unwrap();
        let told = entries.map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let told = match fs::read_link(&path) {
                Ok(target) => format!("-> {}", target.display()),
                Err(_) => format!(
                    "{:o} {}",
                    path.metadata().unwrap().permissions().mode(),
                    fs::read_to_string(&path).unwrap()
                ),
            };
            (name, told)
        });
        told.collect()
    }

    #[test]
    fn a_site_certificate_is_trusted_as_by_update_ca_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let folders = host(folder.path());
        let before = state(&folders);
        let ours = folders.local.join("muster.crt");
        // The second has the subject of a packaged one, and so a number of its own; the third
        // leaves none of it behind.
        for name in ["Example Company", "Site", "Another Company"] {
            fs::write(&ours, certificate(name)).unwrap();
            for _ in 0..2 {
                assert!(add(&folders, &ours).unwrap(), "{name}");
            }
            let added = state(&folders);
            assert_eq!(added.len(), before.len() + 2, "{added:#?}");
            // All anew.
            for name in added.keys() {
                fs::remove_file(folders.trusted.join(name)).unwrap();
            }
            program(&folders);
            assert_eq!(added, state(&folders), "{name}");
        }
    }

    #[test]
    fn what_is_more_than_one_certificate_is_left_to_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let folders = host(folder.path());
        let ours = folders.local.join("muster.crt");
        fs::write(&ours, certificate("Example Company")).unwrap();
        let before = state(&folders);

        fs::create_dir(&folders.hooks).unwrap();
        fs::write(folders.hooks.join("java"), "").unwrap();
        assert!(!add(&folders, &ours).unwrap());
        fs::remove_dir_all(&folders.hooks).unwrap();

        let other = folders.local.join("other.crt");
        fs::write(&other, certificate("Somebody else")).unwrap();
        assert!(!add(&folders, &ours).unwrap());
        fs::remove_file(&other).unwrap();

        let listed = fs::read_to_string(&folders.configuration).unwrap();
        fs::write(&folders.configuration, listed.replace("Two", "!Two")).unwrap();
        assert!(!add(&folders, &ours).unwrap());
        assert_eq!(before, state(&folders));
    }
}
