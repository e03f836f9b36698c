//! crypt(5) hashes of passwords: SHA-512, which every base's crypt, slapd and Dovecot know.

use sha_crypt::{Algorithm, CustomizedPasswordHasher, Params, ShaCrypt};
use sha2::{Digest, Sha256};

/// Rounds for a person's password.
const ROUNDS: u32 = 20_000;

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The kernel gives no random numbers.
    #[error("the kernel gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The hash function refuses.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// Hashes a person's password with a random salt.
pub fn hash(password: &str) -> Result<String, HashError> {
    let mut salt = [0; 12];
    getrandom::fill(&mut salt).map_err(HashError::Random)?;
    with_salt(password, &salt, ROUNDS)
}

/// Hashes a service's random password with a salt drawn from `seed`: the same both times, so
/// that a step which writes the hash has nothing to do the second time.
pub fn hash_seeded(password: &str, seed: &str) -> Result<String, HashError> {
    let digest = Sha256::digest(seed.as_bytes());
    let mut salt = [0; 12];
    salt.copy_from_slice(&digest[..12]);
    with_salt(password, &salt, Params::RECOMMENDED_ROUNDS)
}

/// Twelve bytes of salt become the sixteen characters crypt takes at most.
fn with_salt(password: &str, salt: &[u8; 12], rounds: u32) -> Result<String, HashError> {
    let refuse = |error: &dyn std::fmt::Display| HashError::Hash(error.to_string());
    let params = Params::new(rounds).map_err(|error| refuse(&error))?;
    ShaCrypt::new(Algorithm::Sha512Crypt, params)
        .hash_password_customized(password.as_bytes(), salt, None, None, params)
        .map(|hash| hash.to_string())
        .map_err(|error| refuse(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::rules::person::password_hash;
    use std::process::{Command, Stdio};

    /// What OpenSSL makes of the same password, salt and rounds.
    fn openssl(password: &str, hash: &str) -> String {
        use std::io::Write;
        let (setting, _) = hash.rsplit_once('$').expect("a hash");
        let salt = setting.strip_prefix("$6$").expect("SHA-512");
        let mut child = Command::new("openssl")
            .args(["passwd", "-6", "-stdin", "-salt", salt])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(password.as_bytes()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("openssl ends");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    #[test]
    fn hashes_are_those_that_openssl_computes() {
        for password in ["correct horse", "schöne Grüße", &"x".repeat(128)] {
            let hash = hash(password).expect("hashed");
            assert_eq!(openssl(password, &hash), hash);
            assert_eq!(password_hash(&hash), Ok(hash));
        }
    }

    #[test]
    fn salts_are_random_for_people_and_steady_for_services() {
        assert_ne!(
            hash("correct horse").expect("hashed"),
            hash("correct horse").expect("hashed")
        );
        let steady = |seed| hash_seeded("correct horse", seed).expect("hashed");
        assert_eq!(steady("office/dovecot"), steady("office/dovecot"));
        assert_ne!(steady("office/dovecot"), steady("office/postfix"));
        assert_eq!(openssl("correct horse", &steady("a")), steady("a"));
    }
}
