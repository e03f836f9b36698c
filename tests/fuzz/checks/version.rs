//! The order of versions: three of them, one a line.

use muster::packages::apt::version::compare;
use std::cmp::Ordering;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let all: Vec<&str> = text.splitn(3, '\n').collect();
    for one in &all {
        assert_eq!(compare(one, one), Ordering::Equal);
        assert_eq!(compare(&format!("{one}~"), one), Ordering::Less, "{one}");
        for other in &all {
            let order = compare(one, other);
            assert_eq!(order, compare(other, one).reverse());
            assert_eq!(order, slowly(one, other), "{one} against {other}");
            for third in &all {
                if order != Ordering::Greater && compare(other, third) != Ordering::Greater {
                    assert_ne!(
                        compare(one, third),
                        Ordering::Greater,
                        "{one} {other} {third}"
                    );
                }
            }
        }
    }
}

/// The words of deb-version(7), followed to the letter.
fn slowly(left: &str, right: &str) -> Ordering {
    let ((left_epoch, left), (right_epoch, right)) = (key(left), key(right));
    left_epoch.cmp(&right_epoch).then_with(|| {
        let parts = left.iter().zip(&right);
        parts.fold(Ordering::Equal, |order, (left, right)| {
            order.then_with(|| compare_parts(left, right))
        })
    })
}

/// The shorter one goes on with nothing and zero.
fn compare_parts(left: &Part, right: &Part) -> Ordering {
    let nothing = (vec![0], (0, String::new()));
    let at = |part: &Part, place| part.get(place).unwrap_or(&nothing).clone();
    let places = 0..left.len().max(right.len());
    places.fold(Ordering::Equal, |order, place| {
        order.then_with(|| at(left, place).cmp(&at(right, place)))
    })
}

/// A part of a version: letters to be compared by weight, then a number without zeros before.
type Part = Vec<(Vec<i32>, (usize, String))>;

fn key(version: &str) -> (u64, [Part; 2]) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let parts = [part(upstream), part(revision)];
    (epoch.parse().unwrap_or(0), parts)
}

fn part(text: &str) -> Part {
    let mut bytes = text.bytes().peekable();
    let mut all = Vec::new();
    while bytes.peek().is_some() {
        let mut letters = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| !byte.is_ascii_digit()) {
            letters.push(match byte {
                b'~' => -1,
                byte if byte.is_ascii_alphabetic() => i32::from(byte),
                byte => i32::from(byte) + 256,
            });
        }
        // The end stands between `~` and everything else.
        letters.push(0);
        let mut digits = String::new();
        while let Some(byte) = bytes.next_if(u8::is_ascii_digit) {
            digits.push(char::from(byte));
        }
        let digits = digits.trim_start_matches('0').to_owned();
        all.push((letters, (digits.len(), digits)));
    }
    all
}
