//! Throw-away OpenPGP keys, good and bad, and what they sign.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder,
    SignedKeyDetails, SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PublicKey, PublicSubkey, SecretKey, Signature, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, Password, SignedUser, SigningKey, Tag, Timestamp};

/// 2026-01-01T00:00:00Z: when every key is made.
pub const MADE: u32 = 1_767_225_600;
/// One day.
pub const DAY: u32 = 86_400;

/// What is unusual about a key.
#[derive(Clone)]
pub struct Shape {
    pub lives: Option<u32>,
    pub may_sign: bool,
    pub revoked: bool,
    pub self_digest: HashAlgorithm,
    pub rsa: bool,
    pub subkey: Option<SubkeyShape>,
}

/// What is unusual about its signing subkey.
#[derive(Clone)]
pub struct SubkeyShape {
    pub lives: Option<u32>,
    pub may_sign: bool,
    pub revoked: bool,
    pub acknowledges: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            lives: None,
            may_sign: true,
            revoked: false,
            self_digest: HashAlgorithm::Sha256,
            rsa: false,
            subkey: None,
        }
    }
}

impl Default for SubkeyShape {
    fn default() -> Self {
        SubkeyShape {
            lives: None,
            may_sign: true,
            revoked: false,
            acknowledges: true,
        }
    }
}

/// A key of a miniature archive.
pub struct Key {
    primary: SecretKey,
    signer: Signer,
    certificate: SignedPublicKey,
}

enum Signer {
    Primary,
    Subkey(Box<pgp::packet::SecretSubkey>),
}

impl Key {
    pub fn new() -> Key {
        Key::shaped(Shape::default())
    }

    pub fn shaped(shape: Shape) -> Key {
        let (primary, subkey) = raw_key(&shape);
        let public: PublicKey = primary.public_key().clone();
        let user = UserId::from_str(Default::default(), "Miniature <mini@example.org>").unwrap();
        let mut facts = vec![SubpacketData::KeyFlags(flags(shape.may_sign))];
        facts.extend(lifetime(shape.lives));
        let binding = config(
            SignatureType::CertPositive,
            &primary,
            shape.self_digest,
            facts,
        )
        .sign_certification(&primary, &public, &Password::empty(), Tag::UserId, &user)
        .unwrap();
        let mut revocations = Vec::new();
        if shape.revoked {
            let config = config(
                SignatureType::KeyRevocation,
                &primary,
                HashAlgorithm::Sha256,
                vec![],
            );
            let revocation = config.sign_key(&primary, &Password::empty(), &public);
            revocations.push(revocation.unwrap());
        }
        let mut subkeys = Vec::new();
        let mut signer = Signer::Primary;
        if let (Some(wanted), Some(subkey)) = (&shape.subkey, subkey) {
            let signatures = bind(&primary, &public, &subkey, wanted);
            subkeys.push(SignedPublicSubKey::new(
                subkey.public_key().clone(),
                signatures,
            ));
            signer = Signer::Subkey(Box::new(subkey));
        }
        let details = SignedKeyDetails::new(
            revocations,
            vec![],
            vec![SignedUser::new(user, vec![binding])],
            vec![],
        );
        Key {
            certificate: SignedPublicKey::new(public, details, subkeys),
            primary,
            signer,
        }
    }

    /// As a base carries it.
    pub fn armoured(&self) -> String {
        let options = ArmorOptions::default();
        self.certificate.to_armored_string(options).unwrap()
    }

    /// Upper-case hex of the primary key.
    pub fn fingerprint(&self) -> String {
        hex::encode_upper(self.certificate.fingerprint().as_bytes())
    }

    /// Upper-case hex of the key that signs.
    pub fn signer_fingerprint(&self) -> String {
        match &self.signer {
            Signer::Primary => self.fingerprint(),
            Signer::Subkey(key) => hex::encode_upper(key.fingerprint().as_bytes()),
        }
    }

    /// A signature of a file, to lie beside it: binary and armoured, a day after [`MADE`].
    pub fn sign_beside(&self, content: &[u8], digest: HashAlgorithm) -> (Vec<u8>, String) {
        let signature = match &self.signer {
            Signer::Primary => beside(&self.primary, content, digest),
            Signer::Subkey(key) => beside(key.as_ref(), content, digest),
        };
        let armoured = signature.to_armored_string(ArmorOptions::default());
        (signature.to_bytes().unwrap(), armoured.unwrap())
    }

    /// Signs a text as `InRelease`, at `MADE` and `after` seconds.
    pub fn sign(
        &self,
        text: &str,
        after: u32,
        digest: HashAlgorithm,
        lives: Option<u32>,
    ) -> String {
        match &self.signer {
            Signer::Primary => clearsign(&self.primary, text, after, digest, lives),
            Signer::Subkey(key) => clearsign(key.as_ref(), text, after, digest, lives),
        }
    }
}

/// An unbound key pair, made at [`MADE`].
fn raw_key(shape: &Shape) -> (SecretKey, Option<pgp::packet::SecretSubkey>) {
    let key_type = if shape.rsa {
        KeyType::Rsa(2048)
    } else {
        KeyType::Ed25519Legacy
    };
    let mut builder = SecretKeyParamsBuilder::default();
    builder
        .key_type(key_type.clone())
        .can_certify(true)
        .can_sign(true)
        .created_at(Timestamp::from_secs(MADE))
        .primary_user_id("Miniature <mini@example.org>".into());
    if shape.subkey.is_some() {
        let mut subkey = pgp::composed::SubkeyParamsBuilder::default();
        subkey
            .key_type(key_type)
            .can_sign(true)
            .created_at(Timestamp::from_secs(MADE));
        builder.subkey(subkey.build().unwrap());
    }
    let key = builder
        .build()
        .unwrap()
        .generate(rand::thread_rng())
        .unwrap();
    let subkey = key.secret_subkeys.first().map(|subkey| subkey.key.clone());
    (key.primary_key, subkey)
}

fn bind(
    primary: &SecretKey,
    public: &PublicKey,
    subkey: &pgp::packet::SecretSubkey,
    shape: &SubkeyShape,
) -> Vec<Signature> {
    let none = Password::empty();
    let subkey_public: PublicSubkey = subkey.public_key().clone();
    let mut facts = vec![SubpacketData::KeyFlags(flags(shape.may_sign))];
    facts.extend(lifetime(shape.lives));
    if shape.acknowledges {
        let back = config(
            SignatureType::KeyBinding,
            subkey,
            HashAlgorithm::Sha256,
            vec![],
        );
        let back = back
            .sign_primary_key_binding(subkey, &subkey_public, &none, public)
            .unwrap();
        facts.push(SubpacketData::EmbeddedSignature(Box::new(back)));
    }
    let mut all = Vec::new();
    let binding = config(
        SignatureType::SubkeyBinding,
        primary,
        HashAlgorithm::Sha256,
        facts,
    );
    all.push(
        binding
            .sign_subkey_binding(primary, public, &none, &subkey_public)
            .unwrap(),
    );
    if shape.revoked {
        let typ = SignatureType::SubkeyRevocation;
        let revocation = config(typ, primary, HashAlgorithm::Sha256, vec![]);
        all.push(
            revocation
                .sign_subkey_binding(primary, public, &none, &subkey_public)
                .unwrap(),
        );
    }
    all
}

fn flags(may_sign: bool) -> KeyFlags {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(may_sign);
    flags
}

fn lifetime(lives: Option<u32>) -> Option<SubpacketData> {
    lives.map(|seconds| SubpacketData::KeyExpirationTime(Duration::from_secs(seconds)))
}

fn config(
    typ: SignatureType,
    key: &impl SigningKey,
    digest: HashAlgorithm,
    facts: Vec<SubpacketData>,
) -> SignatureConfig {
    config_at(typ, key, digest, facts, 0)
}

fn config_at(
    typ: SignatureType,
    key: &impl SigningKey,
    digest: HashAlgorithm,
    facts: Vec<SubpacketData>,
    after: u32,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), digest);
    let when = SubpacketData::SignatureCreationTime(Timestamp::from_secs(MADE.wrapping_add(after)));
    let issuer = SubpacketData::IssuerFingerprint(key.fingerprint());
    config.hashed_subpackets = [when, issuer]
        .into_iter()
        .chain(facts)
        .map(|fact| Subpacket::regular(fact).unwrap())
        .collect();
    // gpgv, which apt asks, looks for no other name of the key.
    let issuer = SubpacketData::IssuerKeyId(key.legacy_key_id());
    config.unhashed_subpackets = vec![Subpacket::regular(issuer).unwrap()];
    config
}

fn beside(key: &impl SigningKey, content: &[u8], digest: HashAlgorithm) -> DetachedSignature {
    let config = config_at(SignatureType::Binary, key, digest, vec![], DAY);
    DetachedSignature::new(config.sign(key, &Password::empty(), content).unwrap())
}

fn clearsign(
    key: &impl SigningKey,
    text: &str,
    after: u32,
    digest: HashAlgorithm,
    lives: Option<u32>,
) -> String {
    let facts = lives
        .map(|seconds| SubpacketData::SignatureExpirationTime(Duration::from_secs(seconds)))
        .into_iter()
        .collect();
    let config = config_at(SignatureType::Text, key, digest, facts, after);
    CleartextSignedMessage::new(text, config, key, &Password::empty())
        .unwrap()
        .to_armored_string(ArmorOptions::default())
        .unwrap()
}
