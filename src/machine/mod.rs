//! Disk to a running machine.
