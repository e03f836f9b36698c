//! What a program of the new root may do, which is to say next to nothing outside of it.
//!
//! Scripts of packages run as root, and a package may be hostile. Each program that the build
//! starts in the root first gets mounts of its own, in which the root is everything there is
//! (pivot_root(2)); `/proc` shows the build's processes and changes nothing; there is no
//! terminal to type into and no file that somebody left open; and of root's capabilities
//! (capabilities(7)) it has those that concern files, accounts and its own processes. So it can
//! neither mount nor make devices, load modules, set the clock, nor look into processes that
//! may do more. The process that starts them works on the same files from a root of its own,
//! but it sees no `/proc` there, so no link can lead it out.

use super::error::Error;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Parts of `/proc` that can be read, not written.
const READ_ONLY: [&str; 6] = ["acpi", "bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Parts of `/proc` that are empty.
const HIDDEN: [&str; 5] = ["kcore", "key-users", "keys", "latency_stats", "timer_list"];
/// What root may do in it.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT);
/// Number of the last descriptor that a program is given.
const LAST_DESCRIPTOR: i32 = 2;

const NONE: Option<&str> = None;

/// Becomes a program of `root`, a mounted root of the build. Returns only if it cannot.
pub fn become_program(root: &Path, argv: &[OsString]) -> Error {
    match confine(root) {
        Ok(()) => {}
        Err(error) => return error,
    }
    let Some((program, arguments)) = argv.split_first() else {
        return Error::Layout("no program was named".into());
    };
    let failed = Command::new(program).args(arguments).exec();
    Error::io("cannot run", Path::new(program))(failed)
}

fn confine(root: &Path) -> Result<(), Error> {
    let step = |what: &str| Error::namespace(format!("cannot {what} for a program of the root"));
    close_descriptors();
    nix::unistd::setsid().map_err(step("leave the terminal"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("make mounts"))?;
    show_processes(&root.join("proc"), &root.join("dev/null")).map_err(step("mount /proc"))?;
    std::env::set_current_dir(root).map_err(Error::io("cannot enter", root))?;
    nix::unistd::pivot_root(".", ".").map_err(step("make the root everything"))?;
    // The old root lies on top now.
    umount2(".", MntFlags::MNT_DETACH).map_err(step("take the workstation away"))?;
    std::env::set_current_dir("/").map_err(Error::io("cannot enter", "/"))?;
    nix::sys::prctl::set_no_new_privs().map_err(step("refuse privileges"))?;
    let errno = |errno: rustix::io::Errno| nix::Error::from_raw(errno.raw_os_error());
    let given_up = give_up_capabilities().map_err(errno);
    given_up.map_err(step("give up capabilities"))
}

/// Closes what this process was given beside its standard streams: somebody may have started
/// the build with an open file that was meant for nobody.
fn close_descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let numbers: Vec<i32> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .filter(|number| *number > LAST_DESCRIPTOR)
        .collect();
    for number in numbers {
        // That of the listing itself is closed already.
        let _ = nix::unistd::close(number);
    }
}

fn show_processes(proc: &Path, null: &Path) -> nix::Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), proc, Some("proc"), safe, NONE)?;
    for name in READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            mount(Some(&path), &path, NONE, MsFlags::MS_BIND, NONE)?;
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | safe;
            mount(NONE, &path, NONE, flags, NONE)?;
        }
    }
    for name in HIDDEN {
        let path = proc.join(name);
        if path.exists() {
            mount(Some(null), &path, NONE, MsFlags::MS_BIND, NONE)?;
        }
    }
    Ok(())
}

/// Takes all but [`KEPT`] from this process and from what it will execute.
fn give_up_capabilities() -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The kernel knows no more of them.
            Err(rustix::io::Errno::INVAL) => break,
            removed => removed?,
        }
    }
    let mut sets = capabilities(None)?;
    sets.permitted &= KEPT;
    sets.effective &= KEPT;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)
}
