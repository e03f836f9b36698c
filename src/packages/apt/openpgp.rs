//! Who signed an `InRelease` file, and whether that signature may be believed.
//!
//! rPGP checks the mathematics; what a signature is worth is decided here: only pinned
//! primary keys, no expired or revoked key, no weak digest, and a subkey only when it is bound
//! both ways and may sign (RFC 9580, §5.2.1 and §10.1).

use pgp::composed::{
    CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};
use std::io::{Cursor, Read};

/// Seconds by which the clock of whoever signs or dates a release may be ahead of ours.
pub const CLOCK_SKEW: i64 = 24 * 60 * 60;

/// A text whose signature was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Exactly the signed text, lines ended by `\n`.
    pub text: String,
    /// Upper-case hex fingerprint of the primary key.
    pub signed_by: String,
}

/// Why a signed file is refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenPgpError {
    /// The armour, or what is in it, cannot be read.
    #[error("it is not a cleartext-signed file: {0}")]
    NotSigned(String),
    /// It is no detached signature.
    #[error("it is not a signature: {0}")]
    NoSignature(String),
    /// A certificate of the base cannot be read.
    #[error("the archive's keys cannot be read: {0}")]
    Keys(String),
    /// No signature was accepted; one reason each.
    #[error("no signature can be believed: {}", .0.join("; "))]
    Refused(Vec<String>),
}

/// Checks a cleartext-signed file against the certificates in `keys` (one or more armoured
/// blocks) whose primary fingerprints are in `fingerprints`, at `now` (seconds since 1970).
pub fn verify(
    signed: &str,
    keys: &str,
    fingerprints: &[String],
    now: i64,
) -> Result<Verified, OpenPgpError> {
    verify_of("archive", signed, keys, fingerprints, now)
}

/// The same where the keys are those of somebody else than an archive: `whose`, in words.
pub fn verify_of(
    whose: &str,
    signed: &str,
    keys: &str,
    fingerprints: &[String],
    now: i64,
) -> Result<Verified, OpenPgpError> {
    let (message, _) = CleartextSignedMessage::from_string(signed.trim_end())
        .map_err(|error| OpenPgpError::NotSigned(error.to_string()))?;
    let certificates = pinned(read_certificates(keys)?, fingerprints);
    let text = message.signed_text();
    let mut reasons = Vec::new();
    for signature in message.signatures() {
        match accept(
            signature,
            whose,
            &|| Ok(text.as_bytes()),
            &certificates,
            now,
        ) {
            Ok(signed_by) => {
                return Ok(Verified {
                    text: text.replace("\r\n", "\n"),
                    signed_by,
                });
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        reasons.push("there is none".into());
    }
    reasons.sort();
    reasons.dedup();
    Err(OpenPgpError::Refused(reasons))
}

/// Checks detached signatures (armoured or not) of what `content` opens, by the rules of
/// [`verify`]. Returns the upper-case hex fingerprint of the primary key of the first that counts.
pub fn verify_detached<R: Read>(
    content: &dyn Fn() -> std::io::Result<R>,
    signatures: &[u8],
    keys: &str,
    fingerprints: &[String],
    now: i64,
) -> Result<String, OpenPgpError> {
    let not_one = |error: pgp::errors::Error| OpenPgpError::NoSignature(error.to_string());
    let armoured = signatures.trim_ascii_start().starts_with(b"-----BEGIN");
    let found: Vec<DetachedSignature> = if armoured {
        let (found, _) =
            DetachedSignature::from_armor_many(Cursor::new(signatures)).map_err(not_one)?;
        found.collect::<Result<_, _>>().map_err(not_one)?
    } else {
        DetachedSignature::from_bytes_many(Cursor::new(signatures))
            .map_err(not_one)?
            .collect::<Result<_, _>>()
            .map_err(not_one)?
    };
    let certificates = pinned(read_certificates(keys)?, fingerprints);
    let mut reasons = Vec::new();
    for found in &found {
        match accept(&found.signature, "publisher", content, &certificates, now) {
            Ok(signed_by) => return Ok(signed_by),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        reasons.push("there is none".into());
    }
    Err(OpenPgpError::Refused(reasons))
}

/// Every certificate in a text of armoured blocks; lines between blocks are comments.
fn read_certificates(keys: &str) -> Result<Vec<SignedPublicKey>, OpenPgpError> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let mut certificates = Vec::new();
    let mut rest = keys;
    while let Some(start) = rest.find(BEGIN) {
        let block = &rest[start..];
        let end = block
            .find(END)
            .ok_or_else(|| OpenPgpError::Keys("a block has no end".into()))?
            + END.len();
        let (parsed, _) = SignedPublicKey::from_armor_many(&block.as_bytes()[..end])
            .map_err(|error| OpenPgpError::Keys(error.to_string()))?;
        for certificate in parsed {
            certificates.push(certificate.map_err(|error| OpenPgpError::Keys(error.to_string()))?);
        }
        rest = &block[end..];
    }
    Ok(certificates)
}

fn pinned(certificates: Vec<SignedPublicKey>, fingerprints: &[String]) -> Vec<SignedPublicKey> {
    certificates
        .into_iter()
        .filter(|certificate| fingerprints.contains(&hex_fingerprint(certificate)))
        .collect()
}

fn hex_fingerprint(key: &impl KeyDetails) -> String {
    hex::encode_upper(key.fingerprint().as_bytes())
}

/// The primary fingerprint behind `signature`, or why it does not count.
fn accept<R: Read>(
    signature: &Signature,
    whose: &str,
    content: &dyn Fn() -> std::io::Result<R>,
    certificates: &[SignedPublicKey],
    now: i64,
) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the text cannot be read: {error}");
    for certificate in certificates {
        let primary = hex_fingerprint(certificate);
        if is_issuer(signature, &certificate.primary_key) {
            check_signature(signature, now)?;
            check_primary(certificate, now, true)?;
            not_older_than_key(signature, &certificate.primary_key)?;
            let content = content().map_err(unreadable)?;
            return signature
                .verify(&certificate.primary_key, content)
                .map(|()| primary.clone())
                .map_err(|_| format!("the text is not what key {primary} signed"));
        }
        for subkey in &certificate.public_subkeys {
            if is_issuer(signature, &subkey.key) {
                check_signature(signature, now)?;
                check_primary(certificate, now, false)?;
                check_subkey(certificate, subkey, now)?;
                not_older_than_key(signature, &subkey.key)?;
                let content = content().map_err(unreadable)?;
                return signature
                    .verify(&subkey.key, content)
                    .map(|()| primary.clone())
                    .map_err(|_| format!("the text is not what key {primary} signed"));
            }
        }
    }
    Err(format!(
        "{} is not one of the {whose}'s keys",
        issuer(signature)
    ))
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        signature.issuer_key_id().contains(&&key.legacy_key_id())
    } else {
        fingerprints.contains(&&key.fingerprint())
    }
}

fn issuer(signature: &Signature) -> String {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return format!("key {}", hex::encode_upper(fingerprint.as_bytes()));
    }
    match signature.issuer_key_id().first() {
        Some(id) => format!("key {}", hex::encode_upper(AsRef::<[u8]>::as_ref(*id))),
        None => "an unnamed key".into(),
    }
}

/// Digests that nobody can collide today.
fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

fn digest_name(signature: &Signature) -> String {
    signature
        .hash_alg()
        .map_or_else(|| "no known digest".into(), |digest| digest.to_string())
}

fn created(signature: &Signature) -> Option<i64> {
    signature.created().map(|time| i64::from(time.as_secs()))
}

/// What must hold for a signature over text, whoever made it.
fn check_signature(signature: &Signature, now: i64) -> Result<(), String> {
    let by = issuer(signature);
    if !matches!(
        signature.typ(),
        Some(SignatureType::Binary | SignatureType::Text)
    ) {
        return Err(format!("the signature of {by} is not one over a text"));
    }
    if !is_strong(signature) {
        return Err(format!(
            "the signature of {by} is made with {}, which is refused",
            digest_name(signature)
        ));
    }
    let Some(made) = created(signature) else {
        return Err(format!("the signature of {by} has no date"));
    };
    if made > now + CLOCK_SKEW {
        return Err(format!("the signature of {by} comes from the future"));
    }
    if let Some(life) = signature.signature_expiration_time()
        && life.as_secs() != 0
        && made + i64::from(life.as_secs()) <= now
    {
        return Err(format!("the signature of {by} has expired"));
    }
    Ok(())
}

fn not_older_than_key(signature: &Signature, key: &impl KeyDetails) -> Result<(), String> {
    match created(signature) {
        Some(made) if made >= i64::from(key.created_at().as_secs()) => Ok(()),
        _ => Err(format!(
            "the signature of {} is older than its key",
            issuer(signature)
        )),
    }
}

/// The newest of the given self-signatures.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| created(signature))
}

/// The moment a key ends, from its creation and the binding signature that says so.
fn end_of(key: &impl KeyDetails, binding: &Signature) -> Option<i64> {
    let life = binding.key_expiration_time()?.as_secs();
    (life != 0).then(|| i64::from(key.created_at().as_secs()) + i64::from(life))
}

/// The primary key is neither revoked nor expired, and may sign if `signs`.
fn check_primary(certificate: &SignedPublicKey, now: i64, signs: bool) -> Result<(), String> {
    let key = &certificate.primary_key;
    let name = hex_fingerprint(key);
    let details = &certificate.details;
    if details
        .revocation_signatures
        .iter()
        .any(|signature| is_issuer(signature, key) && signature.verify_key(key).is_ok())
    {
        return Err(format!("key {name} is revoked"));
    }
    let direct = newest(details.direct_signatures.iter().filter(|signature| {
        is_issuer(signature, key) && is_strong(signature) && signature.verify_key(key).is_ok()
    }));
    let mut users = Vec::new();
    for user in &details.users {
        let own: Vec<&Signature> = user
            .signatures
            .iter()
            .filter(|signature| {
                is_issuer(signature, key)
                    && signature
                        .verify_certification(key, Tag::UserId, &user.id)
                        .is_ok()
            })
            .collect();
        let Some(last) = newest(own.into_iter()) else {
            continue;
        };
        if last.typ() != Some(SignatureType::CertRevocation) && is_strong(last) {
            users.push(last);
        }
    }
    let user = newest(users.into_iter());
    if direct.is_none() && user.is_none() {
        return Err(format!("key {name} has no valid self-signature"));
    }
    let ends = [direct, user]
        .into_iter()
        .flatten()
        .filter_map(|binding| end_of(key, binding))
        .min();
    if ends.is_some_and(|end| end <= now) {
        return Err(format!("key {name} has expired"));
    }
    if signs
        && ![direct, user]
            .into_iter()
            .flatten()
            .any(|binding| binding.key_flags().sign())
    {
        return Err(format!("key {name} may not sign"));
    }
    Ok(())
}

/// The subkey is bound to the primary and the primary to it, is alive and may sign.
fn check_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: i64,
) -> Result<(), String> {
    let primary = &certificate.primary_key;
    let name = hex_fingerprint(&subkey.key);
    let valid = |signature: &&Signature| {
        signature
            .verify_subkey_binding(primary, &subkey.key)
            .is_ok()
    };
    let mut bindings = Vec::new();
    for signature in subkey.signatures.iter().filter(valid) {
        match signature.typ() {
            Some(SignatureType::SubkeyRevocation) => {
                return Err(format!("subkey {name} is revoked"));
            }
            Some(SignatureType::SubkeyBinding) if is_strong(signature) => bindings.push(signature),
            _ => {}
        }
    }
    let Some(binding) = newest(bindings.into_iter()) else {
        return Err(format!("subkey {name} is not bound to its primary key"));
    };
    if end_of(&subkey.key, binding).is_some_and(|end| end <= now) {
        return Err(format!("subkey {name} has expired"));
    }
    if !binding.key_flags().sign() {
        return Err(format!("subkey {name} may not sign"));
    }
    let bound_back = binding.embedded_signature().is_some_and(|back| {
        is_strong(back)
            && back
                .verify_primary_key_binding(&subkey.key, primary)
                .is_ok()
    });
    if !bound_back {
        return Err(format!(
            "subkey {name} does not acknowledge its primary key"
        ));
    }
    Ok(())
}
