//! Writes files that are either complete or do not exist: into a temporary file in the same folder, which is synced and then put in place.
//!
//! *Promises*: on any error the former file stays as it was, and nothing is left beside it. After a power cut, or if the process is
//! killed, a file called `.<name>.<random>.new` may be left, which may be deleted.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use crate::path_guard::hand_on;

/// The step that failed, and its path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {error}", path.display())]
pub struct WriteError {
    step: &'static str,
    path: PathBuf,
    /// What the operating system answered.
    pub error: io::Error,
}

impl WriteError {
    pub(crate) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { step, path, error }
    }
}

/// A complete, synced file beside its destination. If it is dropped before it is put in place, the file is removed.
pub struct Staged {
    aside: PathBuf,
    destination: PathBuf,
}

impl Staged {
    /// Begins an empty temporary file, which the caller fills and syncs. The file is created with `mode` (less the umask), never with a
    /// wider one, and belongs to this process.
    pub fn begin(destination: &Path, mode: u32) -> Result<(Self, File), WriteError> {
        let name = destination.file_name().unwrap_or_default();
        let mut aside_name = OsString::from(".");
        aside_name.push(name);
        aside_name.push(format!(".{:016x}.new", rand::random::<u64>()));
        let aside = destination.with_file_name(aside_name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&aside)
            .map_err(WriteError::at("create", &aside))?;
        Ok((Self { aside, destination: destination.to_owned() }, file))
    }

    /// Writes `bytes` into a temporary file, as [`begin`](Self::begin) creates it. A file that root creates gets the owner of the folder.
    pub fn new(destination: &Path, mode: u32, bytes: &[u8]) -> Result<Self, WriteError> {
        let (staged, mut file) = Self::begin(destination, mode)?;
        File::open(folder_of(destination))
            .and_then(|folder| hand_on(&file, &folder))
            .map_err(WriteError::at("give away", &staged.aside))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(WriteError::at("write", &staged.aside))?;
        Ok(staged)
    }

    /// Puts the file in place, and replaces a file that exists there.
    pub fn replace(self) -> Result<(), WriteError> {
        fs::rename(&self.aside, &self.destination).map_err(WriteError::at("replace", &self.destination))
    }

    /// Puts the file in place. If a file exists there, it stays, and this is an error.
    pub fn create(self) -> Result<(), WriteError> {
        // Unlike a rename, a hard link never replaces a file. Dropping `self` removes the temporary name.
        fs::hard_link(&self.aside, &self.destination).map_err(WriteError::at("create", &self.destination))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename the file is gone already. After an error nothing better can be done.
        let _ = fs::remove_file(&self.aside);
    }
}

/// The folder in which `path` is.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the folder of `path`, so that renames and new names in it survive a power cut.
pub fn sync_folder_of(path: &Path) -> Result<(), WriteError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(WriteError::at("sync folder", folder))
}

/// Writes the file at `path`. A new file gets `mode`; an existing file keeps its mode and owner. A symbolic link stays a link.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), WriteError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&target).ok();
    let staged = Staged::new(&target, mode, bytes)?;
    if let Some(before) = before {
        keep_owner_and_mode(&staged.aside, &before).map_err(WriteError::at("keep the owner and mode of", &target))?;
    }
    staged.replace()?;
    sync_folder_of(&target)
}

fn keep_owner_and_mode(aside: &Path, before: &fs::Metadata) -> io::Result<()> {
    let file = File::open(aside)?;
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
        fchown(&file, Some(before.uid()), Some(before.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_has_the_mode_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write(&path, 0o600, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["key.pem"]);
    }

    #[test]
    fn a_rewrite_keeps_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        write(&path, 0o600, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, 0o644, b"two").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o640));
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, 0o644, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"two");
    }

    #[test]
    fn a_failed_replace_leaves_the_old_one_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that is not empty cannot be replaced by a file.
        let path = folder.path().join("config.toml");
        fs::create_dir_all(path.join("inside")).unwrap();
        let error = write(&path, 0o644, b"new").unwrap_err();
        assert!(error.to_string().contains("config.toml"), "{error}");
        assert!(path.join("inside").is_dir());
        assert_eq!(names(folder.path()), ["config.toml"]);
    }

    #[test]
    fn create_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        Staged::new(&path, 0o644, b"first").unwrap().create().unwrap();
        let second = Staged::new(&path, 0o644, b"second").unwrap().create();
        assert_eq!(second.unwrap_err().error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["backup"]);
    }

    #[test]
    fn a_dropped_file_disappears() {
        let folder = tempfile::tempdir().unwrap();
        drop(Staged::new(&folder.path().join("x"), 0o600, b"x").unwrap());
        assert!(names(folder.path()).is_empty());
    }
}
