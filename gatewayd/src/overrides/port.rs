//! A flag that is a port.

use std::num::NonZeroU16;

pub(super) fn port(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse().map_err(|_| "not a port: give a whole number from 1 to 65535")
}
