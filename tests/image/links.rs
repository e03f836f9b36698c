//! Links that lead out of the tree, and links that only look as if they did.

use crate::package::{Bench, directory, file, link, symlink};

/// A folder of the workstation that no package may touch.
fn outside() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

fn is_empty(folder: &tempfile::TempDir) -> bool {
    std::fs::read_dir(folder.path()).unwrap().count() == 0
}

#[test]
fn a_member_behind_a_link_of_its_own_package_is_refused() {
    let (folder, path) = outside();
    for (members, words) in [
        (
            vec![symlink("./out", &path), file("./out/caught", "x")],
            "evil: refused to unpack ./out/caught: \
             its path leads through ./out, which is a link in the same package",
        ),
        (
            vec![symlink("./out", &path), directory("./out/caught/")],
            "evil: refused to unpack ./out/caught/: \
             its path leads through ./out, which is a link in the same package",
        ),
        (
            vec![
                directory("./usr/"),
                file("./usr/a", "x"),
                symlink("./usr/out", "../../../../../../tmp"),
                link("./usr/out/deep/caught", "./usr/a"),
            ],
            "evil: refused to unpack ./usr/out/deep/caught: \
             its path leads through ./usr/out, which is a link in the same package",
        ),
        (
            vec![symlink("./out", "/etc"), link("./copy", "./out/passwd")],
            "evil: refused to unpack ./copy: \
             it is a hard link to ./out/passwd, which the package does not ship",
        ),
    ] {
        let mut bench = Bench::new();
        bench.simple("evil", &members);
        assert_eq!(bench.refusal(), words);
        assert!(is_empty(&folder));
    }
}

#[test]
fn a_member_behind_a_link_of_another_package_that_leads_out_is_refused() {
    let (folder, path) = outside();
    let far = format!("../../../../../../../../../..{path}");
    for to in [&path, &far] {
        for member in [file("./out/caught", "x"), directory("./out/caught/")] {
            let mut bench = Bench::new();
            bench.simple("first", &[symlink("./out", to)]);
            bench.simple("evil", &[member]);
            let error = bench.unpack_one_by_one().unwrap_err();
            let words = bench.words(error);
            assert!(
                words.starts_with("evil: refused to unpack ./out/caught")
                    && words.contains(": its path leads through the link /out to /")
                    && words.ends_with(", which is no directory of the tree"),
                "{words}"
            );
            assert!(is_empty(&folder));
        }
    }
}

#[test]
fn a_link_that_leads_to_itself_is_refused() {
    let mut bench = Bench::new();
    bench.simple(
        "first",
        &[symlink("./out", "turn"), symlink("./turn", "out")],
    );
    bench.simple("evil", &[file("./out/caught", "x")]);
    let error = bench.unpack_one_by_one().unwrap_err();
    assert_eq!(
        bench.words(error),
        "evil: refused to unpack ./out/caught: \
         its path leads through the link /out to turn, which is no directory of the tree"
    );
}

#[test]
fn a_link_of_another_package_is_followed_inside_the_tree() {
    let mut bench = Bench::new();
    bench.simple(
        "first",
        &[
            directory("./run/"),
            directory("./var/"),
            symlink("./var/run", "/run"),
            symlink("./var/lib", "../../../run"),
        ],
    );
    bench.simple(
        "second",
        &[
            file("./var/run/a", "1"),
            directory("./var/run/deep/"),
            file("./var/lib/deep/b", "2"),
            link("./var/run/c", "./var/run/a"),
        ],
    );
    bench.unpack_one_by_one().unwrap();
    let read = |path| bench.read(path);
    assert_eq!(
        (read("run/a"), read("run/deep/b"), read("run/c")),
        ("1".into(), "2".into(), "1".into())
    );
}
