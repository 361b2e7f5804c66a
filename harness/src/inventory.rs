//! Who owns everything below a folder.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Each path below `folder`, in order, with its owner, group and mode.
///
/// # Errors
/// If a folder cannot be read.
pub fn inventory(folder: &Path) -> io::Result<Vec<(PathBuf, u32, u32, u32)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, metadata.uid(), metadata.gid(), metadata.mode()));
        }
    }
    found.sort();
    Ok(found)
}
