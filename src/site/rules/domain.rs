//! Domain names of a site (RFC 1035 §2.3, RFC 1123 §2.1, RFC 6761, RFC 6762).

use crate::site::refusal::Refusal;

/// A site's own domain.
///
/// At most 190 characters: names and LDAP entries are put before it.
pub fn domain(text: &str) -> Result<String, Refusal> {
    const MOST: usize = 190;
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if let Some(bad) = text
        .chars()
        .find(|letter| !letter.is_ascii_alphanumeric() && !"-.".contains(*letter))
    {
        return Err(match bad.is_control() {
            true => Refusal::Control,
            false => Refusal::DomainCharacter(bad),
        });
    }
    let lower = text.to_ascii_lowercase();
    if lower != text {
        return Err(Refusal::UpperCase(lower));
    }
    let labels = labels(text, MOST)?;
    let [.., top] = labels[..] else {
        return Err(Refusal::Empty);
    };
    match top {
        "local" => return Err(Refusal::DotLocal),
        "localhost" => return Err(Refusal::DotLocalhost),
        _ => {}
    }
    if labels.len() < 2 {
        return Err(Refusal::SingleLabel);
    }
    if top.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::NumericTop(top.into()));
    }
    Ok(text.into())
}

/// Any name a host answers to, `webmail.localhost` included.
pub fn host(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    labels(text, 253)?;
    Ok(text.into())
}

fn labels(text: &str, most: usize) -> Result<Vec<&str>, Refusal> {
    if let Some(bad) = text
        .chars()
        .find(|letter| !letter.is_ascii_alphanumeric() && !"-.".contains(*letter))
    {
        return Err(match bad.is_control() {
            true => Refusal::Control,
            false => Refusal::DomainCharacter(bad),
        });
    }
    let lower = text.to_ascii_lowercase();
    if lower != text {
        return Err(Refusal::UpperCase(lower));
    }
    if text.len() > most {
        return Err(Refusal::TooLong(most));
    }
    let labels: Vec<&str> = text.split('.').collect();
    for label in &labels {
        if label.is_empty() {
            return Err(Refusal::EmptyLabel);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(Refusal::HyphenAtEnd((*label).into()));
        }
        if label.len() > 63 {
            return Err(Refusal::LongLabel((*label).into()));
        }
    }
    Ok(labels)
}

/// The LDAP base of a domain: `dc=example,dc=org`.
pub fn base_dn(domain: &str) -> String {
    let parts: Vec<String> = domain
        .split('.')
        .map(|label| format!("dc={label}"))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_that_work_are_taken_as_they_are() {
        for text in [
            "example.org",
            "a.b-c.home.arpa",
            "xn--mnchen-3ya.de",
            "3com.com",
            "x.test",
        ] {
            assert_eq!(domain(text), Ok(text.to_string()));
        }
        assert_eq!(domain(" example.org "), Ok("example.org".into()));
        assert_eq!(base_dn("a.example.org"), "dc=a,dc=example,dc=org");
    }

    #[test]
    fn domains_that_cannot_work_are_refused_with_the_reason() {
        let long = "x".repeat(64);
        for (text, refusal) in [
            ("", Refusal::Empty),
            ("firma.local", Refusal::DotLocal),
            ("local", Refusal::DotLocal),
            ("firma.localhost", Refusal::DotLocalhost),
            ("firma", Refusal::SingleLabel),
            ("Example.ORG", Refusal::UpperCase("example.org".into())),
            ("münchen.de", Refusal::DomainCharacter('ü')),
            ("a_b.org", Refusal::DomainCharacter('_')),
            ("a b.org", Refusal::DomainCharacter(' ')),
            ("a\u{1b}.org", Refusal::Control),
            ("example..org", Refusal::EmptyLabel),
            ("example.org.", Refusal::EmptyLabel),
            ("-a.org", Refusal::HyphenAtEnd("-a".into())),
            ("10.0.0.1", Refusal::NumericTop("1".into())),
            (&format!("{long}.org"), Refusal::LongLabel(long.clone())),
            (
                &format!("{}org", "abcdefghi.".repeat(20)),
                Refusal::TooLong(190),
            ),
        ] {
            assert_eq!(domain(text), Err(refusal), "{text}");
        }
    }
}
