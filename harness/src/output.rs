//! Standard output of the tools, line by line.

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::Result;

/// Writes one line.
///
/// # Errors
/// If standard output is closed.
pub fn say(line: impl fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
