//! Files that two packages ship.

use crate::package::{Bench, data, file, link, package};

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
    let words = bench.refusal();
    let ways = [
        "one and two both ship /usr/bin/tool, and neither replaces the other",
        "two and one both ship /bin/tool, and neither replaces the other",
    ];
    assert!(ways.contains(&words.as_str()), "{words}");
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
