//! What the thread that brings a host up waits for between two rounds.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Why it is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The time is over, or how another host stands has changed.
    Look,
    /// Somebody wants failed tasks tried again, or others can go on.
    Again,
}

/// A bell with two tones.
#[derive(Debug, Default)]
pub struct Wake {
    rung: Mutex<Option<Why>>,
    bell: Condvar,
}

impl Wake {
    /// Wakes it; the more urgent of several reasons counts.
    pub fn ring(&self, why: Why) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = (*rung).max(Some(why));
        self.bell.notify_all();
    }

    /// Waits until somebody rings, at most so long.
    pub fn wait(&self, limit: Duration) -> Why {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .bell
            .wait_timeout_while(rung, limit, |rung| rung.is_none());
        let mut rung = match waited {
            Ok((rung, _)) => rung,
            Err(poisoned) => poisoned.into_inner().0,
        };
        rung.take().unwrap_or(Why::Look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_urgent_reason_counts_and_counts_once() {
        let wake = Wake::default();
        wake.ring(Why::Again);
        wake.ring(Why::Look);
        assert_eq!(wake.wait(Duration::ZERO), Why::Again);
        assert_eq!(wake.wait(Duration::ZERO), Why::Look);
    }
}
