//! The process `mix-egress`: see the library of this crate for what it trusts, holds and may do.

fn main() {}
