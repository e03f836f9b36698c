//! Closures: what apt would pick, and words when there is none.

use muster::packages::apt::index::{Universe, parse};
use muster::packages::apt::order::order;
use muster::packages::apt::resolver::resolve;
use std::collections::BTreeMap;

/// Stanzas in short: `name version; Field: value; …`, one package a line.
fn index(short: &str) -> String {
    let mut text = String::new();
    for line in short.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text += &format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
        for field in parts {
            text += &format!("{field}\n");
        }
        text += &format!(
            "Filename: pool/{name}\nSize: 1\nSHA256: {}\n\n",
            "0".repeat(64)
        );
    }
    text
}

fn closure(short: &str, names: &[&str], recommends: bool) -> Result<String, String> {
    let text = index(short);
    let universe = Universe::new(parse(&text, 0, "amd64").unwrap(), &BTreeMap::new()).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let ids = resolve(&universe, &names, recommends).map_err(|error| error.to_string())?;
    let found: Vec<&str> = ids.iter().map(|id| universe.candidates[*id].name).collect();
    Ok(found.join(" "))
}

#[test]
fn alternatives_provides_and_versions_are_chosen_as_apt_does() {
    let table: &[(&str, &str, &[&str], &str)] = &[
        (
            "the first alternative wins",
            "a 1; Depends: b | c\nb 1\nc 1",
            &["a"],
            "a b",
        ),
        (
            "one asked for by name wins",
            "a 1; Depends: b | c\nb 1\nc 1",
            &["a", "c"],
            "a c",
        ),
        (
            "one chosen before wins",
            "a 1; Depends: c, b | c\nb 1\nc 1",
            &["a"],
            "a c",
        ),
        (
            "the second when the first cannot be installed",
            "a 1; Depends: b | c\nb 1; Depends: gone\nc 1",
            &["a"],
            "a c",
        ),
        (
            "a real package before one that provides it",
            "a 1; Depends: mta\nexim 1; Provides: mta; Priority: required\nmta 1",
            &["a"],
            "a mta",
        ),
        (
            "a provider by priority",
            "a 1; Depends: mta\nexim 1; Provides: mta; Priority: optional\npostfix 1; Provides: mta; Priority: standard",
            &["a"],
            "a postfix",
        ),
        (
            "of equal providers the last one",
            "a 1; Depends: term\nkitty 1; Provides: term\nzutty 1; Provides: term",
            &["a"],
            "a zutty",
        ),
        (
            "not the one that another package has named before",
            "0 1; Breaks: zutty (<< 1)\na 1; Depends: term\nkitty 1; Provides: term\nzutty 1; Provides: term",
            &["a"],
            "a kitty",
        ),
        (
            "the last one in the order of the index, whatever its name",
            "a 1; Depends: term\nzutty 1; Provides: term\nkitty 1; Provides: term",
            &["a"],
            "a kitty",
        ),
        (
            "a conflict with a package of another architecture is none",
            "a 1; Depends: b, c\nb 1; Conflicts: c:i386\nc 1; Breaks: b:x32",
            &["a"],
            "a b c",
        ),
        (
            "a protected provider before one of a higher priority",
            "a 1; Depends: init\nb 1; Provides: init; Protected: yes\nc 1; Provides: init; Priority: required",
            &["a"],
            "a b",
        ),
        (
            "a versioned relation needs a versioned provides",
            "a 1; Depends: api (>= 2)\nb 9; Provides: api\nc 1; Provides: api (= 2.1)",
            &["a"],
            "a c",
        ),
        (
            "essential packages come by themselves",
            "a 1\nbase 1; Essential: yes; Pre-Depends: lib\nlib 1",
            &["a"],
            "a base lib",
        ),
        (
            "a conflict turns to the next alternative",
            "a 1; Depends: keep, b | c\nkeep 1; Conflicts: b\nb 1\nc 1",
            &["a"],
            "a c keep",
        ),
        (
            "a break counts only for the versions it names",
            "a 1; Depends: keep, b | c\nkeep 1; Breaks: b (<< 1)\nb 1\nc 1",
            &["a"],
            "a b keep",
        ),
        (
            "a package does not conflict with itself through what it provides",
            "a 1; Depends: mta\nexim 1; Provides: mta; Conflicts: mta",
            &["a"],
            "a exim",
        ),
        (
            "an earlier choice is taken back when it stands in the way",
            "a 1; Depends: b | c, d\nb 1\nc 1\nd 1; Conflicts: b",
            &["a"],
            "a c d",
        ),
        (
            ":any is a package of our own architecture",
            "a 1; Depends: perl:any (>= 5)\nperl 5.36; Multi-Arch: allowed",
            &["a"],
            "a perl",
        ),
        (
            "cycles end",
            "a 1; Depends: b\nb 1; Depends: c\nc 1; Depends: a",
            &["a"],
            "a b c",
        ),
        (
            "recommends are not followed",
            "a 1; Recommends: b\nb 1",
            &["a"],
            "a",
        ),
    ];
    for (what, universe, names, expected) in table {
        assert_eq!(
            closure(universe, names, false).as_deref(),
            Ok(*expected),
            "{what}"
        );
    }
}

#[test]
fn recommends_are_followed_where_a_role_says_so_and_dropped_where_they_cannot_be() {
    let universe = "a 1; Recommends: b, c, gone\nb 1; Depends: gone\nc 1; Recommends: d\nd 1";
    assert_eq!(closure(universe, &["a"], true).as_deref(), Ok("a c d"));
}

#[test]
fn sixty_four_choices_are_taken_back_and_no_more() {
    let universe = |count: usize| {
        let ways = (0..count)
            .map(|n| format!("b{n} | c{n}"))
            .collect::<Vec<_>>();
        let walls = (0..count).map(|n| format!("b{n}")).collect::<Vec<_>>();
        let both = (0..count).map(|n| format!("b{n} 1\nc{n} 1\n"));
        format!(
            "a 1; Depends: {}, z\nz 1; Conflicts: {}\n{}",
            ways.join(", "),
            walls.join(", "),
            both.collect::<String>()
        )
    };
    assert!(closure(&universe(64), &["a"], false).is_ok());
    assert_eq!(
        closure(&universe(65), &["a"], false).unwrap_err(),
        "a, which needs z, which cannot be installed beside b0"
    );
}

#[test]
fn what_cannot_be_satisfied_is_said_as_a_chain() {
    let table: &[(&str, &[&str], &str)] = &[
        (
            "roundcube-core 1; Depends: php-x (>= 3)",
            &["roundcube-core"],
            "roundcube-core, which needs php-x (>= 3), which no archive has",
        ),
        (
            "roundcube-core 1; Depends: php-x (>= 3)\nphp-x 2",
            &["roundcube-core"],
            "roundcube-core, which needs php-x (>= 3), but the archives have php-x 2",
        ),
        (
            "a 1; Depends: b (>= 1) | c\nb 1; Depends: deep\ndeep 1; Depends: gone",
            &["a"],
            "a, which needs b (>= 1), which needs deep, which needs gone, which no archive has",
        ),
        (
            "a 1\nb 1; Conflicts: a",
            &["a", "b"],
            "b, which cannot be installed beside a",
        ),
        (
            "postgresql 15",
            &["postgresq"],
            "postgresq, which no archive has (did you mean postgresql?)",
        ),
        ("a 1", &["zzz"], "zzz, which no archive has"),
        (
            "a 1; Depends: b c",
            &["a"],
            "packages whose index makes no sense: package a: `b c` is not a relation to a package",
        ),
    ];
    for (universe, names, words) in table {
        assert_eq!(closure(universe, names, false).unwrap_err(), *words);
    }
}

#[test]
fn what_is_needed_is_unpacked_first_even_inside_a_cycle() {
    let text = index(
        "app 1; Depends: lib, tool\nlib 1; Depends: tool\ntool 1; Pre-Depends: zlib; Depends: lib\n\
         zlib 1; Depends: lib\nbase 1; Essential: yes; Depends: core\ncore 1",
    );
    let universe = Universe::new(parse(&text, 0, "amd64").unwrap(), &BTreeMap::new()).unwrap();
    let closure = resolve(&universe, &["app".to_owned()], false).unwrap();
    let ordered = order(&universe, &closure).unwrap();
    let names = |ids: &[usize]| {
        let names: Vec<&str> = ids.iter().map(|id| universe.candidates[*id].name).collect();
        names.join(" ")
    };
    assert_eq!(names(&ordered.essential), "core base");
    assert_eq!(names(&ordered.others), "lib zlib tool app");
}
