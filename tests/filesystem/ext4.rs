//! What the ext4 writer writes is clean for e2fsck, and the kernel shows the tree again.

use std::fs::File;
use std::path::Path;

use muster::image::filesystem::ext4::Ext4;
use muster::image::filesystem::{Filesystem, FilesystemError};
use muster::image::tree::{Content, Kind, Tree};
use proptest::prelude::*;

use crate::mounted::{Mounted, assert_debugfs_dumps, assert_equal, run, scratch};
use crate::random::{self, Random, add, directory, empty_tree, file, link, node};

const MIB: u64 = 1 << 20;

fn format() -> Ext4 {
    Ext4::new("root", *b"0123456789abcdef", 1_700_000_000)
}

fn write(format: &Ext4, tree: &Tree, size: u64, image: &Path) {
    let file = File::create(image).unwrap();
    file.set_len(size).unwrap();
    format.write(tree, size, &file).unwrap();
}

fn check(image: &Path) {
    run("e2fsck", &["-fn".as_ref(), image.as_ref()]);
}

/// Clean, equal, still clean after the kernel wrote to it, clean after it has grown.
fn prove(format: &Ext4, tree: &Tree, size: u64) {
    let folder = scratch();
    let image = folder.path().join("image");
    write(format, tree, size, &image);
    check(&image);
    if let Some(mounted) = Mounted::new(&image, "ro,noload") {
        assert_equal(tree, mounted.path());
    }
    let grown = size * 3 + 300 * MIB;
    File::options()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(grown)
        .unwrap();
    run("resize2fs", &[image.as_ref()]);
    check(&image);
    if let Some(mounted) = Mounted::new(&image, "rw") {
        assert_equal(tree, mounted.path());
        for number in 0..300 {
            let name = mounted.path().join(format!("new-{number}"));
            std::fs::write(name, vec![number as u8; 5000]).unwrap();
        }
    }
    check(&image);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(seed: u64, count in 1u64..1500, slack in 0u64..300) {
        let host = scratch();
        let tree = random::random_tree(seed, count, host.path());
        let format = format();
        let least = format.minimum_size(&tree).unwrap();
        prove(&format, &tree, least + slack * MIB);
        let image = host.path().join("image");
        write(&format, &tree, least, &image);
        assert_debugfs_dumps(&tree, &image);
    }
}

#[test]
fn an_empty_filesystem_is_clean_at_many_sizes() {
    let format = Ext4 {
        label: "data".into(),
        grow_to: Some(1 << 41),
        ..format()
    };
    let tree = empty_tree();
    let least = format.minimum_size(&tree).unwrap();
    assert!(least < 7 * MIB, "{least}");
    for size in [
        least,
        64 * MIB,
        128 * MIB + 4096,
        1000 * MIB,
        2048 * MIB + MIB,
        40 << 30,
    ] {
        let folder = scratch();
        let image = folder.path().join("image");
        write(&format, &tree, size, &image);
        check(&image);
    }
    prove(&format, &tree, 64 * MIB);
}

#[test]
fn directories_of_many_names_are_indexed() {
    let mut tree = empty_tree();
    let random = &mut Random(1);
    for (count, length) in [(300, 8), (20_000, 30), (5_000, 250)] {
        let parent = add(&mut tree, 0, format!("{count}"), directory());
        for number in 0..count {
            let mut name = format!("{number:08}").into_bytes();
            name.resize(length, b'a' + random.below(26) as u8);
            add(&mut tree, parent, &name, file(name.clone()));
        }
    }
    let many = add(&mut tree, 0, "subdirectories", directory());
    for number in 0..1000 {
        add(&mut tree, many, format!("{number}"), directory());
    }
    let format = format();
    prove(&format, &tree, format.minimum_size(&tree).unwrap());
}

#[test]
fn a_directory_of_two_index_levels_is_clean() {
    let mut tree = empty_tree();
    let parent = add(&mut tree, 0, "many", directory());
    let target = add(&mut tree, parent, "target", file("x"));
    for number in 0..20_000 {
        let mut name = format!("{number:06}").into_bytes();
        name.resize(255, b'x');
        let index = if number % 2 == 0 {
            target
        } else {
            add(&mut tree, 0, &name, file(""))
        };
        link(&mut tree, parent, &name, index);
    }
    let format = format();
    prove(&format, &tree, format.minimum_size(&tree).unwrap());
}

#[test]
fn deep_directories_and_65000_links_are_clean() {
    let mut tree = empty_tree();
    let mut parent = 0;
    for _ in 0..300 {
        parent = add(&mut tree, parent, "down", directory());
    }
    let target = add(&mut tree, parent, "target", file("here"));
    let links = add(&mut tree, 0, "links", directory());
    for number in 1..65_000 {
        link(&mut tree, links, format!("{number}"), target);
    }
    let format = format();
    prove(&format, &tree, format.minimum_size(&tree).unwrap());
    link(&mut tree, links, "one too many", target);
    let error = format.minimum_size(&tree).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/links/one too many`: ext4 holds at most 65000 names of one file"
    );
}

#[test]
fn a_directory_of_more_than_65000_subdirectories_is_clean() {
    let mut tree = empty_tree();
    for number in 0..65_010 {
        add(&mut tree, 0, format!("{number}"), directory());
    }
    let folder = scratch();
    let image = folder.path().join("image");
    let format = format();
    write(&format, &tree, format.minimum_size(&tree).unwrap(), &image);
    check(&image);
}

#[test]
fn holes_of_big_files_take_no_blocks() {
    let host = scratch();
    let mut tree = empty_tree();
    for number in 0..4 {
        let path = host.path().join(format!("{number}"));
        let big = random::sparse_file(&path, 150 * MIB + number * 777, &mut Random(number));
        add(&mut tree, 0, format!("{number}"), big);
    }
    let scattered = host.path().join("scattered");
    let content = File::create(&scattered).unwrap();
    for number in 0..3000 {
        use std::os::unix::fs::FileExt;
        content
            .write_all_at(&[7; 10], number * (128 << 10))
            .unwrap();
    }
    let size = content.metadata().unwrap().len();
    let content = Content::Path {
        path: scattered,
        size,
    };
    add(&mut tree, 0, "scattered", node(Kind::File(content)));
    add(&mut tree, 0, "zeros", file(vec![0; 3 << 20]));
    let format = format();
    let least = format.minimum_size(&tree).unwrap();
    assert!(least < 400 * MIB, "{least}");
    prove(&format, &tree, least);
}

#[test]
fn the_same_tree_gives_the_same_bytes_on_one_thread_and_on_many() {
    let host = scratch();
    let tree = random::random_tree(7, 2000, host.path());
    let format = format();
    let size = format.minimum_size(&tree).unwrap() + 50 * MIB;
    let digest = |threads: usize| {
        let image = host.path().join(format!("image-{threads}"));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| write(&format, &tree, size, &image));
        std::fs::read(&image).unwrap()
    };
    let one = digest(1);
    assert!(one == digest(4));
    assert!(one == digest(13));
}

#[test]
fn free_space_that_was_asked_for_is_there() {
    let mut tree = empty_tree();
    add(&mut tree, 0, "etc", directory());
    let format = Ext4 {
        free: 200 * MIB,
        ..format()
    };
    let folder = scratch();
    let image = folder.path().join("image");
    write(&format, &tree, format.minimum_size(&tree).unwrap(), &image);
    let listing = run("dumpe2fs", &["-h".as_ref(), image.as_ref()]);
    let free: u64 = listing
        .lines()
        .find_map(|line| line.strip_prefix("Free blocks:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!((200 * 256..230 * 256).contains(&free), "{free} blocks");
}

#[test]
fn a_size_too_small_says_how_much_is_needed_and_that_is_enough() {
    let host = scratch();
    let tree = random::random_tree(11, 500, host.path());
    let format = format();
    let image = File::create(host.path().join("image")).unwrap();
    let error = format.write(&tree, MIB, &image).unwrap_err();
    let FilesystemError::TooSmall { needed, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        error.to_string(),
        format!("1048576 bytes are too few for this tree, which needs {needed} bytes as ext4")
    );
    assert!(format.write(&tree, needed - 4096, &image).is_err());
    format.write(&tree, needed, &image).unwrap();
}

#[test]
fn every_size_from_the_least_on_is_accepted() {
    let mut tree = empty_tree();
    add(&mut tree, 0, "file", file(vec![1; 120 << 20]));
    let format = format();
    let least = format.minimum_size(&tree).unwrap();
    let folder = scratch();
    let image = folder.path().join("image");
    for step in 0..60 {
        write(&format, &tree, least + step * 61 * 4096, &image);
        check(&image);
    }
}

#[test]
fn what_ext4_cannot_hold_is_refused_by_path_and_reason() {
    let refusal = |change: &dyn Fn(&mut Tree, usize)| {
        let mut tree = empty_tree();
        let parent = add(&mut tree, 0, "etc", directory());
        change(&mut tree, parent);
        format().minimum_size(&tree).unwrap_err().to_string()
    };
    let named = |name: &[u8]| {
        let name = name.to_vec();
        refusal(&move |tree, parent| {
            add(tree, parent, &name, file("x"));
        })
    };
    let long = "n".repeat(256);
    assert_eq!(
        named(long.as_bytes()),
        format!("`/etc/{long}`: a name in ext4 has at most 255 bytes")
    );
    assert_eq!(named(b"a/b"), "`/etc/a/b`: a name cannot hold a slash");
    assert_eq!(
        named(b"a\0b"),
        "`/etc/a\0b`: a name cannot hold a zero byte"
    );
    assert_eq!(named(b".."), "`/etc/..`: a name cannot be `.` or `..`");
    assert_eq!(named(b""), "`/etc/`: a name cannot be empty");
    let kind = |kind: Kind| {
        refusal(&move |tree, parent| {
            add(tree, parent, "x", node(kind.clone()));
        })
    };
    assert_eq!(
        kind(Kind::Symlink(vec![])),
        "`/etc/x`: a symbolic link needs a target"
    );
    assert_eq!(
        kind(Kind::Symlink(vec![b'x'; 4096])),
        "`/etc/x`: the target of a link has 4096 bytes, ext4 holds 4095"
    );
    assert_eq!(
        kind(Kind::Symlink(vec![0])),
        "`/etc/x`: the target of a link cannot hold a zero byte"
    );
    assert_eq!(
        kind(Kind::CharDevice(5000, 1)),
        "`/etc/x`: 5000:1 cannot be a device number"
    );
    let huge = |size| {
        let path = "/nonexistent".into();
        kind(Kind::File(Content::Path { path, size }))
    };
    assert_eq!(
        huge((u64::from(u32::MAX) << 12) + 1),
        "`/etc/x`: ext4 holds at most 17592186040320 bytes in a file"
    );
    assert_eq!(
        huge(1 << 30),
        "cannot read `/nonexistent`: No such file or directory (os error 2)"
    );
    assert_eq!(
        refusal(&|tree, parent| {
            let node = add(tree, parent, "f", file(""));
            (1..=65_000).for_each(|n| link(tree, parent, format!("l{n}"), node));
        }),
        "`/etc/l9999`: ext4 holds at most 65000 names of one file"
    );
    assert_eq!(
        refusal(&|tree, parent| tree.nodes[parent].mode = 0o10_755),
        "`/etc`: mode 10755 is more than permission bits"
    );
    assert_eq!(
        refusal(&|tree, parent| link(tree, parent, "self", parent)),
        "`/etc/self`: a directory cannot have two names"
    );
    assert_eq!(
        refusal(&|tree, parent| tree.nodes[parent].mtime = 1 << 40),
        "`/etc`: ext4 cannot hold the time 1099511627776"
    );
    assert_eq!(
        refusal(&|tree, parent| {
            tree.nodes[parent]
                .xattrs
                .insert("user.big".into(), vec![1; 5000]);
        }),
        "`/etc`: its extended attributes take 5020 bytes outside of the inode, ext4 holds 4060"
    );
    let long = format!("user.{}", "n".repeat(256));
    assert_eq!(
        refusal(&|tree, parent| {
            tree.nodes[parent].xattrs.insert(long.clone(), vec![1]);
        }),
        format!("`/etc`: `{long}` cannot be the name of an extended attribute")
    );
    assert_eq!(
        refusal(&|tree, _| {
            add(tree, 0, "lost+found", file(""));
        }),
        "`/lost+found`: ext4 needs a directory here"
    );
    let label = Ext4 {
        label: "seventeen-letters".into(),
        ..format()
    };
    assert_eq!(
        label.minimum_size(&empty_tree()).unwrap_err().to_string(),
        "ext4: the label `seventeen-letters` is longer than 16 bytes"
    );
}

#[test]
fn a_tree_larger_than_any_ext4_and_a_full_disk_are_called_so() {
    let endless = Ext4 {
        free: 1 << 50,
        ..format()
    };
    assert_eq!(
        endless.minimum_size(&empty_tree()).unwrap_err().to_string(),
        "the tree passes what ext4 can hold: more than 17592186040320 bytes"
    );
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(
        format()
            .write(&empty_tree(), 64 * MIB, &full)
            .unwrap_err()
            .to_string(),
        "cannot write the filesystem: No space left on device (os error 28)"
    );
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let host = scratch();
    let path = host.path().join("file");
    for (expected, found) in [
        (10, 9),
        (10, 11),
        (4096, 4095),
        (4096, 4097),
        (5000, 0),
        (0, 0),
    ] {
        std::fs::write(&path, vec![1; found]).unwrap();
        let content = Content::Path {
            path: path.clone(),
            size: expected,
        };
        let mut tree = empty_tree();
        add(&mut tree, 0, "file", node(Kind::File(content)));
        let image = File::create(host.path().join("image")).unwrap();
        let result = format().write(&tree, 64 * MIB, &image);
        if expected == found as u64 {
            result.unwrap();
            continue;
        }
        assert_eq!(
            result.unwrap_err().to_string(),
            format!(
                "`{}` changed while it was read: expected {expected} bytes, found {found}",
                path.display()
            )
        );
    }
}
