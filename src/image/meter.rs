//! A limit on what a reader gives, set anew for each thing that is read through it.

use std::cell::Cell;
use std::io::{Error, Read, Result};
use std::rc::Rc;

/// How much may still be read.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// Bytes, and what to say of the first one too many.
    left: Rc<Cell<(u64, &'static str)>>,
}

/// A reader under a meter.
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl Meter {
    /// From now on this many bytes more; what comes after them is `excess`.
    pub fn allow(&self, bytes: u64, excess: &'static str) {
        self.left.set((bytes, excess));
    }

    /// Puts a reader under this meter.
    pub fn on<R>(&self, inner: R) -> Metered<R> {
        Metered {
            inner,
            meter: self.clone(),
        }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(buffer)?;
        let (left, excess) = self.meter.left.get();
        match left.checked_sub(read as u64) {
            Some(left) => {
                self.meter.left.set((left, excess));
                Ok(read)
            }
            None => Err(Error::other(excess)),
        }
    }
}
