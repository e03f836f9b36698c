//! The clock of a host that joins: where it is far off, the lead's counts.
//!
//! Certificates are good from a moment on. A host whose battery is empty would take every one
//! for a thing of the future; so the lead tells its time on a connection that is proven to be
//! with the lead, before anything that bears a date is looked at. Keys bear none.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Off by more than this a clock is set.
pub const FAR: Duration = Duration::from_secs(60);

/// A clock that people and hosts can set.
pub trait Clock: Send + Sync {
    /// What it says.
    fn now(&self) -> SystemTime;
    /// Sets it.
    fn set(&self, to: SystemTime) -> io::Result<()>;
}

/// What was done about a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrected {
    /// It was near enough.
    Right,
    /// It was behind by so much, and was set.
    Behind(Duration),
    /// It was ahead by so much, and was set.
    Ahead(Duration),
}

/// Seconds since 1970 on this computer's clock, to be told to others.
pub fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Sets a clock to the lead's time, seconds since 1970, if it is far from it.
pub fn correct(clock: &dyn Clock, lead: u64) -> io::Result<Corrected> {
    let right = UNIX_EPOCH
        .checked_add(Duration::from_secs(lead))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no clock can say that"))?;
    let now = clock.now();
    let corrected = match right.duration_since(now) {
        Ok(behind) if behind > FAR => Corrected::Behind(behind),
        Err(ahead) if ahead.duration() > FAR => Corrected::Ahead(ahead.duration()),
        _ => return Ok(Corrected::Right),
    };
    clock.set(right)?;
    Ok(corrected)
}

/// Corrects a clock, and what is worth a line in the log of it.
pub fn note(clock: &dyn Clock, lead: u64) -> Option<String> {
    let by = |off: Duration, where_to: &str| {
        Some(format!(
            "the clock was {} {where_to}: it is set to the lead's",
            rough(off)
        ))
    };
    match correct(clock, lead) {
        Ok(Corrected::Right) => None,
        Ok(Corrected::Behind(off)) => by(off, "slow"),
        Ok(Corrected::Ahead(off)) => by(off, "fast"),
        Err(error) => Some(format!(
            "the clock differs from the lead's and cannot be set: {error}; set it in the \
             firmware, or certificates are taken for invalid"
        )),
    }
}

fn rough(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..=1 => format!("{} seconds", time.as_secs()),
        2..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 60 / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Watch(Mutex<SystemTime>, bool);

    impl Clock for Watch {
        fn now(&self) -> SystemTime {
            *self.0.lock().expect("not poisoned")
        }
        fn set(&self, to: SystemTime) -> io::Result<()> {
            match self.1 {
                true => Err(io::ErrorKind::PermissionDenied.into()),
                false => {
                    *self.0.lock().expect("not poisoned") = to;
                    Ok(())
                }
            }
        }
    }

    const LEAD: u64 = 1_800_000_000;

    fn watch(off: i64) -> Watch {
        let says = UNIX_EPOCH + Duration::from_secs(LEAD.saturating_add_signed(off));
        Watch(Mutex::new(says), false)
    }

    #[test]
    fn a_clock_is_set_only_when_it_is_far_off_and_that_is_told() {
        let right = UNIX_EPOCH + Duration::from_secs(LEAD);
        for near in [0, 60, -60] {
            let watch = watch(near);
            let before = watch.now();
            assert_eq!(note(&watch, LEAD), None);
            assert_eq!(watch.now(), before);
        }
        for (off, words) in [
            (-61, "61 seconds slow"),
            (-300, "5 minutes slow"),
            (-7200, "2 hours slow"),
            (-63_072_000, "730 days slow"),
            (86_400 * 365, "365 days fast"),
        ] {
            let watch = watch(off);
            let told = format!("the clock was {words}: it is set to the lead's");
            assert_eq!(note(&watch, LEAD), Some(told));
            assert_eq!(watch.now(), right);
        }
    }

    #[test]
    fn a_clock_that_cannot_be_set_is_told_with_what_to_do() {
        let stuck = Watch(Mutex::new(UNIX_EPOCH), true);
        assert_eq!(
            note(&stuck, LEAD).as_deref(),
            Some(
                "the clock differs from the lead's and cannot be set: permission denied; set it \
                 in the firmware, or certificates are taken for invalid"
            )
        );
        // Nor is one set to what no clock can say.
        assert!(correct(&watch(0), u64::MAX).is_err());
    }
}
