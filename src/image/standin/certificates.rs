//! `update-ca-certificates` (update-ca-certificates(8)) where all that it finds are certificates of
//! packages: links to them, links by the hash of their subjects as `openssl rehash` makes them
//! (openssl-rehash(1ssl)), and all of them in one file.

use super::say;
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;
use x509_parser::der_parser::asn1_rs::{Tag, ToDer};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

const CONFIGURATION: &str = "/etc/ca-certificates.conf";
const PACKAGED: &str = "/usr/share/ca-certificates";
const LOCAL: &str = "/usr/local/share/ca-certificates";
const HOOKS: &str = "/etc/ca-certificates/update.d";
const TRUSTED: &str = "/etc/ssl/certs";
const BUNDLE: &str = "ca-certificates.crt";

/// A certificate that is to be trusted.
struct Certificate {
    /// Its file.
    path: String,
    /// Name of the link to it.
    link: String,
    content: Vec<u8>,
}

/// Does it, or returns `None` for what is not this case.
pub fn run(arguments: &[String]) -> Option<u8> {
    let hooks = match arguments {
        [] => true,
        [option, none] if option == "--hooksdir" && none.is_empty() => false,
        _ => return None,
    };
    let empty = |folder: &str| match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !empty(LOCAL) || (hooks && !empty(HOOKS)) {
        return None;
    }
    let certificates = listed(&fs::read_to_string(CONFIGURATION).ok()?)?;
    let there = names(Path::new(TRUSTED))?;
    let new: Vec<&Certificate> = certificates
        .iter()
        .filter(|certificate| !is_linked(certificate))
        .collect();
    let links = match new.as_slice() {
        [] => BTreeMap::new(),
        // Links by hash are made anew when there are none.
        _ if new.len() == certificates.len() && there.iter().all(|name| name == BUNDLE) => {
            by_hash(&certificates)?
        }
        _ => return None,
    };
    if there.contains(&format!("{BUNDLE}.new")) {
        return None;
    }
    Some(match write(&certificates, &new, &links) {
        Ok(()) => {
            say(format_args!("{} added, 0 removed; done.", new.len()));
            0
        }
        Err(error) => {
            say(format_args!("update-ca-certificates: {error}"));
            1
        }
    })
}

/// The certificates that the configuration lists. `None` where one is to be removed, or has a
/// name that a shell script changes.
fn listed(configuration: &str) -> Option<Vec<Certificate>> {
    let lines = configuration.lines().filter(|line| !line.is_empty());
    let mut certificates = Vec::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let odd = |letter: char| letter.is_whitespace() || "!\\(),'\"".contains(letter);
        if line.contains(odd) || !line.ends_with(".crt") || line.starts_with('/') {
            return None;
        }
        let path = format!("{PACKAGED}/{line}");
        let name = line.rsplit('/').next().unwrap_or_default();
        certificates.push(Certificate {
            link: format!("{}.pem", name.strip_suffix(".crt")?),
            content: fs::read(&path).ok()?,
            path,
        });
    }
    let links: BTreeSet<&str> = certificates.iter().map(|one| one.link.as_str()).collect();
    (!certificates.is_empty() && links.len() == certificates.len()).then_some(certificates)
}

fn names(folder: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn is_linked(certificate: &Certificate) -> bool {
    let link = Path::new(TRUSTED).join(&certificate.link);
    fs::read_link(link).is_ok_and(|target| target == Path::new(&certificate.path))
}

/// Name of each link by hash → the link it leads to. Certificates that are there twice get one.
fn by_hash(certificates: &[Certificate]) -> Option<BTreeMap<String, String>> {
    let mut sorted: Vec<&Certificate> = certificates.iter().collect();
    sorted.sort_by(|one, other| one.link.cmp(&other.link));
    let mut known: BTreeMap<u32, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut links = BTreeMap::new();
    for certificate in sorted {
        let mut found = Pem::iter_from_buffer(&certificate.content);
        let (Some(Ok(pem)), None) = (found.next(), found.next()) else {
            return None;
        };
        let (rest, parsed) = X509Certificate::from_der(&pem.contents).ok()?;
        if pem.label != "CERTIFICATE" || !rest.is_empty() {
            return None;
        }
        let hash = hash(parsed.subject())?;
        let same = known.entry(hash).or_default();
        let number = same.len();
        if same.insert(pem.contents.clone()) {
            links.insert(format!("{hash:08x}.{number}"), certificate.link.clone());
        }
    }
    Some(links)
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

fn write(
    certificates: &[Certificate],
    new: &[&Certificate],
    links: &BTreeMap<String, String>,
) -> io::Result<()> {
    let folder = Path::new(TRUSTED);
    for certificate in new {
        symlink(&certificate.path, folder.join(&certificate.link))?;
    }
    for (name, target) in links {
        symlink(target, folder.join(name))?;
    }
    let mut bundle = Vec::new();
    for certificate in certificates {
        bundle.extend(&certificate.content);
        if !certificate.content.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    let next = folder.join(format!("{BUNDLE}.new"));
    fs::write(&next, bundle)?;
    fs::rename(next, folder.join(BUNDLE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use std::process::Command;

    #[test]
    fn the_hash_of_a_name_is_openssls() {
        for name in [
            "Root CA",
            "  Spaces   to spare ",
            "Főtanúsítvány ÉÁ",
            &"long ".repeat(60),
        ] {
            let mut parameters = CertificateParams::new(Vec::new()).unwrap();
            parameters
                .distinguished_name
                .push(DnType::CountryName, "HU");
            parameters.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let made = parameters.self_signed(&key).unwrap();
            let (_, parsed) = X509Certificate::from_der(made.der()).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), made.pem()).unwrap();
            let told = Command::new("openssl")
                .args(["x509", "-noout", "-subject_hash", "-in"])
                .arg(file.path())
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            let hash = hash(parsed.subject()).unwrap();
            assert_eq!(format!("{hash:08x}"), told.trim(), "{name:?}");
        }
    }
}
