//! Small files that would fill the memory or the disk: refused by what they announce, or at the
//! byte where they go on after it.

use crate::archive::pack_hungry;
use crate::package::{Bench, data, file, members, package};
use std::time::{Duration, Instant};
use tar::{EntryType, Header};

const CONTROL: &str = "Package: evil\nVersion: 1\nArchitecture: all\nInstalled-Size: 40\n";
const MIB: usize = 1 << 20;

/// The header of a member.
fn header(kind: EntryType, path: &str, size: usize) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(path).unwrap();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(nix::unistd::getuid().as_raw().into());
    header.set_gid(nix::unistd::getgid().as_raw().into());
    header.set_size(size as u64);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// These bytes so many times, as one zstd file: frames may follow each other.
fn repeated(bytes: &[u8], times: usize) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap().repeat(times)
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    repeated(bytes, 1)
}

/// What is said of a package with this data, in good time and without much memory.
fn refusal(content: &[u8]) -> String {
    assert!(content.len() < 4 * MIB, "{} bytes", content.len());
    let start = Instant::now();
    let mut bench = Bench::new();
    bench.add("evil", content);
    let error = bench.unpack().unwrap_err();
    let written: u64 = walkdir::WalkDir::new(bench.root())
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(written <= 256 << 20, "{written} bytes were written");
    let words = bench.words(error);
    assert!(start.elapsed() < Duration::from_secs(120), "{words}");
    let peak = peak_memory();
    assert!(peak < 1 << 30, "{words} after {peak} bytes");
    words
}

/// Bytes this process has had in memory at most (proc(5), `VmHWM`).
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse::<usize>().unwrap() << 10
}

#[test]
fn a_file_larger_than_its_package_announces_is_refused_before_it_is_written() {
    let huge = [
        header(EntryType::Regular, "./x", 1 << 40),
        vec![0; 64 * MIB],
    ]
    .concat();
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.zst", &zst(&huge))),
        "evil:all=1: data.tar holds more than 256 MiB, which its Installed-Size does not announce"
    );
}

#[test]
fn many_files_that_together_are_too_much_are_refused_when_they_become_so() {
    let one = [
        header(EntryType::Regular, "./x", 100 * MIB),
        vec![0; 100 * MIB],
    ]
    .concat();
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.zst", &repeated(&one, 100))),
        "evil:all=1: data.tar holds more than 256 MiB, which its Installed-Size does not announce"
    );
}

#[test]
fn a_package_may_hold_four_times_what_it_announces() {
    let sizes =
        |kib: u64| format!("{CONTROL}Installed-Size: {kib}\n").replace("Installed-Size: 40\n", "");
    // A file and its name: not quite 300 MiB.
    let size = 300 * MIB - 4096;
    let half = zst(&[header(EntryType::Regular, "./x", size), vec![0; MIB]].concat());
    // The file is announced, so what is wrong is only that it ends early.
    assert_eq!(
        refusal(&package(&sizes(75 * 1024), "data.tar.zst", &half)),
        "evil:all=1: data.tar ends in the middle"
    );
    assert_eq!(
        refusal(&package(&sizes(75 * 1024 - 1), "data.tar.zst", &half)),
        "evil:all=1: data.tar holds more than 299 MiB, which its Installed-Size does not announce"
    );
}

#[test]
fn what_follows_the_last_member_is_bounded() {
    let honest = zst(&data(&[file("./x", "words")]));
    let tail = repeated(&vec![0; 64 * MIB], 100);
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.zst", &[honest, tail].concat())),
        "evil:all=1: data.tar cannot be read: more than 1 MiB follow its last member"
    );
}

#[test]
fn names_as_long_as_a_disk_are_refused() {
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        let name = [
            header(kind, "././@LongLink", 256 * MIB),
            vec![b'a'; 256 * MIB],
        ]
        .concat();
        let rest = data(&[file("./x", "words")]);
        assert_eq!(
            refusal(&package(
                CONTROL,
                "data.tar.zst",
                &zst(&[name, rest].concat())
            )),
            "evil:all=1: data.tar cannot be read: the headers of one member fill more than 1 MiB"
        );
    }
}

#[test]
fn names_that_together_are_as_long_as_a_disk_are_refused() {
    let path = format!("{}\0", format!("{}/", "d".repeat(250)).repeat(15));
    let mut name = header(EntryType::GNULongName, "././@LongLink", path.len());
    name.extend(path.as_bytes());
    name.resize(name.len().next_multiple_of(512), 0);
    let one = [name, header(EntryType::Directory, "./d/", 0)].concat();
    let many = repeated(&one.repeat(1000), 100);
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.zst", &many)),
        "evil:all=1: data.tar holds more than 256 MiB, which its Installed-Size does not announce"
    );
}

#[test]
fn a_control_archive_is_bounded_too() {
    let one = [
        header(EntryType::Regular, "./md5sums", 65 * MIB),
        vec![0; 65 * MIB],
    ]
    .concat();
    let rest = data(&[file("./x", "words")]);
    assert_eq!(
        refusal(&members(&[
            ("control.tar.zst", &zst(&one)),
            ("data.tar", &rest)
        ])),
        "evil:all=1: control.tar holds more than 64 MiB"
    );
}

#[test]
fn ten_million_members_are_refused_at_half_a_million() {
    let block = header(EntryType::Directory, "./x/", 0).repeat(10_000);
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.zst", &repeated(&block, 1000))),
        "evil:all=1: data.tar has more than 500000 members"
    );
}

#[test]
fn a_stream_that_wants_gigabytes_of_memory_is_refused() {
    let honest = data(&[file("./x", "words")]);
    for (suffix, why) in [
        (".xz", "memory limit reached"),
        (".zst", "Frame requires too much memory for decoding"),
    ] {
        let hungry = pack_hungry(&honest, suffix);
        assert_eq!(
            refusal(&package(CONTROL, &format!("data.tar{suffix}"), &hungry)),
            format!("evil:all=1: data.tar cannot be read: {why}")
        );
    }
}

#[test]
fn whatever_a_package_announces_it_holds_at_most_32_gib() {
    let announced = CONTROL.replace("40", &u64::MAX.to_string());
    let one = |size: usize| {
        let half = [header(EntryType::Regular, "./x", size), vec![0; MIB]].concat();
        refusal(&package(&announced, "data.tar.zst", &zst(&half)))
    };
    let most = 32 << 30;
    assert_eq!(one(most - 4096), "evil:all=1: data.tar ends in the middle");
    assert_eq!(
        one(most),
        "evil:all=1: data.tar holds more than 32768 MiB, the most that a package may hold"
    );
}
