//! The order of Debian versions (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions as `dpkg --compare-versions` does.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left) = split_epoch(left);
    let (right_epoch, right) = split_epoch(right);
    let (left_upstream, left_revision) = split_revision(left);
    let (right_upstream, right_revision) = split_revision(right);
    left_epoch
        .cmp(&right_epoch)
        .then_with(|| compare_part(left_upstream.as_bytes(), right_upstream.as_bytes()))
        .then_with(|| compare_part(left_revision.as_bytes(), right_revision.as_bytes()))
}

fn split_epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

fn split_revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// `~` before the end, the end before letters, letters before everything else.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

/// Runs of non-digits by [`weight`], runs of digits by value, in turn.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        while left.first().is_some_and(|byte| !byte.is_ascii_digit())
            || right.first().is_some_and(|byte| !byte.is_ascii_digit())
        {
            let order = weight(left.first().copied()).cmp(&weight(right.first().copied()));
            if order != Ordering::Equal {
                return order;
            }
            left = left.get(1..).unwrap_or_default();
            right = right.get(1..).unwrap_or_default();
        }
        let (left_number, left_rest) = take_number(left);
        let (right_number, right_rest) = take_number(right);
        let order = left_number
            .len()
            .cmp(&right_number.len())
            .then_with(|| left_number.cmp(right_number));
        if order != Ordering::Equal {
            return order;
        }
        left = left_rest;
        right = right_rest;
    }
    Ordering::Equal
}

/// The digits at the start without leading zeros, and what follows them.
fn take_number(part: &[u8]) -> (&[u8], &[u8]) {
    let zeros = part.iter().take_while(|byte| **byte == b'0').count();
    let part = &part[zeros..];
    let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
    part.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_versions_as_policy_says() {
        let table = [
            ("1.0", "1.0", Ordering::Equal),
            ("1.0", "1.00", Ordering::Equal),
            ("1.0-0", "1.0", Ordering::Equal),
            ("0:1.0", "1.0", Ordering::Equal),
            ("1.0~rc1", "1.0", Ordering::Less),
            ("1.0~~", "1.0~", Ordering::Less),
            ("1.0-1", "1.0-1+b1", Ordering::Less),
            ("1.0-1+deb12u2", "1.0-1+deb12u10", Ordering::Less),
            ("1.0+dfsg-1", "1.0-1", Ordering::Greater),
            ("1.0a", "1.0+", Ordering::Less),
            ("1.2", "1.10", Ordering::Less),
            ("2.0", "1:0.1", Ordering::Less),
            ("1.0-1-1", "1.0-1-2", Ordering::Less),
            ("1:1.2.13.dfsg-1", "1:1.2.13.dfsg-1", Ordering::Equal),
            ("12-3~deb12u1", "12-3", Ordering::Less),
            (
                "99999999999999999999",
                "100000000000000000000",
                Ordering::Less,
            ),
            ("1.0.", "1.0", Ordering::Greater),
            ("a", "1", Ordering::Greater),
        ];
        for (left, right, expected) in table {
            assert_eq!(compare(left, right), expected, "{left} against {right}");
            assert_eq!(
                compare(right, left),
                expected.reverse(),
                "{right} against {left}"
            );
        }
    }
}
