//! Measurements beside the tools of others: the same input, the same run, in turns. Ignored
//! unless asked for: `tests/bench/filesystem`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use muster::image::disk::qcow2::{self, Compression};
use muster::image::filesystem::Filesystem;
use muster::image::filesystem::ext4::Ext4;
use muster::image::tree::{Content, Kind, Node, Tree};

use crate::mounted::run;
use crate::random::Random;

const ROUNDS: usize = 5;

/// The folder to work in, on whatever filesystem is to be measured.
fn folder() -> tempfile::TempDir {
    let parent = std::env::var_os("MUSTER_BENCH_DIR").unwrap_or("/dev/shm".into());
    tempfile::tempdir_in(parent).unwrap()
}

/// 350 MB in 41,000 files, 5,000 directories and 4,000 links: few large files, many small ones.
fn make(root: &Path) {
    let random = &mut Random(5);
    // As compressible as a root filesystem: words in random order.
    let words: Vec<Vec<u8>> = (0..500)
        .map(|_| {
            let length = 2 + random.below(9) as usize;
            random.bytes(length)
        })
        .collect();
    let mut pool = Vec::new();
    while pool.len() < 21 << 20 {
        pool.extend_from_slice(&words[random.below(500) as usize]);
    }
    let mut folders = vec![root.to_path_buf()];
    for number in 0..5000 {
        let among = folders.len().min(400) as u64;
        let parent = &folders[folders.len() - 1 - random.below(among) as usize];
        let folder = parent.join(format!("folder-{number}"));
        fs::create_dir(&folder).unwrap();
        folders.push(folder);
    }
    let mut place = |name: String| -> (PathBuf, u64) {
        let at = random.below(folders.len() as u64) as usize;
        (folders[at].join(name), random.next())
    };
    for number in 0..4000 {
        let (link, _) = place(format!("link-{number}"));
        std::os::unix::fs::symlink(format!("../some/target-{number}"), link).unwrap();
    }
    for number in 0..41_000 {
        let (file, random) = place(format!("file-{number}.something"));
        // Pareto: most are below 2 KB, the largest 20 MB.
        let draw = (random % 1_000_000 + 1) as f64 / 1_000_000.0;
        let size = (960.0 / draw.powf(0.95)).min(20e6) as usize;
        let from = (random >> 40) as usize % (pool.len() - size);
        fs::write(file, &pool[from..from + size]).unwrap();
    }
}

/// The tree below a directory, its files by path.
fn read(root: &Path) -> Tree {
    fn visit(tree: &mut Tree, path: &Path) -> usize {
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = if metadata.is_dir() {
            Kind::Directory(BTreeMap::new())
        } else if metadata.is_symlink() {
            Kind::Symlink(fs::read_link(path).unwrap().into_os_string().into_vec())
        } else {
            Kind::File(Content::Path {
                path: path.to_path_buf(),
                size: metadata.len(),
            })
        };
        let index = tree.nodes.len();
        tree.nodes.push(Node {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime(),
            xattrs: BTreeMap::new(),
            kind,
        });
        if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let child = visit(tree, &entry.path());
                let Kind::Directory(names) = &mut tree.nodes[index].kind else {
                    continue;
                };
                names.insert(entry.file_name().into_vec(), child);
            }
        }
        index
    }
    let mut tree = Tree { nodes: Vec::new() };
    visit(&mut tree, root);
    tree
}

/// Wall and processor time of one round, in seconds.
#[derive(Clone, Copy)]
struct Spent {
    wall: f64,
    cpu: f64,
}

/// Processor time of this process and of its children that have ended (proc(5), fields 14 to 17).
fn cpu() -> f64 {
    let status = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = status.rsplit_once(')').unwrap().1.split_whitespace();
    fields
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

fn timed(work: impl FnOnce()) -> Spent {
    let (start, before) = (Instant::now(), cpu());
    work();
    Spent {
        wall: start.elapsed().as_secs_f64(),
        cpu: cpu() - before,
    }
}

fn median(rounds: &[Spent], of: impl Fn(&Spent) -> f64) -> f64 {
    let mut times: Vec<f64> = rounds.iter().map(of).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn report(what: &str, ours: &[Spent], peer_name: &str, peers: &[Spent]) {
    for (clock, of) in [
        ("wall", (|s| s.wall) as fn(&Spent) -> f64),
        ("cpu", |s| s.cpu),
    ] {
        let (ours, peer) = (median(ours, of), median(peers, of));
        println!(
            "{what}, {clock}: muster {ours:.3} s, {peer_name} {peer:.3} s, ratio {:.2}",
            ours / peer
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn ext4_beside_mke2fs() {
    let folder = folder();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    make(&root);
    let tree = read(&root);
    let bytes: u64 = tree
        .nodes
        .iter()
        .map(|node| {
            if let Kind::File(Content::Path { size, .. }) = node.kind {
                size
            } else {
                0
            }
        })
        .sum();
    println!("{} entries, {} MB", tree.nodes.len(), bytes / 1_000_000);
    let format = Ext4::new("root", [7; 16], 1_700_000_000);
    let size = 768 << 20;
    let (ours, peers) = (folder.path().join("ours"), folder.path().join("peers"));
    let (mut our_times, mut peer_times, mut sizing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let _ = fs::remove_file(&ours);
        let _ = fs::remove_file(&peers);
        sizing.push(timed(|| {
            assert!(format.minimum_size(&tree).unwrap() < size)
        }));
        our_times.push(timed(|| {
            let file = File::create(&ours).unwrap();
            file.set_len(size).unwrap();
            format.write(&tree, size, &file).unwrap();
        }));
        peer_times.push(timed(|| {
            let arguments: [&OsStr; 9] = [
                "-q".as_ref(),
                "-N".as_ref(),
                "65536".as_ref(),
                "-t".as_ref(),
                "ext4".as_ref(),
                "-d".as_ref(),
                root.as_ref(),
                peers.as_ref(),
                "768M".as_ref(),
            ];
            run("mke2fs", &arguments);
        }));
    }
    run("e2fsck", &["-fn".as_ref(), ours.as_ref()]);
    report("ext4 from a tree", &our_times, "mke2fs -d", &peer_times);
    println!("least size alone: {:.3} s", median(&sizing, |s| s.wall));
    let peak = fs::read_to_string("/proc/self/status").unwrap();
    println!(
        "{}",
        peak.lines().find(|line| line.starts_with("VmHWM")).unwrap()
    );
}

#[test]
#[ignore = "a measurement"]
fn qcow2_beside_qemu_img() {
    let folder = folder();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    make(&root);
    let tree = read(&root);
    let raw_path = folder.path().join("raw");
    let raw = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&raw_path)
        .unwrap();
    raw.set_len(768 << 20).unwrap();
    Ext4::new("root", [7; 16], 1_700_000_000)
        .write(&tree, 768 << 20, &raw)
        .unwrap();
    for (name, compression, options) in [
        ("plain", Compression::None, &[][..]),
        (
            "zstd",
            Compression::Zstd,
            &["-c", "-o", "compression_type=zstd"][..],
        ),
        ("zlib", Compression::Zlib, &["-c"][..]),
    ] {
        let (ours, peers) = (folder.path().join("ours"), folder.path().join("peers"));
        let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let _ = fs::remove_file(&ours);
            let _ = fs::remove_file(&peers);
            our_times.push(timed(|| {
                qcow2::write(&raw, &File::create(&ours).unwrap(), compression).unwrap();
            }));
            let mut arguments: Vec<&OsStr> = ["convert", "-f", "raw", "-O", "qcow2"]
                .map(OsStr::new)
                .to_vec();
            arguments.extend(options.iter().map(OsStr::new));
            arguments.extend([raw_path.as_os_str(), peers.as_os_str()]);
            peer_times.push(timed(|| {
                run("qemu-img", &arguments);
            }));
        }
        run("qemu-img", &["check".as_ref(), ours.as_ref()]);
        let what = format!("qcow2 {name}");
        report(&what, &our_times, "qemu-img convert", &peer_times);
        let length = |path: &Path| path.metadata().unwrap().len() >> 20;
        println!(
            "{what}: muster {} MiB, qemu-img {} MiB",
            length(&ours),
            length(&peers)
        );
    }
}
