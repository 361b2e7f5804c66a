//! A worker that is not in the jail that its probes show, by putting `other_jail` in the place of its program: an audit that measured
//! probes alone would not notice.
//!
//! The program reads in the file beside it how it differs.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::home::Home;

/// The file beside the program that names the difference.
const FILE: &str = "other_jail";

/// How the worker at work differs from its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// It has one filter of system calls less.
    Filter,
    /// It has one file open more.
    File,
    /// It says that one layer less holds.
    Layer,
}

const ALL: [Difference; 4] = [Difference::None, Difference::Filter, Difference::File, Difference::Layer];

/// Has `role` started like that from now on.
///
/// # Errors
/// If its program cannot be replaced.
pub fn give(home: Home, role: &str, how: Difference) -> Result<Home> {
    let home = home.with_impostor(role, "other_jail")?;
    fs::write(home.root().join("bin").join(FILE), format!("{how:?}"))?;
    Ok(home)
}

/// How the program in this folder is to differ.
///
/// # Errors
/// If nothing says so.
pub fn read(folder: &Path) -> Result<Difference> {
    let name = fs::read_to_string(folder.join(FILE))?;
    ALL.into_iter().find(|how| format!("{how:?}") == name).with_context(|| format!("no difference: {name}"))
}
