//! Reads the mixnet port and unwraps Sphinx packets.

pub mod sphinx;
