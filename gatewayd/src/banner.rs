//! The banner that opens every command's output, as nym-gateway 0.10.1 prints it, with our version.

use crate::console::Console;

/// This program's version. The one the network sees is [`crate::version::NETWORK`].
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the banner.
pub fn print(console: &mut Console<'_>) {
    console.line(format_args!(
        r"

      _ __  _   _ _ __ ___
     | '_ \| | | | '_ \ _ \
     | | | | |_| | | | | | |
     |_| |_|\__, |_| |_| |_|
            |___/

             (gateway - version {PROGRAM_VERSION})

    "
    ));
}
