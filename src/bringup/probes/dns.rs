//! `dns`: a name server has a record of this name and type with this answer.

use super::{Arguments, Kind};
use crate::bringup::wire::{Network, Refusal, dns};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Dns;

impl Kind for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let (server, name) = (with.get("server")?, with.get("name")?);
        let (kind, wanted) = (with.get("type")?, with.get("answer")?);
        let found = dns::lookup(network.resolve(server)?, name, kind, network.knock())?;
        judge(server, name, kind, wanted, &found)
    }
}

fn judge(
    server: &str,
    name: &str,
    kind: &str,
    wanted: &str,
    found: &[String],
) -> Result<String, Refusal> {
    // Names are the same in capitals and small letters, with a final dot and without.
    let bare = match kind {
        "TXT" => wanted,
        _ => wanted.trim_end_matches('.'),
    };
    let same = |one: &String| match kind {
        "TXT" => one == bare,
        _ => one.eq_ignore_ascii_case(bare),
    };
    if found.iter().any(same) {
        return Ok(format!("{server}: {kind} of {name} is {bare}"));
    }
    Err(Refusal::Other(match found {
        [] => format!("{server} knows no {kind} of {name}"),
        _ => format!(
            "{server}: {kind} of {name} is {} instead of {bare}",
            found.join(", ")
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn what_is_found_is_compared_as_names_are() {
        let told = |found: &[&str]| {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let judged = judge(
                "127.0.0.1",
                "example.org",
                "MX",
                "10 edge.example.org.",
                &found,
            );
            judged.unwrap_or_else(|refusal| format!("red: {refusal}"))
        };
        assert_eq!(
            told(&["20 b.example.org", "10 Edge.example.org"]),
            "127.0.0.1: MX of example.org is 10 edge.example.org"
        );
        assert_eq!(told(&[]), "red: 127.0.0.1 knows no MX of example.org");
        assert_eq!(
            told(&["10 other.example.org"]),
            "red: 127.0.0.1: MX of example.org is 10 other.example.org instead of 10 edge.example.org"
        );
    }
}
