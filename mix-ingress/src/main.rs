//! The process that reads the mixnet port.

fn main() {}
