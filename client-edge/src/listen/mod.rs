//! Connections in, and how many there may be before login.

pub(crate) mod accept;
pub(crate) mod port;
pub(crate) mod preauth_limit;
