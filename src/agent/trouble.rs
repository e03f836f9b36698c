//! What keeps the agent from its work, in words with what to do, where `muster status` finds
//! them although no disk can be written.

use crate::bringup::places::Places;
use crate::site::authority::{self, CA_START};
use jiff::Timestamp;
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

/// What a person does whose disk is full.
const FULL: &str = "make room, and muster-agent goes on: df -h / /data; \
                    du -xhd3 /data | sort -h | tail";

/// What a person does whose disk the kernel has given up.
const READ_ONLY: &str = "the kernel lets nobody write there since the disk failed \
                         (journalctl -k -p err); once the disk is well, restart the host, \
                         which checks it: systemctl reboot";

/// What a person does whose clock is wrong.
const CLOCK: &str = "let the host reach a time server (chronyc tracking), or \
                     timedatectl set-ntp false, then \
                     timedatectl set-time 'YYYY-MM-DD HH:MM:SS'";

/// Where a full disk stops services.
const DISKS: [&str; 2] = ["/", "/data"];

/// A disk is full that has less free than a hundredth, or than this where that is more; bytes.
const SPARE: u64 = 64 << 20;

/// What is the matter with this host's disks or clock, if anything is.
pub fn of_host(places: &Places) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let full = || {
        DISKS.into_iter().find_map(|disk| {
            let found = nix::sys::statvfs::statvfs(disk).ok()?;
            of_space(disk, &Space::from(found))
        })
    };
    of_mounts(&mounts)
        .or_else(full)
        .or_else(|| of_clock(places, SystemTime::now()))
}

/// What a file system has, as statvfs(3) says it.
#[derive(Debug, Clone, Copy)]
struct Space {
    /// Bytes of it.
    bytes: u64,
    /// Of these, what services may still write.
    spare: u64,
    /// Files that it can hold, 0 where it does not say, and how many more.
    files: (u64, u64),
}

impl From<nix::sys::statvfs::Statvfs> for Space {
    fn from(found: nix::sys::statvfs::Statvfs) -> Space {
        let block = found.fragment_size();
        Space {
            bytes: found.blocks() * block,
            spare: found.blocks_available() * block,
            files: (found.files(), found.files_available()),
        }
    }
}

/// What is to be said of a disk on which services can hardly write any more.
fn of_space(disk: &str, space: &Space) -> Option<String> {
    let Space {
        bytes,
        spare,
        files,
    } = *space;
    let (all, more) = files;
    let room =
        format!("make room, and what waits for it goes on: du -xhd3 {disk} | sort -h | tail");
    if spare < (bytes / 100).min(SPARE) {
        let (spare, of) = (spare >> 10, bytes >> 20);
        return Some(format!(
            "{disk} is full, {spare} KiB of {of} MiB are free: {room}"
        ));
    }
    (more < all / 1000).then(|| format!("{disk} can hold {more} more files of {all}: {room}"))
}

/// Says it, or that nothing is the matter.
pub fn tell(places: &Places, words: Option<&str>) {
    let path = places.trouble();
    let told = match words {
        Some(words) => std::fs::write(&path, words),
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    if let Err(error) = told {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

/// What is to be said of a disk that could not be read or written.
pub fn of_disk(what: &str, error: &io::Error) -> String {
    advised(format!("{what}: {error}"), error)
}

/// Words about an error, with what a person does about it, if we know it.
pub fn advised(words: String, error: &io::Error) -> String {
    match advice(error) {
        Some(advice) => format!("{words}; {advice}"),
        None => words,
    }
}

fn advice(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(FULL),
        ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
        _ => None,
    }
}

/// What is to be said of a root or data partition that the kernel has given up after an error
/// of its disk. `mounts` is `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
pub fn of_mounts(mounts: &str) -> Option<String> {
    for line in mounts.lines() {
        let (own, filesystem) = line.split_once(" - ")?;
        let mut own = own.split(' ').skip(4);
        let (place, options) = (own.next()?, own.next()?);
        let mut all = options
            .split(',')
            .chain(filesystem.rsplit(' ').next()?.split(','));
        // ext4's own words come with `ro` or, when somebody mounted again, without.
        let given_up = ["ro", "emergency_ro", "abort", "shutdown"];
        let read_only = all.any(|option| given_up.contains(&option));
        if read_only && DISKS.contains(&place) {
            return Some(format!("{place} is read-only: {READ_ONLY}"));
        }
    }
    None
}

/// What is to be said of a clock at which no certificate of this site is good: not yet, or
/// not any more.
pub fn of_clock(places: &Places, now: SystemTime) -> Option<String> {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if since < CA_START {
        return Some(format!(
            "the clock says {}, when no certificate of this site is good: {CLOCK}",
            minute(since)
        ));
    }
    let end = authority::good_until(&places.authority())?;
    (since > end).then(|| {
        format!(
            "the clock says {}, but the authority of this site ended {}. If the clock is wrong: \
             {CLOCK}",
            minute(since),
            minute(end)
        )
    })
}

/// A time since 1970 as people read it.
fn minute(since: Duration) -> String {
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{since:?} after 1970"),
            |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::site::authority::Authority;

    #[test]
    fn a_clock_before_and_after_any_certificate_is_named_with_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        let places = Places::below(state.path());
        let said = |seconds| {
            of_clock(
                &places,
                SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            )
        };
        assert_eq!(
            said(315_532_860).unwrap(),
            "the clock says 1980-01-01 00:01 UTC, when no certificate of this site is good: let \
             the host reach a time server (chronyc tracking), or timedatectl set-ntp \
             false, then timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
        );
        assert_eq!(said(1_704_067_200), None);
        assert_eq!(said(4_102_444_800), None, "there is no authority yet");

        Authority::open_or_create(&places.authority(), "Example Company").unwrap();
        let end = authority::good_until(&places.authority())
            .unwrap()
            .as_secs();
        assert_eq!(said(end), None);
        let words = said(end + 60).unwrap();
        assert!(
            words.starts_with("the clock says 20")
                && words.contains("but the authority of this site ended 20"),
            "{words}"
        );
        assert!(words.ends_with(". If the clock is wrong: let the host reach a time server (chronyc tracking), or timedatectl set-ntp false, then timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"), "{words}");
    }

    #[test]
    fn a_root_or_data_partition_that_can_only_be_read_is_named() {
        let mounts = |root: &str, data: &str| {
            format!(
                "22 1 254:3 / / {root} shared:1 - ext4 /dev/vda3 {root}\n\
                 23 22 0:20 / /sys ro,nosuid shared:2 - sysfs sysfs ro\n\
                 90 22 254:5 / /data rw,noatime shared:9 - ext4 /dev/vda5 {data}\n"
            )
        };
        assert_eq!(of_mounts(&mounts("rw,relatime", "rw")), None);
        assert_eq!(
            of_mounts(&mounts("ro,relatime", "rw")).unwrap(),
            "/ is read-only: the kernel lets nobody write there since the disk failed (journalctl \
             -k -p err); once the disk is well, restart the host, which checks it: systemctl \
             reboot"
        );
        for given_up in ["rw,emergency_ro", "rw,abort", "ro"] {
            let words = of_mounts(&mounts("rw,relatime", given_up)).unwrap();
            assert!(words.starts_with("/data is read-only: "), "{words}");
        }
    }

    #[test]
    fn a_disk_on_which_services_can_hardly_write_is_named_with_what_to_do() {
        let said = |bytes: u64, spare: u64, files| {
            let space = Space {
                bytes,
                spare,
                files,
            };
            of_space("/data", &space)
        };
        let gib = 1 << 30;
        assert_eq!(said(2 * gib, 32 << 20, (1000, 900)), None);
        assert_eq!(
            said(2 * gib, 420 << 10, (1000, 900)).unwrap(),
            "/data is full, 420 KiB of 2048 MiB are free: make room, and what waits for it goes \
             on: du -xhd3 /data | sort -h | tail"
        );
        // A hundredth of a large disk is plenty.
        assert_eq!(said(1000 * gib, 65 << 20, (1000, 900)), None);
        assert!(said(1000 * gib, 63 << 20, (1000, 900)).is_some());
        assert!(
            said(2 * gib, gib, (131_072, 100))
                .unwrap()
                .starts_with("/data can hold 100 more files of 131072: make room")
        );
        // A file system that has no such number.
        assert_eq!(said(2 * gib, gib, (0, 0)), None);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_named_with_what_to_do() {
        let said = |number| of_disk("cannot write /x", &io::Error::from_raw_os_error(number));
        assert_eq!(
            said(28),
            "cannot write /x: No space left on device (os error 28); make room, and \
             muster-agent goes on: df -h / /data; du -xhd3 /data | sort -h | tail"
        );
        assert_eq!(
            said(30),
            "cannot write /x: Read-only file system (os error 30); the kernel lets nobody write \
             there since the disk failed (journalctl -k -p err); once the disk is well, restart \
             the host, which checks it: systemctl reboot"
        );
        assert_eq!(said(5), "cannot write /x: Input/output error (os error 5)");
    }
}
