//! The site CA and the leaf certificates it issues: ECDSA P-256, PEM files.

use super::durable::{self, Owner};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey, SubjectPublicKeyInfo,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::time::ASN1Time;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The CA lives ten years.
const CA_LIFE: Duration = Duration::from_secs(3653 * DAY);
/// From when on the CA is good, 1 January 2024, since 1970: a CA that a host with a wrong clock has made
/// must still be good when the clock is right, for it is never made again.
pub const CA_START: Duration = Duration::from_secs(1_704_067_200);
/// A leaf lives 90 days …
const LEAF_LIFE: Duration = Duration::from_secs(90 * DAY);
/// … and is renewed when it is 60 days old.
const LEAF_REST: Duration = Duration::from_secs(30 * DAY);
/// X.520 bounds common and organisation names.
const NAME_LENGTH: usize = 64;

/// Who signs the certificates of a host: the CA itself on the lead, the lead for all others.
pub trait Signs: Send + Sync {
    /// The certificate of the site CA, PEM.
    fn ca(&self) -> Result<String, AuthorityError>;
    /// A certificate, PEM, for a key that this host has made (its SubjectPublicKeyInfo, DER).
    fn sign(&self, leaf: &Leaf<'_>, public_key: &[u8]) -> Result<String, AuthorityError>;
}

/// A certificate of a service of this host.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// Whose.
    pub service: &'a str,
    /// Which of its.
    pub name: &'a str,
    /// DNS names or addresses.
    pub names: &'a [String],
}

/// The CA that is kept in a folder of this host, and made when it is first asked for.
#[derive(Debug, Clone)]
pub struct Own {
    /// The folder.
    pub folder: PathBuf,
    /// Named in its certificate.
    pub organisation: String,
}

impl Own {
    /// The CA, with its key.
    pub fn open(&self) -> Result<Authority, AuthorityError> {
        Authority::open_or_create(&self.folder, &self.organisation)
    }
}

impl Signs for Own {
    fn ca(&self) -> Result<String, AuthorityError> {
        Ok(self.open()?.pem)
    }

    fn sign(&self, leaf: &Leaf<'_>, public_key: &[u8]) -> Result<String, AuthorityError> {
        self.open()?.certify(public_key, leaf.names, None)
    }
}

/// The CA of one site, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    path: PathBuf,
}

/// A leaf certificate on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Leaf and CA, PEM.
    pub certificate: PathBuf,
    /// Private key, PKCS #8 PEM.
    pub key: PathBuf,
    /// Whether it was made or renewed now, so that its users must reload.
    pub changed: bool,
}

/// Why there is no CA or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificate is there, the key is not: a new CA would break every trust in the old.
    #[error("{0} is missing, but its certificate is there; restore it from a backup")]
    KeyLost(PathBuf),
    /// The key and the certificate of the CA are not a pair.
    #[error("{0} is not the key of the CA certificate beside it")]
    NotAPair(PathBuf),
    /// Making a certificate failed.
    #[error("certificate for {subject}: {error}")]
    Make {
        /// For whom.
        subject: String,
        /// Why.
        error: rcgen::Error,
    },
    /// A leaf with no name is good for nothing.
    #[error("certificate in {0}: no name is left to put into it")]
    NoNames(PathBuf),
    /// Another host signs, and did not.
    #[error("certificate for {subject}: {reason}")]
    Unsigned {
        /// For whom.
        subject: String,
        /// Why.
        reason: String,
    },
    /// The kernel gives no random numbers.
    #[error("the kernel gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The clock stands before 1970 or beyond the year 9999.
    #[error("the clock of this host is set to an impossible time")]
    Clock,
}

impl Authority {
    /// Opens `ca.pem` and `ca.key` in `directory`, making what was never made.
    ///
    /// The key is stored before the certificate: a power cut between the two leaves a key
    /// that the next call makes the certificate for.
    pub fn open_or_create(directory: &Path, organisation: &str) -> Result<Self, AuthorityError> {
        let path = directory.join("ca.pem");
        let key_path = directory.join("ca.key");
        durable::make_directory(directory, 0o755).map_err(at(directory))?;
        let pem = read(&path)?;
        let key = match (read(&key_path)?, &pem) {
            (Some(text), _) => KeyPair::from_pem(&text).map_err(made("the site CA"))?,
            (None, Some(_)) => return Err(AuthorityError::KeyLost(key_path)),
            (None, None) => {
                let key = KeyPair::generate().map_err(made("the site CA"))?;
                durable::write(&key_path, key.serialize_pem().as_bytes(), 0o600, None)
                    .map_err(at(&key_path))?;
                key
            }
        };
        let pem = match pem {
            Some(pem) => pem,
            None => {
                let certificate = ca_params(organisation)?
                    .self_signed(&key)
                    .map_err(made("the site CA"))?
                    .pem();
                durable::write(&path, certificate.as_bytes(), 0o644, None).map_err(at(&path))?;
                certificate
            }
        };
        if !certifies(&pem, &key) {
            return Err(AuthorityError::NotAPair(key_path));
        }
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(made("the site CA"))?;
        Ok(Authority { issuer, pem, path })
    }

    /// The CA certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Where the CA certificate stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A certificate, PEM, for a key that was made elsewhere (its SubjectPublicKeyInfo, DER): for
    /// these DNS names or addresses, and with `identity`, a URI, where it says whose it is.
    pub fn certify(
        &self,
        public_key: &[u8],
        names: &[String],
        identity: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let wanted = tidied(names);
        let subject = wanted.first().cloned().unwrap_or_default();
        let key = SubjectPublicKeyInfo::from_der(public_key).map_err(made(&subject))?;
        let mut params = leaf_params(&subject, &BTreeSet::from_iter(wanted), now()?)?;
        if let Some(identity) = identity {
            let uri = Ia5String::try_from(identity).map_err(made(&subject))?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        let leaf = params
            .signed_by(&key, &self.issuer)
            .map_err(made(&subject))?;
        Ok(leaf.pem())
    }

    /// The authority's signature of a statement: ECDSA with SHA-256, ASN.1. A statement begins with
    /// a letter, which no part of a certificate does.
    pub fn attest(&self, statement: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let signed = self.issuer.key().sign(statement);
        signed.map_err(made("a statement of the site CA"))
    }
}

/// Whether the authority with this certificate, PEM, has signed a statement.
pub fn attested(ca: &str, statement: &[u8], signature: &[u8]) -> bool {
    let Some(Ok(pem)) = Pem::iter_from_buffer(ca.as_bytes()).next() else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let key = &certificate.public_key().subject_public_key.data;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
    key.verify(statement, signature).is_ok()
}

impl Signs for Authority {
    fn ca(&self) -> Result<String, AuthorityError> {
        Ok(self.pem.clone())
    }

    fn sign(&self, leaf: &Leaf<'_>, public_key: &[u8]) -> Result<String, AuthorityError> {
        self.certify(public_key, leaf.names, None)
    }
}

/// Makes sure that `directory` holds `certificate.pem` (leaf and CA) and `key.pem` for a leaf. What
/// is there and good for a month more is kept; the key is kept when the certificate is renewed,
/// so the two always match on disk.
pub fn issue(
    signer: &dyn Signs,
    directory: &Path,
    leaf: &Leaf<'_>,
    owner: Owner,
) -> Result<Issued, AuthorityError> {
    let names = tidied(leaf.names);
    let subject = names
        .first()
        .cloned()
        .ok_or_else(|| AuthorityError::NoNames(directory.into()))?;
    let wanted = BTreeSet::from_iter(names);
    let certificate = directory.join("certificate.pem");
    let key_path = directory.join("key.pem");
    durable::make_directory(directory, 0o755).map_err(at(directory))?;

    let stored = read(&key_path)?.and_then(|text| KeyPair::from_pem(&text).ok());
    let (key, fresh) = match stored {
        Some(key) => (key, false),
        None => (KeyPair::generate().map_err(made(&subject))?, true),
    };
    if fresh {
        durable::write(
            &key_path,
            key.serialize_pem().as_bytes(),
            0o640,
            Some(owner),
        )
        .map_err(at(&key_path))?;
    } else {
        std::os::unix::fs::chown(&key_path, Some(owner.uid), Some(owner.gid))
            .map_err(at(&key_path))?;
    }
    let ca = signer.ca()?;
    if let Some(text) = read(&certificate)?
        && good(&ca, &text, &wanted, &key, now()?)
    {
        return Ok(Issued {
            certificate,
            key: key_path,
            changed: fresh,
        });
    }
    let pem = signer.sign(leaf, &key.subject_public_key_info())?;
    let text = format!("{pem}{ca}");
    durable::write(&certificate, text.as_bytes(), 0o644, None).map_err(at(&certificate))?;
    Ok(Issued {
        certificate,
        key: key_path,
        changed: true,
    })
}

/// Whether [`issue`] would find nothing to do in `directory`. Changes nothing.
pub fn is_good(
    signer: &dyn Signs,
    directory: &Path,
    names: &[String],
) -> Result<bool, AuthorityError> {
    let wanted = BTreeSet::from_iter(tidied(names));
    let key = read(&directory.join("key.pem"))?.and_then(|text| KeyPair::from_pem(&text).ok());
    let text = read(&directory.join("certificate.pem"))?;
    let (Some(key), Some(text)) = (key, text) else {
        return Ok(false);
    };
    Ok(good(&signer.ca()?, &text, &wanted, &key, now()?))
}

fn good(ca: &str, text: &str, wanted: &BTreeSet<String>, key: &KeyPair, now: Duration) -> bool {
    if !text.ends_with(ca) || !certifies(text, key) {
        return false;
    }
    let Some(facts) = facts(text) else {
        return false;
    };
    let now = now.as_secs() as i64;
    facts.names == *wanted
        && facts.not_before <= now
        && facts.not_after - now > LEAF_REST.as_secs() as i64
}

/// As they stand in a certificate, none of them empty.
fn tidied(names: &[String]) -> Vec<String> {
    let names = names.iter().map(|name| name.trim().to_lowercase());
    names.filter(|name| !name.is_empty()).collect()
}

/// Until when the CA in this directory is good, since 1970; nothing when there is none.
pub fn good_until(directory: &Path) -> Option<Duration> {
    let text = std::fs::read(directory.join("ca.pem")).ok()?;
    let pem = Pem::iter_from_buffer(&text).next()?.ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some(Duration::from_secs(u64::try_from(end).ok()?))
}

/// What decides whether a leaf is still good.
struct Facts {
    names: BTreeSet<String>,
    not_before: i64,
    not_after: i64,
}

fn facts(text: &str) -> Option<Facts> {
    let pem = Pem::iter_from_buffer(text.as_bytes()).next()?.ok()?;
    let certificate = pem.parse_x509().ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    Some(Facts {
        names: names.value.general_names.iter().filter_map(name).collect(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_string()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn certifies(text: &str, key: &KeyPair) -> bool {
    let Some(Ok(pem)) = Pem::iter_from_buffer(text.as_bytes()).next() else {
        return false;
    };
    pem.parse_x509().is_ok_and(|certificate| {
        certificate.public_key().raw == key.subject_public_key_info().as_slice()
    })
}

fn ca_params(organisation: &str) -> Result<CertificateParams, AuthorityError> {
    let now = now()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let short: String = organisation
        .chars()
        .take(NAME_LENGTH - " site CA".len())
        .collect();
    params
        .distinguished_name
        .push(DnType::OrganizationName, short.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{short} site CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    live(&mut params, CA_START.min(now), CA_START.max(now) + CA_LIFE)?;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn leaf_params(
    subject: &str,
    names: &BTreeSet<String>,
    now: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params =
        CertificateParams::new(names.iter().cloned().collect::<Vec<_>>()).map_err(made(subject))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common: String = subject.chars().take(NAME_LENGTH).collect();
    params.distinguished_name.push(DnType::CommonName, common);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    live(
        &mut params,
        now.saturating_sub(Duration::from_secs(HOUR)),
        now + LEAF_LIFE,
    )?;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn now() -> Result<Duration, AuthorityError> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| AuthorityError::Clock)
}

/// Sets both ends, in time since 1970; rcgen's own start is 1975.
fn live(
    params: &mut CertificateParams,
    from: Duration,
    until: Duration,
) -> Result<(), AuthorityError> {
    let date = |time: Duration| {
        ASN1Time::from_timestamp(time.as_secs() as i64).map_err(|_| AuthorityError::Clock)
    };
    params.not_before = date(from)?.to_datetime();
    params.not_after = date(until)?.to_datetime();
    Ok(())
}

/// 126 random bits, positive and of full length.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(AuthorityError::Random)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuthorityError::Io {
            path: path.into(),
            error,
        }),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_path_buf();
    move |error| AuthorityError::Io { path, error }
}

fn made(subject: &str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    let subject = subject.to_string();
    move |error| AuthorityError::Make { subject, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn ours() -> Owner {
        Owner {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
        }
    }

    fn leaf_of(
        ca: &Authority,
        directory: &Path,
        names: &[String],
    ) -> Result<Issued, AuthorityError> {
        let leaf = Leaf {
            service: "nginx",
            name: "web",
            names,
        };
        issue(ca, directory, &leaf, ours())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn openssl(arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .output()
            .expect("openssl runs");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn openssl_trusts_a_leaf_for_its_names_and_for_no_other() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ca =
            Authority::open_or_create(&folder.path().join("ca"), "Grünwald & Söhne").expect("a CA");
        let leaf = folder.path().join("certificates/nginx/web");
        let list = names(&[
            "webmail.example.org",
            "WEBMAIL.localhost",
            "",
            "10.0.0.5",
            "fd00::5",
        ]);
        let issued = leaf_of(&ca, &leaf, &list).expect("issued");
        assert!(issued.changed);
        let ca_path = ca.path().to_str().expect("a path");
        let certificate = issued.certificate.to_str().expect("a path");
        let key = issued.key.to_str().expect("a path");
        let verify = [
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            ca_path,
        ];
        for check in [
            ["-verify_hostname", "webmail.example.org"],
            ["-verify_hostname", "webmail.localhost"],
            ["-verify_ip", "10.0.0.5"],
            ["-verify_ip", "fd00::5"],
        ] {
            let told = openssl(&[&verify[..], &check[..], &[certificate]].concat());
            assert!(told.ends_with(": OK\n"), "{told}");
        }
        let refused = Command::new("openssl")
            .args(verify)
            .args(["-verify_hostname", "imap.example.org", certificate])
            .output()
            .expect("openssl runs");
        assert!(!refused.status.success());
        assert_eq!(
            openssl(&["x509", "-in", certificate, "-noout", "-pubkey"]),
            openssl(&["pkey", "-in", key, "-pubout"])
        );
        let subject = openssl(&[
            "x509", "-in", ca_path, "-noout", "-subject", "-nameopt", "utf8",
        ]);
        assert!(subject.contains("CN=Grünwald & Söhne site CA"), "{subject}");
        // The day of today is inside, ten years less a week on too, and 1975 is not.
        openssl(&["x509", "-in", ca_path, "-noout", "-checkend", "315000000"]);
        let start = openssl(&["x509", "-in", ca_path, "-noout", "-startdate"]);
        assert!(!start.contains("1975"), "{start}");
    }

    #[test]
    fn openssl_trusts_a_certificate_for_a_key_that_was_made_elsewhere() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ca = Authority::open_or_create(&folder.path().join("ca"), "Example").expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let public_key = key.subject_public_key_info();
        let list = names(&["edge.example.org", "10.0.0.7"]);
        let identity = Some("muster:0123/edge");
        let pem = ca.certify(&public_key, &list, identity).expect("signed");
        let path = folder.path().join("edge.pem");
        std::fs::write(&path, &pem).expect("written");
        let (path, ca_path) = (path.to_str().expect("a path"), ca.path());
        let verify = [
            "verify",
            "-x509_strict",
            "-CAfile",
            ca_path.to_str().expect("a path"),
        ];
        for check in [
            ["-verify_hostname", "edge.example.org"],
            ["-verify_ip", "10.0.0.7"],
        ] {
            let told = openssl(&[&verify[..], &check[..], &[path]].concat());
            assert!(told.ends_with(": OK\n"), "{told}");
        }
        let names = openssl(&["x509", "-in", path, "-noout", "-ext", "subjectAltName"]);
        assert!(names.contains("URI:muster:0123/edge"), "{names}");
        assert!(certifies(&pem, &key));
        let error = ca.certify(b"no key", &list, None).expect_err("refused");
        assert!(
            error
                .to_string()
                .starts_with("certificate for edge.example.org: ")
        );
    }

    #[test]
    fn a_good_leaf_is_kept_and_a_leaf_for_other_names_is_replaced_under_the_same_key() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ca = Authority::open_or_create(&folder.path().join("ca"), "Example").expect("a CA");
        let leaf = folder.path().join("leaf");
        let first = leaf_of(&ca, &leaf, &names(&["a.example.org", "b.example.org"]));
        let first = first.expect("issued");
        let text = std::fs::read_to_string(&first.certificate).expect("read");
        let key = std::fs::read_to_string(&first.key).expect("read");

        let again =
            Authority::open_or_create(&folder.path().join("ca"), "Example").expect("opened");
        assert_eq!(again.pem(), ca.pem());
        let kept = leaf_of(&again, &leaf, &names(&["b.example.org", "a.example.org"]));
        assert!(!kept.expect("kept").changed);
        assert_eq!(
            std::fs::read_to_string(&first.certificate).expect("read"),
            text
        );

        let other = leaf_of(&again, &leaf, &names(&["c.example.org"])).expect("issued");
        assert!(other.changed);
        assert_ne!(
            std::fs::read_to_string(&first.certificate).expect("read"),
            text
        );
        assert_eq!(std::fs::read_to_string(&first.key).expect("read"), key);
        let verify = ["verify", "-CAfile", ca.path().to_str().expect("a path")];
        openssl(&[&verify[..], &[other.certificate.to_str().expect("a path")]].concat());
    }

    #[test]
    fn a_leaf_of_another_ca_or_near_its_end_is_renewed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let old = Authority::open_or_create(&folder.path().join("old"), "Example").expect("a CA");
        let new = Authority::open_or_create(&folder.path().join("new"), "Example").expect("a CA");
        let leaf = folder.path().join("leaf");
        let list = names(&["a.example.org"]);
        let issued = leaf_of(&old, &leaf, &list).expect("issued");
        let text = std::fs::read_to_string(&issued.certificate).expect("read");
        let key =
            KeyPair::from_pem(&std::fs::read_to_string(&issued.key).expect("read")).expect("a key");
        let wanted = BTreeSet::from_iter(list.clone());
        let today = now().expect("a clock");
        let in_days = |days: u64| today + Duration::from_secs(days * DAY);
        assert!(good(old.pem(), &text, &wanted, &key, in_days(59)));
        assert!(
            !good(old.pem(), &text, &wanted, &key, in_days(61)),
            "renewed at 60 days"
        );
        assert!(!good(
            old.pem(),
            &text,
            &wanted,
            &key,
            today - Duration::from_secs(DAY)
        ));
        assert!(!good(new.pem(), &text, &wanted, &key, today));
        assert!(leaf_of(&new, &leaf, &list).expect("issued").changed);
    }

    #[test]
    fn a_power_cut_between_key_and_certificate_keeps_the_key_and_a_lost_key_is_told() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ca = Authority::open_or_create(folder.path(), "Example").expect("a CA");
        let key = std::fs::read(folder.path().join("ca.key")).expect("read");
        std::fs::remove_file(ca.path()).expect("removed");
        Authority::open_or_create(folder.path(), "Example").expect("a CA");
        assert_eq!(
            std::fs::read(folder.path().join("ca.key")).expect("read"),
            key
        );

        std::fs::remove_file(folder.path().join("ca.key")).expect("removed");
        let error = Authority::open_or_create(folder.path(), "Example")
            .err()
            .expect("refused");
        assert!(
            error.to_string().ends_with("restore it from a backup"),
            "{error}"
        );
    }

    #[test]
    fn a_certificate_without_a_name_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ca = Authority::open_or_create(&folder.path().join("ca"), "Example").expect("a CA");
        let error = leaf_of(&ca, &folder.path().join("x"), &names(&["", " "]));
        assert_eq!(
            error.expect_err("refused").to_string(),
            format!(
                "certificate in {}: no name is left to put into it",
                folder.path().join("x").display()
            )
        );
    }
}
