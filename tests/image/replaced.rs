//! Files that two packages ship.

use crate::package::{Bench, data, directory, file, link, package, symlink};

#[test]
fn the_replacing_package_wins_in_either_order_whichever_is_faster() {
    let old = "from old, which is the longer one";
    for order in [["new", "old"], ["old", "new"]].repeat(20) {
        let mut bench = Bench::new();
        for name in order {
            let (more, content) = match name {
                "new" => ("Replaces: other, old (<< 2)\n", "from new"),
                _ => ("", old),
            };
            let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{more}");
            let members = [
                file("./usr/bin/tool", content),
                link("./usr/bin/t", "./usr/bin/tool"),
                symlink("./usr/bin/s", name),
                link("./usr/bin/n", "./usr/bin/tool"),
            ];
            let members = match name {
                // Its own link to what it takes over.
                "new" => [&members[..1], &members[2..]].concat(),
                _ => members[..3].to_vec(),
            };
            bench.add(name, &package(&control, "data.tar", &data(&members)));
        }
        bench.unpack().unwrap();
        assert_eq!(bench.read("usr/bin/tool"), "from new");
        assert_eq!(bench.read("usr/bin/n"), "from new");
        // What the other package links to its own file is that still.
        assert_eq!(bench.read("usr/bin/t"), old);
        let link = std::fs::read_link(bench.root().join("usr/bin/s")).unwrap();
        assert_eq!(link.to_str(), Some("new"));
        let here = std::fs::read_dir(bench.root().join("usr/bin")).unwrap();
        assert_eq!(here.count(), 4, "nothing else is left there");
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
