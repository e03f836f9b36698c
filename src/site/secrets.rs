//! Secrets made on the host: drawn once, kept 0600, never drawn again.

use super::durable;
use crate::profile::Secret;
use base64::Engine as _;
use nix::fcntl::{Flock, FlockArg};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::OsRng;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The folder of secrets, `/var/lib/muster/secrets` on a host.
#[derive(Debug, Clone)]
pub struct Secrets {
    root: PathBuf,
    /// Whether what is missing is drawn here; else it is somebody else's to give.
    draws: bool,
}

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The name would leave the folder.
    #[error("`{0}` does not name a secret: names are like `office/postgresql/admin`")]
    Name(String),
    /// Reading or writing failed.
    #[error("secret {path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel gives no random numbers.
    #[error("the kernel gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// Nobody has given it to this host.
    #[error("the lead has not given this host the secret {0}, which none of its tasks should read")]
    NotGiven(String),
    /// A private key that is none.
    #[error("secret {0} is no RSA key ({1}); restore it, or remove it to have a new one drawn")]
    Key(String, String),
    /// A secret file without content.
    #[error("secret {0} is empty; restore it, or remove it to have a new one drawn")]
    Empty(PathBuf),
}

impl Secrets {
    /// Opens the folder, making it (0700) where it is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, SecretError> {
        let root = root.into();
        durable::make_directory(&root, 0o700).map_err(|error| SecretError::Io {
            path: root.clone(),
            error,
        })?;
        Ok(Secrets { root, draws: true })
    }

    /// The same, with nothing in it but what this host was given.
    pub fn given(self) -> Secrets {
        Secrets {
            draws: false,
            ..self
        }
    }

    /// Where the secret of this name stands, for example `office/postgresql/admin`.
    pub fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        let fine = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !name.split('/').all(fine) {
            return Err(SecretError::Name(name.into()));
        }
        Ok(self.root.join(name))
    }

    /// The secret of this name; drawn and stored first if there is none.
    pub fn get_or_create(&self, name: &str, spec: &Secret) -> Result<String, SecretError> {
        if let Some(secret) = self.get(name)? {
            return Ok(secret);
        }
        if !self.draws {
            return Err(SecretError::NotGiven(name.into()));
        }
        // Whoever else wants it now, here or in another process, gets this one.
        let _alone = self.alone()?;
        if let Some(secret) = self.get(name)? {
            return Ok(secret);
        }
        let secret = match spec {
            Secret::Password { length } => draw(*length as usize)?,
            Secret::Rsa => draw_key()?,
        };
        self.store(name, &secret)?;
        Ok(secret)
    }

    /// The public half of the key pair of this name, as [`Secret::Rsa`] says; the pair is drawn
    /// first if there is none.
    pub fn public(&self, name: &str) -> Result<String, SecretError> {
        let beside = format!("{name}{}", Secret::PUBLIC);
        if let Some(public) = self.get(&beside)? {
            return Ok(public);
        }
        if !self.draws {
            return Err(SecretError::NotGiven(beside));
        }
        let public = public_half(&self.get_or_create(name, &Secret::Rsa)?)
            .map_err(|reason| SecretError::Key(name.into(), reason))?;
        let _alone = self.alone()?;
        if self.get(&beside)?.is_none() {
            self.store(&beside, &public)?;
        }
        Ok(public)
    }

    /// Held while one draws.
    fn alone(&self) -> Result<Flock<File>, SecretError> {
        let failed = |error| SecretError::Io {
            path: self.root.clone(),
            error,
        };
        let folder = File::open(&self.root).map_err(failed)?;
        Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }

    /// Keeps a secret that was drawn elsewhere.
    pub fn keep(&self, name: &str, secret: &str) -> Result<(), SecretError> {
        match self.get(name)? {
            Some(known) if known == secret => Ok(()),
            _ => self.store(name, secret),
        }
    }

    /// The secret of this name, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<String>, SecretError> {
        let path = self.path(name)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim_end_matches('\n') {
                "" => Err(SecretError::Empty(path)),
                secret => Ok(Some(secret.into())),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SecretError::Io { path, error }),
        }
    }

    fn store(&self, name: &str, secret: &str) -> Result<(), SecretError> {
        let path = self.path(name)?;
        durable::make_directory(path.parent().unwrap_or(Path::new("/")), 0o700)
            .and_then(|()| durable::write(&path, secret.as_bytes(), 0o600, None))
            .map_err(|error| SecretError::Io { path, error })
    }
}

/// Draws characters from `[A-Za-z0-9]`, each equally likely.
pub fn draw(length: usize) -> Result<String, SecretError> {
    let mut secret = String::with_capacity(length);
    while secret.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
        // 248 is the largest multiple of 62 in a byte: beyond it some would come more often.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let wanted = length - secret.len();
        secret.extend(
            fair.take(wanted)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
    Ok(secret)
}

/// Size of a key's modulus, bits: what receivers of signed mail must verify (RFC 8301, section
/// 3.2), and what fits into one DNS answer over UDP.
const BITS: usize = 2048;

fn draw_key() -> Result<String, SecretError> {
    let failed = |reason: String| SecretError::Key("to be drawn".into(), reason);
    let key = RsaPrivateKey::new(&mut OsRng, BITS).map_err(|error| failed(error.to_string()))?;
    let text = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| failed(error.to_string()))?;
    Ok(text.trim_end().to_owned())
}

fn public_half(private: &str) -> Result<String, String> {
    let key = RsaPrivateKey::from_pkcs8_pem(private).map_err(|error| error.to_string())?;
    let der = key.to_public_key().to_public_key_der();
    let der = der.map_err(|error| error.to_string())?;
    Ok(base64::engine::general_purpose::STANDARD.encode(der.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_drawn_once_and_only_root_can_read_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::open(directory.path().join("secrets")).expect("opened");
        let spec = Secret::Password { length: 40 };
        let name = "office/postgresql/database/roundcube.database/password";
        let first = secrets.get_or_create(name, &spec).expect("drawn");
        assert_eq!(first.len(), 40);
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(secrets.get_or_create(name, &spec).expect("kept"), first);
        assert_ne!(
            secrets.get_or_create("site/probe", &spec).expect("drawn"),
            first
        );
        let mode = |path: &Path| {
            std::fs::metadata(path)
                .expect("metadata")
                .permissions()
                .mode()
                & 0o7777
        };
        let path = secrets.path(name).expect("a path");
        assert_eq!(mode(&path), 0o600);
        for above in path.ancestors().skip(1).take(6) {
            if above == directory.path() {
                break;
            }
            assert_eq!(mode(above), 0o700, "{}", above.display());
        }
    }

    #[test]
    fn whoever_asks_at_the_same_moment_gets_the_same_key() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let all: Vec<(String, String)> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        // Each as if it were alone.
                        let secrets = Secrets::open(directory.path()).expect("opened");
                        let public = secrets.public("edge/signer/key").expect("drawn");
                        let key = secrets.get("edge/signer/key").expect("read");
                        (key.expect("kept"), public)
                    })
                })
                .collect();
            let each = asking.into_iter();
            each.map(|one| one.join().expect("answered")).collect()
        });
        let (key, public) = &all[0];
        assert!(all.iter().all(|one| one == &all[0]), "{all:?}");
        assert_eq!(public_half(key).as_ref(), Ok(public));
        assert!(
            public.starts_with("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"),
            "{public}"
        );
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::open(directory.path()).expect("opened");
        for name in ["../x", "/etc/shadow", "a//b", "", "a/./b", "a/.b.new"] {
            assert!(
                matches!(secrets.path(name), Err(SecretError::Name(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn an_emptied_secret_is_an_error_and_not_a_new_secret() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::open(directory.path()).expect("opened");
        std::fs::write(directory.path().join("x"), "\n").expect("written");
        let error = secrets
            .get_or_create("x", &Secret::Password { length: 8 })
            .expect_err("refused");
        assert!(
            error
                .to_string()
                .ends_with("remove it to have a new one drawn"),
            "{error}"
        );
    }

    #[test]
    fn drawn_characters_are_spread_over_the_whole_alphabet() {
        let text = draw(62 * 200).expect("drawn");
        for letter in ALPHABET {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!(
                (100..300).contains(&count),
                "{}: {count}",
                char::from(*letter)
            );
        }
    }
}
