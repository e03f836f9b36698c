//! The program on a host from power-on.
