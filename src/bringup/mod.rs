//! A plan to a finished bring-up: actions, probes, journal.
