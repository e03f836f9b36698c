//! What the ext4 writer, mke2fs and qemu-img write, read back by this program's own reader.

use crate::mounted::{run, scratch};
use crate::random::{Random, random_tree};
use muster::image::disk::image::{self, Source};
use muster::image::disk::qcow2::{self, Compression};
use muster::image::filesystem::Filesystem;
use muster::image::filesystem::ext4::Ext4;
use muster::image::filesystem::ext4::read::{self, Node, Reader};
use muster::image::tree::{Content, Kind, Tree};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Everything in an image, and the content of its files.
fn all(image: &Path) -> BTreeMap<Vec<u8>, (Node, Vec<u8>)> {
    let source = image::open(image).unwrap();
    let reader = Reader::open(&*source).unwrap();
    let nodes = reader.walk().unwrap().into_iter();
    let nodes = nodes.map(|(path, node)| {
        let mut content = Vec::new();
        if let read::Kind::File(_) = node.kind {
            let mut keep = |part: &[u8]| content.extend_from_slice(part);
            reader.content(node.ino, &mut keep).unwrap();
        }
        (path, (node, content))
    });
    nodes.collect()
}

fn paths(tree: &Tree) -> BTreeMap<Vec<u8>, usize> {
    let mut found = BTreeMap::new();
    let mut open = vec![(Vec::new(), 0)];
    while let Some((path, index)) = open.pop() {
        if let Kind::Directory(entries) = &tree.nodes[index].kind {
            for (name, index) in entries {
                let below = [&path[..], name].join(&b"/"[..]);
                open.push((below.strip_prefix(b"/").unwrap_or(&below).to_vec(), *index));
            }
        }
        found.insert(path, index);
    }
    found
}

/// The image holds the tree, and lost+found.
fn holds(image: &Path, tree: &Tree) {
    let mut found = all(image);
    let mut numbers = BTreeMap::new();
    for (path, index) in paths(tree) {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let (node, content) = found.remove(&path).expect(&shown);
        let wanted = &tree.nodes[index];
        assert_eq!(
            (node.mode, node.uid, node.gid, node.mtime),
            (wanted.mode, wanted.uid, wanted.gid, wanted.mtime),
            "{shown}"
        );
        // Access control lists have a form of their own on the disk.
        let plain = |xattrs: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
            let plain = xattrs
                .iter()
                .filter(|(name, _)| !name.contains("posix_acl"));
            plain
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        assert_eq!(plain(&node.xattrs), plain(&wanted.xattrs), "{shown}");
        // Names of one file have one number, and no two files share one.
        assert_eq!(
            *numbers.entry(index).or_insert(node.ino),
            node.ino,
            "{shown}"
        );
        match (&wanted.kind, &node.kind) {
            (Kind::Directory(_), read::Kind::Directory(_)) | (Kind::Fifo, read::Kind::Fifo) => {}
            (Kind::File(wanted), read::Kind::File(size)) => {
                let wanted = match wanted {
                    Content::Bytes(bytes) => bytes.clone(),
                    Content::Path { path, .. } => fs::read(path).unwrap(),
                };
                assert_eq!(*size, wanted.len() as u64, "{shown}");
                assert!(content == wanted, "{shown}");
            }
            (Kind::Symlink(wanted), read::Kind::Symlink(target)) => assert_eq!(target, wanted),
            (Kind::CharDevice(a, b), read::Kind::CharDevice(c, d))
            | (Kind::BlockDevice(a, b), read::Kind::BlockDevice(c, d)) => {
                assert_eq!((a, b), (c, d), "{shown}");
            }
            (wanted, found) => panic!("{shown}: {wanted:?} became {found:?}"),
        }
    }
    let left: Vec<Vec<u8>> = found.into_keys().collect();
    assert_eq!(left, [b"lost+found".to_vec()]);
}

#[test]
fn what_we_write_is_read_back_from_raw_and_from_qcow2() {
    for seed in 0..3 {
        let host = scratch();
        let tree = random_tree(seed, 400, host.path());
        let format = Ext4::new("root", *b"0123456789abcdef", 1_700_000_000);
        let size = format.minimum_size(&tree).unwrap() + 40 * MIB;
        let raw = host.path().join("image.raw");
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&raw)
            .unwrap();
        file.set_len(size).unwrap();
        format.write(&tree, size, &file).unwrap();
        holds(&raw, &tree);
        for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
            let own = host.path().join("image.qcow2");
            let out = File::create(&own).unwrap();
            qcow2::write(&file, &out, compression).unwrap();
            holds(&own, &tree);
        }
        for options in [
            "compression_type=zlib",
            "compression_type=zstd,cluster_size=4096",
        ] {
            let theirs = host.path().join("theirs.qcow2");
            let arguments = ["convert", "-c", "-O", "qcow2", "-o", options];
            let mut arguments: Vec<&std::ffi::OsStr> = arguments.map(AsRef::as_ref).into();
            arguments.extend([raw.as_os_str(), theirs.as_os_str()]);
            run("qemu-img", &arguments);
            holds(&theirs, &tree);
        }
    }
}

/// A folder with what is easy to get wrong.
fn folder(host: &Path) -> PathBuf {
    let root = host.join("root");
    fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..700 {
        fs::write(
            root.join(format!("many/a-rather-long-name-{number}")),
            [number as u8],
        )
        .unwrap();
    }
    fs::write(root.join("long"), Random(1).bytes(3_000_000)).unwrap();
    fs::hard_link(root.join("long"), root.join("same")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let holes = File::create(root.join("holes")).unwrap();
    for part in 0..40 {
        holes.write_all_at(b"island", part * 200_000).unwrap();
    }
    holes.set_len(9_000_000).unwrap();
    std::os::unix::fs::symlink("x".repeat(59), root.join("short")).unwrap();
    std::os::unix::fs::symlink("y".repeat(200), root.join("far")).unwrap();
    root
}

#[test]
fn what_mke2fs_writes_is_read_as_it_was() {
    let host = scratch();
    let root = folder(host.path());
    for options in [
        "-b 4096",
        "-b 1024 -O ^resize_inode",
        "-I 128 -O ^64bit,^metadata_csum",
        "-O metadata_csum_seed",
    ] {
        let image = host.path().join("image");
        let file = File::create(&image).unwrap();
        file.set_len(64 * MIB).unwrap();
        let words = format!("-q -F -t ext4 {options} -d");
        let mut arguments: Vec<&std::ffi::OsStr> = words.split(' ').map(AsRef::as_ref).collect();
        arguments.extend([root.as_os_str(), image.as_os_str()]);
        run("mke2fs", &arguments);
        let mut found = all(&image);
        found.remove(&b"lost+found"[..]);
        let mut count = 0;
        for entry in walkdir::WalkDir::new(&root) {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(&root).unwrap();
            let (node, content) = found.remove(path.as_os_str().as_bytes()).unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            assert_eq!(node.mode, metadata.mode() & 0o7777, "{options}: {path:?}");
            if metadata.is_file() {
                assert_eq!(node.mtime, metadata.mtime(), "{options}: {path:?}");
                assert!(
                    content == fs::read(entry.path()).unwrap(),
                    "{options}: {path:?}"
                );
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                let target = target.as_os_str().as_bytes().to_vec();
                assert_eq!(node.kind, read::Kind::Symlink(target));
            }
            count += 1;
        }
        assert!(
            found.is_empty() && count > 700,
            "{options}: {:?}",
            found.keys()
        );
    }
}

/// Why an image is refused.
fn refusal(image: &Path) -> String {
    let source = image::open(image).unwrap();
    let error = Reader::open(&*source).and_then(|reader| reader.walk());
    error.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    let host = scratch();
    let image = host.path().join("image");
    let make = |options: &str| {
        let file = File::create(&image).unwrap();
        file.set_len(64 * MIB).unwrap();
        let words = format!("-q -F -t ext4 {options}");
        let mut arguments: Vec<&std::ffi::OsStr> =
            words.split_whitespace().map(AsRef::as_ref).collect();
        arguments.push(image.as_os_str());
        run("mke2fs", &arguments);
    };
    fs::write(&image, vec![0; 4096]).unwrap();
    assert_eq!(refusal(&image), "it holds no ext4 filesystem");
    make("-O inline_data");
    let words = "its filesystem has features that are not known here: 0x8000";
    assert_eq!(refusal(&image), words);
    make("");
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1024 + 0x60).unwrap();
    file.write_all_at(&[byte[0] | 4], 1024 + 0x60).unwrap();
    let words = "its filesystem was not unmounted: its journal has not been replayed";
    assert_eq!(refusal(&image), words);
}

#[test]
fn a_damaged_filesystem_is_read_or_refused_and_nothing_worse() {
    let host = scratch();
    let root = folder(host.path());
    let image = host.path().join("image");
    let file = File::create(&image).unwrap();
    file.set_len(64 * MIB).unwrap();
    let arguments = ["-q", "-F", "-t", "ext4", "-d"];
    let mut arguments: Vec<&std::ffi::OsStr> = arguments.map(AsRef::as_ref).into();
    arguments.extend([root.as_os_str(), image.as_os_str()]);
    run("mke2fs", &arguments);
    struct Bytes(Vec<u8>);
    impl Source for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let found = self.0.get(start..).and_then(|rest| rest.get(..into.len()));
            into.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }
    let whole = fs::read(&image).unwrap();
    let mut random = Random(7);
    let mut refused = 0;
    for _ in 0..150 {
        let mut damaged = Bytes(whole.clone());
        // Metadata stands first.
        for _ in 0..20 {
            let place = 1024 + random.below(3 << 20) as usize;
            damaged.0[place] = random.next() as u8;
        }
        let read = Reader::open(&damaged).and_then(|reader| {
            for node in reader.walk()?.values() {
                if let read::Kind::File(size) = node.kind
                    && size < 64 * MIB
                {
                    reader.content(node.ino, &mut |_| {})?;
                }
            }
            Ok(())
        });
        refused += usize::from(read.is_err());
    }
    assert!(refused > 0, "nothing that was damaged was noticed");
}
