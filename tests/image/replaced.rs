//! Files that two packages ship.

use crate::package::{Bench, data, directory, file, link, package, symlink};

#[test]
fn the_replacing_package_wins_in_either_order() {
    for order in [["new", "old"], ["old", "new"]] {
        let mut bench = Bench::new();
        for name in order {
            let (more, content) = match name {
                "new" => ("Replaces: other, old (<< 2)\n", "from new"),
                _ => ("", "from old, which is the longer one"),
            };
            let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{more}");
            let members = [
                file("./usr/bin/tool", content),
                link("./usr/bin/t", "./usr/bin/tool"),
            ];
            let members = if name == "new" {
                &members[..1]
            } else {
                &members[..]
            };
            bench.add(name, &package(&control, "data.tar", &data(members)));
        }
        bench.unpack().unwrap();
        assert_eq!(bench.read("usr/bin/tool"), "from new");
    }
}

#[test]
fn two_owners_of_one_file_are_an_error() {
    let mut bench = Bench::new();
    bench.simple("one", &[file("./bin/tool", "1")]);
    bench.simple("two", &[file("./usr/bin/tool", "2")]);
    assert_eq!(
        bench.refusal(),
        "one and two both ship /usr/bin/tool, and neither replaces the other"
    );
}

#[test]
fn two_owners_of_one_file_are_found_behind_a_link() {
    let mut bench = Bench::new();
    bench.simple("one", &[directory("./opt/"), symlink("./srv", "opt")]);
    bench.simple("two", &[file("./opt/tool", "2")]);
    bench.simple("three", &[file("./srv/tool", "3")]);
    let error = bench.unpack_one_by_one().unwrap_err();
    assert_eq!(
        bench.words(error),
        "three and two both ship /opt/tool, and neither replaces the other"
    );
}

#[test]
fn a_conffile_is_recorded_with_its_digest() {
    let mut bench = Bench::new();
    bench.simple("plain", &[file("./etc/plain.conf", "x")]);
    assert!(bench.unpack().unwrap()[0].conffiles.is_empty());
    assert_eq!(bench.read("etc/plain.conf"), "x");
}

#[test]
fn hard_links_stay_hard_links() {
    use std::os::unix::fs::MetadataExt;
    let mut bench = Bench::new();
    bench.simple("links", &[file("./a", "1"), link("./b", "./a")]);
    bench.unpack().unwrap();
    let inode = |name: &str| std::fs::metadata(bench.root().join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
}
