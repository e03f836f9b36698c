//! SSH public keys (authorized_keys(5), RFC 4253 §6.6, RFC 5656, RFC 8709).

use crate::site::refusal::Refusal;
use base64::Engine;

/// Key types that are taken, for people.
pub const TAKEN: &str = "ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa, and sk- keys";

const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Public keys, one per line; empty when there are none.
pub fn ssh_keys(text: &str) -> Result<Vec<String>, Refusal> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(ssh_key)
        .collect()
}

/// One public key, without options before it.
pub fn ssh_key(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Err(Refusal::PrivateKey);
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::Control);
    }
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return Err(Refusal::NotAKey);
    };
    if !TYPES.contains(&kind) {
        let like_a_type = kind.starts_with("ssh-") || kind.starts_with("ecdsa-");
        return Err(match like_a_type || blob.starts_with("AAAA") {
            true => Refusal::KeyType(kind.into()),
            false => Refusal::NotAKey,
        });
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(blob)
        .map_err(|_| Refusal::DamagedKey)?;
    let fields = fields(&bytes).ok_or(Refusal::DamagedKey)?;
    if fields.first().copied() != Some(kind.as_bytes()) {
        return Err(Refusal::DamagedKey);
    }
    match (kind, &fields[1..]) {
        ("ssh-ed25519", [point]) if point.len() == 32 => {}
        ("sk-ssh-ed25519@openssh.com", [point, _application]) if point.len() == 32 => {}
        ("sk-ecdsa-sha2-nistp256@openssh.com", [b"nistp256", point, _application])
            if point.len() == 65 => {}
        ("ssh-rsa", [_exponent, modulus]) => {
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            if significant * 8 < 2048 {
                return Err(Refusal::ShortRsaKey(significant * 8));
            }
        }
        (_, [curve, point]) if kind.starts_with("ecdsa-") => {
            let length = match *curve {
                b"nistp256" => 65,
                b"nistp384" => 97,
                b"nistp521" => 133,
                _ => return Err(Refusal::DamagedKey),
            };
            if !kind.as_bytes().ends_with(curve) || point.len() != length {
                return Err(Refusal::DamagedKey);
            }
        }
        _ => return Err(Refusal::DamagedKey),
    }
    Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// The strings of a key blob, each with its length in four bytes before it.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A new key made by OpenSSH itself.
    fn generate(arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("key");
        let status = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "anna@example.org", "-f"])
            .arg(&path)
            .args(arguments)
            .status()
            .expect("ssh-keygen runs");
        assert!(status.success());
        std::fs::read_to_string(path.with_extension("pub")).expect("a public key")
    }

    #[test]
    fn keys_made_by_openssh_are_taken() {
        for arguments in [
            &["-t", "ed25519"][..],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "384"],
            &["-t", "ecdsa", "-b", "521"],
            &["-t", "rsa", "-b", "2048"],
        ] {
            let key = generate(arguments);
            assert_eq!(ssh_key(&key), Ok(key.trim().to_string()), "{arguments:?}");
        }
    }

    #[test]
    fn a_key_cut_at_any_place_is_refused() {
        let key = generate(&["-t", "ed25519"]);
        let end = key.find(" anna").expect("a comment");
        for cut in 12..end {
            assert!(ssh_key(&key[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_the_reason() {
        assert_eq!(
            ssh_key("-----BEGIN OPENSSH PRIVATE KEY-----"),
            Err(Refusal::PrivateKey)
        );
        assert_eq!(ssh_key("hello"), Err(Refusal::NotAKey));
        assert_eq!(ssh_key("hello world"), Err(Refusal::NotAKey));
        assert_eq!(
            ssh_key("ssh-dss AAAAB3Nz"),
            Err(Refusal::KeyType("ssh-dss".into()))
        );
        assert_eq!(
            ssh_key("command=\"x\" ssh-ed25519 AAAA"),
            Err(Refusal::NotAKey)
        );
        let short = generate(&["-t", "rsa", "-b", "1024"]);
        assert_eq!(ssh_key(&short), Err(Refusal::ShortRsaKey(1024)));
        assert_eq!(ssh_keys("\n\n"), Ok(vec![]));
    }
}
