//! Small files that would fill the memory or the disk: refused by what they announce, or at the
//! byte where they go on after it.

use crate::package::{Bench, data, file, members, package};
use std::io::Write;
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

/// What is said of a package with this data, within a few seconds and without much memory.
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
    assert!(start.elapsed() < Duration::from_secs(20), "{words}");
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
    let half = [header(EntryType::Regular, "./x", 300 * MIB), vec![0; MIB]].concat();
    let half = zst(&half);
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
fn an_xz_stream_that_wants_gigabytes_of_memory_is_refused() {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
    writer.write_all(&data(&[file("./x", "words")])).unwrap();
    let mut stream = writer.finish().unwrap();
    // xz file format, 3.1: after 12 bytes the header of the first block, its size in words less
    // one, flags, the LZMA2 filter (0x21, one byte of properties), padding, CRC32.
    let size = (usize::from(stream[12]) + 1) * 4;
    let (start, end) = (12, 12 + size - 4);
    assert_eq!(stream[14..16], [0x21, 1]);
    stream[16] = 38; // 2 GiB
    let mut sum = flate2::Crc::new();
    sum.update(&stream[start..end]);
    stream[end..end + 4].copy_from_slice(&sum.sum().to_le_bytes());
    assert_eq!(
        refusal(&package(CONTROL, "data.tar.xz", &stream)),
        "evil:all=1: data.tar cannot be read: memory limit reached"
    );
}
