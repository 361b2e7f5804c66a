//! Walks a path one folder at a time, each through the descriptor of the one above.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat},
};

use super::{
    refusal::PathError,
    sync::sync_names,
    trusted::{Trusted, hand_on},
};

/// The most links on one path. The kernel follows as many.
const MOST_LINKS: u32 = 40;
/// Opens without the right to read, which is enough to check a folder and to walk on from it.
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowLinks {
    /// Links that root made; if owners do not matter, all.
    OfRoot,
    /// None.
    None,
}

/// A folder that was reached.
#[derive(Debug)]
pub(super) struct OpenFolder {
    /// Its descriptor, through which it cannot be listed.
    pub(super) folder: OwnedFd,
    path: PathBuf,
}

impl OpenFolder {
    /// `/`.
    pub(super) fn root() -> Result<Self, PathError> {
        let path = PathBuf::from("/");
        let folder = nix::fcntl::open("/", PLACE | OFlag::O_DIRECTORY, Mode::empty());
        Ok(Self { folder: folder.map_err(PathError::system(&path))?, path })
    }
}

/// The rules of one walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    trusted: Option<&'a Trusted>,
    /// A further account that may own the last folder.
    owner: Option<u32>,
    home: &'a Path,
    /// The mode with which missing folders are created; none if they are an error.
    making: Option<u32>,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(trusted: Option<&'a Trusted>, owner: Option<u32>, home: &'a Path) -> Self {
        Self { trusted, owner, home, making: None }
    }

    /// Creates missing folders.
    pub(super) const fn making(self, mode: u32) -> Self {
        Self { making: Some(mode), ..self }
    }

    /// Walks `path` from `place`, through folders of trusted accounts.
    pub(super) fn go(&self, place: OpenFolder, path: &Path, links: FollowLinks) -> Result<OpenFolder, PathError> {
        let no_other_owner = Self { owner: None, ..*self };
        no_other_owner.follow(place, path, links, MOST_LINKS)
    }

    /// As [`go`](Self::go), without following links, to a folder that may belong to `owner`.
    pub(super) fn go_to_last(&self, place: OpenFolder, path: &Path) -> Result<OpenFolder, PathError> {
        let Some(last) = path.file_name() else { return Ok(place) };
        let above = self.go(place, path.parent().unwrap_or(Path::new("")), FollowLinks::None)?;
        self.step(above, Path::new(last), FollowLinks::None, MOST_LINKS)
    }

    fn follow(
        &self,
        mut place: OpenFolder,
        path: &Path,
        links: FollowLinks,
        left: u32,
    ) -> Result<OpenFolder, PathError> {
        for component in path.components() {
            place = match component {
                Component::RootDir => OpenFolder::root()?,
                Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => self.step(place, Path::new(".."), links, left)?,
                Component::Normal(name) => self.step(place, Path::new(name), links, left)?,
            };
        }
        Ok(place)
    }

    fn step(&self, place: OpenFolder, name: &Path, links: FollowLinks, left: u32) -> Result<OpenFolder, PathError> {
        let path = place.path.join(name);
        let found = match openat(&place.folder, name, PLACE, Mode::empty()) {
            Err(Errno::ENOENT) if self.making.is_some() => self.make(&place, name, &path)?,
            found => found.map_err(PathError::system(&path))?,
        };
        let stat = fstat(&found).map_err(PathError::system(&path))?;
        match kind(&stat) {
            SFlag::S_IFDIR => {
                let place = OpenFolder { folder: found, path };
                self.check_folder(&place)?;
                Ok(place)
            }
            SFlag::S_IFLNK => {
                let made_by_root = self.trusted.is_none() || stat.st_uid == 0;
                if links == FollowLinks::None || !made_by_root {
                    return Err(PathError::Link { path });
                }
                let left = left.checked_sub(1).ok_or(Errno::ELOOP).map_err(PathError::system(&path))?;
                let target = readlinkat(&found, "").map_err(PathError::system(&path))?;
                self.follow(place, Path::new(&target), links, left)
            }
            _ => Err(PathError::system(&path)(Errno::ENOTDIR)),
        }
    }

    /// Creates a folder. It gets the owner of the folder above.
    fn make(&self, above: &OpenFolder, name: &Path, path: &Path) -> Result<OwnedFd, PathError> {
        let mode = Mode::from_bits_truncate(self.making.unwrap_or(0o700));
        let made = mkdirat(&above.folder, name, mode)
            .and_then(|()| openat(&above.folder, name, PLACE | OFlag::O_DIRECTORY, Mode::empty()));
        let made = made.map_err(PathError::system(path))?;
        match hand_on(&made, &above.folder).and_then(|()| sync_names(&above.folder)) {
            Ok(()) => Ok(made),
            Err(source) => Err(PathError::System { path: path.to_owned(), source }),
        }
    }

    fn check_folder(&self, place: &OpenFolder) -> Result<(), PathError> {
        let Some(trusted) = self.trusted else { return Ok(()) };
        let stat = fstat(&place.folder).map_err(PathError::system(&place.path))?;
        self.check_rights(trusted, &place.path, &stat)
    }

    /// Checks that no other account owns or may write what has this path. In a sticky folder of root, only the owner of an entry can rename it.
    fn check_rights(&self, trusted: &Trusted, path: &Path, stat: &FileStat) -> Result<(), PathError> {
        if !trusted.has(stat.st_uid) && self.owner != Some(stat.st_uid) {
            let (path, home) = (path.to_owned(), self.home.to_owned());
            return Err(PathError::Owner { path, owner: stat.st_uid, home });
        }
        let mode = Mode::from_bits_truncate(stat.st_mode);
        let sticky = kind(stat) == SFlag::S_IFDIR && mode.contains(Mode::S_ISVTX) && stat.st_uid == 0;
        let by_group = mode.contains(Mode::S_IWGRP) && !trusted.has_group(stat.st_gid);
        if !sticky && (by_group || mode.contains(Mode::S_IWOTH)) {
            return Err(PathError::Writable { path: path.to_owned(), mode: stat.st_mode & 0o7777 });
        }
        Ok(())
    }

    /// Checks the folders of `path`. Links of root are followed.
    pub(super) fn check_way(&self, path: &Path) -> Result<OpenFolder, PathError> {
        self.go(OpenFolder::root()?, path.parent().unwrap_or(path), FollowLinks::OfRoot)
    }

    /// Checks the folders of a program, and the program itself, which is no link.
    pub(super) fn check_program(&self, path: &Path) -> Result<(), PathError> {
        let folder = self.check_way(path)?;
        let Some(name) = path.file_name() else { return Err(PathError::system(path)(Errno::EISDIR)) };
        let file = openat(&folder.folder, name, PLACE, Mode::empty()).map_err(PathError::system(path))?;
        let stat = fstat(&file).map_err(PathError::system(path))?;
        self.trusted.map_or(Ok(()), |trusted| self.check_rights(trusted, path, &stat))
    }

    /// Opens the file of `path` in `folder`. No other account may own or write it.
    pub(super) fn open_file(&self, folder: &OpenFolder, path: &Path, flags: OFlag) -> Result<File, PathError> {
        let Some(name) = path.file_name() else { return Err(PathError::system(path)(Errno::EISDIR)) };
        let file = match openat(&folder.folder, name, flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ELOOP) => return Err(PathError::Link { path: path.to_owned() }),
            file => file.map_err(PathError::system(path))?,
        };
        let stat = fstat(&file).map_err(PathError::system(path))?;
        if kind(&stat) == SFlag::S_IFREG {
            self.check_file(path, &stat)?;
            self.trusted.map_or(Ok(()), |trusted| self.check_rights(trusted, path, &stat))?;
        }
        Ok(file.into())
    }

    /// Checks that a file is a regular file with one name, of a trusted account.
    pub(super) fn check_file(&self, path: &Path, stat: &FileStat) -> Result<(), PathError> {
        let path = path.to_owned();
        if kind(stat) != SFlag::S_IFREG {
            return Err(PathError::NotAFile { path });
        }
        if stat.st_nlink != 1 {
            return Err(PathError::SecondName { path });
        }
        match self.trusted {
            Some(trusted) if !trusted.has(stat.st_uid) => {
                Err(PathError::Owner { path, owner: stat.st_uid, home: self.home.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// The kind of a file.
const fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
