//! Tells the processes which build they are of: a number that changes with the sources of the crates whose messages and figures they share.
//!
//! It does not change with anything else, so that a program that was not changed need not be built again.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// The crates of what processes say to each other.
const CRATES: [&str; 5] = ["ipc", "session-ipc", "link", "figures", "wire"];

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for name in CRATES {
        let folder = Path::new("..").join(name).join("src");
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &mut files)?;
    }
    files.sort();
    // Its values may differ from compiler to compiler; all programs of a build are compiled by one.
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    println!("cargo::rustc-env=GATEWAYD_BUILD={:016x}", hasher.finish());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
