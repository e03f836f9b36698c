//! Tells the running kernel that a partition of a disk in use has grown. The whole table cannot
//! be read again while one of its partitions is mounted (`BLKRRPART` answers "busy").
#![allow(unsafe_code)] // BLKPG takes a pointer to a structure with a pointer; nix has no wrapper.

use std::ffi::{c_int, c_longlong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::grow::Grown;

const RESIZE_PARTITION: c_int = 3;

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
struct Resized {
    start: c_longlong,
    length: c_longlong,
    number: c_int,
    unused: [u8; 128],
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct Argument {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *mut c_void,
}

mod call {
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::Argument);
}

/// Gives the kernel the new length of a partition on a block device.
pub fn resize_partition(disk: &File, grown: &Grown) -> io::Result<()> {
    let mut resized = Resized {
        start: grown.partition.start() as c_longlong,
        length: grown.partition.length() as c_longlong,
        number: grown.number as c_int,
        unused: [0; 128],
    };
    let argument = Argument {
        operation: RESIZE_PARTITION,
        flags: 0,
        length: size_of::<Resized>() as c_int,
        data: (&raw mut resized).cast(),
    };
    // SAFETY: both structures outlive the call and have the kernel's layout; the call only
    // reads them.
    unsafe { call::blkpg(disk.as_raw_fd(), &argument) }?;
    Ok(())
}
