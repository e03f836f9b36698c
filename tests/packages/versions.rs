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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_that_of_dpkg(
        left in "([0-2]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a-b.+~]{1,4})?",
        right in "([0-2]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a-b.+~]{1,4})?",
    ) {
        let order = compare(&left, &right);
        let operator = match order {
            std::cmp::Ordering::Less => "lt",
            std::cmp::Ordering::Equal => "eq",
            std::cmp::Ordering::Greater => "gt",
        };
        prop_assert!(dpkg(&left, operator, &right), "{left} is not {operator} {right}");
    }
}
