//! Packages that must not be unpacked, each refused with its own words.

use crate::package::{
    Bench, Member, control_of, data, device, directory, file, link, package, symlink,
};

const CONTROL: &str = "Package: evil\nVersion: 1\nArchitecture: all\n";

#[test]
fn hostile_members_are_refused_with_their_reason() {
    for (members, words) in [
        (
            vec![file("./usr/../../etc/passwd", "x")],
            "evil: refused to unpack ./usr/../../etc/passwd: its path climbs out of the tree with `..`",
        ),
        (
            vec![file("/etc/passwd", "x")],
            "evil: refused to unpack /etc/passwd: its path is absolute",
        ),
        (
            vec![link("./etc/shadow-copy", "/etc/shadow")],
            "evil: refused to unpack ./etc/shadow-copy: its path is absolute",
        ),
        (
            vec![link("./etc/shadow-copy", "./../etc/shadow")],
            "evil: refused to unpack ./etc/shadow-copy: its path climbs out of the tree with `..`",
        ),
        (
            vec![link("./etc/copy", "./etc/shadow")],
            "evil: refused to unpack ./etc/copy: \
             it is a hard link to ./etc/shadow, which the package does not ship",
        ),
        (
            vec![device("./usr/lib/mem")],
            "evil: refused to unpack ./usr/lib/mem: it is a device node outside /dev",
        ),
        (
            vec![
                directory("./usr/"),
                directory("./usr/x/"),
                file("./usr/x", "x"),
            ],
            "evil: refused to unpack ./usr/x: a directory is in its place",
        ),
    ] {
        let mut bench = Bench::new();
        bench.simple("evil", &members);
        assert_eq!(bench.refusal(), words);
    }
}

/// What is said of a package whose one member has this header.
fn of_member(change: &dyn Fn(&mut tar::Header)) -> String {
    let mut bytes = data(&[file("./usr/x", "words")]);
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    change(&mut header);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    let mut bench = Bench::new();
    bench.add("evil", &package(CONTROL, "data.tar", &bytes));
    bench.refusal()
}

#[test]
fn members_whose_headers_make_no_sense_are_refused() {
    for kind in [b'D', b'M', b'V', b'!'] {
        assert_eq!(
            of_member(&|header| header.set_entry_type(tar::EntryType::new(kind))),
            format!(
                "evil: refused to unpack ./usr/x: its tar type `{}` has no place in a package",
                char::from(kind)
            )
        );
    }
    let out_of_range = "evil:all=1: data.tar cannot be read: an owner has the id 4294967296";
    assert_eq!(of_member(&|header| header.set_uid(1 << 32)), out_of_range);
    assert_eq!(of_member(&|header| header.set_gid(1 << 32)), out_of_range);
    let no_number = of_member(&|header| header.as_gnu_mut().unwrap().mode = *b"nomode!\0");
    let start = "evil:all=1: data.tar cannot be read: ";
    assert!(no_number.starts_with(start), "{no_number}");
}

#[test]
fn device_nodes_in_dev_are_left_to_the_kernel() {
    let mut bench = Bench::new();
    bench.simple("old", &[directory("./dev/"), device("./dev/null")]);
    bench.unpack().unwrap();
    assert!(!bench.root().join("dev/null").exists());
}

#[test]
fn a_truncated_member_is_an_error_whatever_its_compression() {
    let plain = data(&[file("./usr/share/x", "some words that fill a block")]);
    let mut xz = Vec::new();
    let mut encoder = liblzma::read::XzEncoder::new(&plain[..], 6);
    std::io::copy(&mut encoder, &mut xz).unwrap();
    let zst = zstd::encode_all(&plain[..], 3).unwrap();
    let mut gz = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::default());
    std::io::copy(&mut encoder, &mut gz).unwrap();
    for (name, content, keep) in [
        ("data.tar", &plain, 700),
        ("data.tar.xz", &xz, xz.len() - 20),
        ("data.tar.zst", &zst, zst.len() - 10),
        ("data.tar.gz", &gz, gz.len() - 6),
    ] {
        let mut bench = Bench::new();
        bench.add("evil", &package(CONTROL, name, &content[..keep]));
        assert_eq!(
            bench.refusal(),
            "evil:all=1: data.tar ends in the middle",
            "{name}"
        );
    }
}

#[test]
fn a_package_cut_short_is_an_error() {
    let content = package(CONTROL, "data.tar", &data(&[file("./x", "words")]));
    let mut bench = Bench::new();
    bench.add("evil", &content[..content.len() - 1100]);
    assert_eq!(bench.refusal(), "evil:all=1: data.tar ends in the middle");
}

#[test]
fn what_is_not_a_package_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    for page in [&b"<html>not found</html>"[..], b"gone"] {
        assert_eq!(
            control_of(folder.path(), page).unwrap_err().to_string(),
            "x: not a Debian package: it does not begin as an ar archive does"
        );
    }
    let error = control_of(folder.path(), &package(CONTROL, "data.tar.rar", b"")).map(|_| ());
    assert!(error.is_ok());
    let mut bench = Bench::new();
    bench.add("evil", &package(CONTROL, "data.tar.rar", b"x"));
    assert_eq!(
        bench.refusal(),
        "evil:all=1: data.tar.rar: unknown compression"
    );
}

#[test]
fn a_package_of_another_format_is_refused() {
    let honest = package(CONTROL, "data.tar", &data(&[file("./x", "words")]));
    // The first letter of the name `debian-binary`, and of the format that stands in it.
    for (at, letter) in [(8, b'x'), (68, b'3')] {
        let mut content = honest.clone();
        content[at] = letter;
        let mut bench = Bench::new();
        bench.add("evil", &content);
        assert_eq!(
            bench.refusal(),
            "evil:all=1: not a Debian package of format 2"
        );
    }
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused_before_it_is_read() {
    let mut bench = Bench::new();
    let content = package(CONTROL, "data.tar", &data(&[file("./x", "words")]));
    bench.add("evil", &content);
    let packages = bench.fetched();
    let path = bench.cached(&packages[0]);
    std::fs::write(&path, b"other").unwrap();
    let error = bench.unpack_in_rounds(&[&[&packages[0]]]).unwrap_err();
    std::fs::remove_file(path).unwrap();
    let found = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
    assert_eq!(
        bench.words(error),
        format!(
            "evil:all=1: the cached file has SHA-256 {found}, the lock pins {}",
            packages[0].sha256
        )
    );
}

#[test]
fn an_outer_archive_that_lies_about_its_names_and_sizes() {
    let honest = package(CONTROL, "data.tar", &data(&[file("./x", "words")]));
    let header =
        |name: &str, size: &str| format!("{name:<16}0           0     0     100644  {size:<10}`\n");
    for (more, words) in [
        (header("/9999", "0"), "it has no control.tar"),
        (
            header("//", "9999999999"),
            "not a Debian package: unexpected end of file",
        ),
        (
            header("#1/9999999999", "9999999999"),
            "not a Debian package: unexpected end of file",
        ),
        (
            header("control.tar", "many"),
            "not a Debian package: the size of a member is no number",
        ),
        (
            "half".into(),
            "not a Debian package: failed to fill whole buffer",
        ),
    ] {
        // After `debian-binary`: 8 bytes of magic, 60 of header, 4 of content.
        let content = [&honest[..72], more.as_bytes()].concat();
        let mut bench = Bench::new();
        bench.add("evil", &content);
        assert_eq!(bench.refusal(), format!("evil:all=1: {words}"));
    }
}

#[test]
fn a_link_in_a_package_may_point_anywhere() {
    let mut bench = Bench::new();
    bench.simple(
        "good",
        &[
            symlink("./etc/mtab", "../proc/self/mounts"),
            file("./a", "1"),
        ],
    );
    let unpacked = bench.unpack().unwrap();
    assert_eq!(unpacked[0].list, ["/etc/mtab", "/a"]);
    let target = std::fs::read_link(bench.root().join("etc/mtab")).unwrap();
    assert_eq!(target.to_str(), Some("../proc/self/mounts"));
}

#[test]
fn every_kind_of_refusal_says_what_to_do() {
    let advice = |packages: &[(&str, &[Member])]| {
        let mut bench = Bench::new();
        for (name, members) in packages {
            bench.simple(name, members);
        }
        bench.unpack().unwrap_err().hint()
    };
    let wrong = "the file is the one that the archive's index names, so the archive itself is \
        wrong: leave the package out, or pin another version of it with `muster lock STACK \
        --update`, and tell whoever publishes the archive";
    assert_eq!(advice(&[("evil", &[device("./usr/mem")])]), wrong);
    let mut bench = Bench::new();
    bench.add("evil", &package(CONTROL, "data.tar.rar", b"x"));
    assert_eq!(bench.unpack().unwrap_err().hint(), wrong);
    assert_eq!(
        advice(&[("one", &[file("./a", "1")]), ("two", &[file("./a", "2")])]),
        "leave one of the two packages out of the role"
    );
}
