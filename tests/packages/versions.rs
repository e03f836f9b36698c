//! Versions compare as dpkg compares them.

use muster::packages::apt::version::compare;
use proptest::prelude::*;
use std::process::Command;

fn dpkg(left: &str, operator: &str, right: &str) -> bool {
    Command::new("dpkg")
        .args(["--compare-versions", left, operator, right])
        .status()
        .unwrap()
        .success()
}

/// Of few letters, so that two of them are often nearly the same.
const NEAR: &str = "([0-2]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a-b.+~]{1,4})?";
/// Everything that deb-version(7) allows, hyphens and zeros in the upstream part included.
const ANY: &str = "([0-9]{1,4}:)?[0-9]([0-9a-zA-Z.+~-]{0,12}[0-9a-zA-Z.+~])?";

fn agrees(left: &str, right: &str) -> Result<(), TestCaseError> {
    let operator = match compare(left, right) {
        std::cmp::Ordering::Less => "lt",
        std::cmp::Ordering::Equal => "eq",
        std::cmp::Ordering::Greater => "gt",
    };
    prop_assert!(
        dpkg(left, operator, right),
        "{left} is not {operator} {right}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_that_of_dpkg(left in NEAR, right in NEAR) {
        agrees(&left, &right)?;
    }

    #[test]
    fn the_order_of_all_that_is_allowed_is_that_of_dpkg(
        left in ANY,
        right in ANY,
        end in "[0-9a-zA-Z.+~-]{0,3}[0-9a-zA-Z.+~]",
    ) {
        agrees(&left, &right)?;
        agrees(&format!("{left}{end}"), &left)?;
    }
}
