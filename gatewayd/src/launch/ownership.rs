//! Changes the owner of a directory, and of everything in it that a gateway has made, to the account of the store.
//!
//! A gateway may have run under another account before: nym-gateway 0.10 did, and so does a start without root. Its data must change
//! its owner before the store can open it. The former owner may have put anything into the directory. For this reason no symbolic link
//! is followed, and a file with a second name, which may be outside the directory, is left alone.

use std::{io, os::fd::OwnedFd};

use ipc::jail::Account;
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode, SFlag, fchmod, fstat},
    unistd::{Gid, Uid, fchown, fchownat, getegid, geteuid},
};

use super::data_content::{Entry, FOLDER, Place, kind};
use crate::path_guard::Trusted;

/// The group of the directory may list it and open what is in it.
const OPEN_TO_GROUP: Mode = Mode::S_IRWXU.union(Mode::S_IRGRP).union(Mode::S_IXGRP);

/// Gives `directory`, which is `place`, to `account`. What belongs to `account` already is left alone, and so is what no gateway has made;
/// a file of the gateway that belongs to an account that is not `trusted` is an error.
///
/// Root can open the directory in any case. The account of a unit needs the right to open it at the next start, and gets that right
/// through its group. The owner of `home`, the gateway's folder, decides which of the two cases it is. The account that starts the
/// gateway does not decide: after a start by hand as root, the unit must still be able to open the directory.
///
/// # Errors
/// If the kernel refuses, or the directory contains something that is not the gateway's.
pub(super) fn give(
    directory: &OwnedFd,
    place: Place,
    account: Account,
    home: &OwnedFd,
    trusted: Option<&Trusted>,
) -> io::Result<()> {
    let root = geteuid().is_root();
    if !root && fstat(directory)?.st_uid == account.uid {
        return Ok(());
    }
    give_below(directory, place, account, trusted)?;
    let home = fstat(home)?;
    let (mode, group) = match (root, home.st_uid) {
        (true, 0) => (Mode::S_IRWXU, Gid::from_raw(account.gid)),
        (true, _) => (OPEN_TO_GROUP, Gid::from_raw(home.st_gid)),
        (false, _) => (OPEN_TO_GROUP, getegid()),
    };
    // The mode first, because only root may change the mode of another account's directory.
    fchmod(directory, mode)?;
    let stat = fstat(directory)?;
    if stat.st_uid != account.uid || stat.st_gid != group.as_raw() {
        fchown(directory, Some(Uid::from_raw(account.uid)), Some(group))?;
    }
    Ok(())
}

fn give_below(directory: &OwnedFd, place: Place, account: Account, trusted: Option<&Trusted>) -> io::Result<()> {
    let (user, group) = (Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)));
    let mut listing = Dir::openat(directory, ".", FOLDER, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let known = place.entry(name.to_bytes());
        if known == Entry::OfFileSystem {
            continue;
        }
        // The descriptor that is checked is the one whose owner changes, even if its name leads elsewhere by then.
        let found = match openat(directory, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            // Removed meanwhile, for example by a store that is still ending.
            Err(Errno::ENOENT) => continue,
            found => found?,
        };
        let stat = fstat(&found)?;
        let is_ours = stat.st_uid == account.uid || trusted.is_none_or(|trusted| trusted.has(stat.st_uid));
        match (known, kind(&stat)) {
            (Entry::Folder(_), SFlag::S_IFDIR) | (Entry::File, SFlag::S_IFREG) if !is_ours => {
                return Err(io::Error::other(format!("{name:?} in it belongs to the account {}", stat.st_uid)));
            }
            (Entry::Folder(place), SFlag::S_IFDIR) => {
                let folder = openat(&found, c".", FOLDER, Mode::empty())?;
                give_below(&folder, place, account, trusted)?;
                if !belongs(&fstat(&folder)?, account) {
                    fchown(&folder, user, group)?;
                }
            }
            (Entry::File, SFlag::S_IFREG) if belongs(&stat, account) => {}
            (Entry::File, SFlag::S_IFREG) if stat.st_nlink == 1 => {
                fchownat(&found, c"", user, group, AtFlags::AT_EMPTY_PATH)?;
            }
            _ => tracing::warn!(
                id = "GWD-G009",
                ?name,
                "not a file of the gateway with one name: its owner stays as it is"
            ),
        }
    }
    Ok(())
}

const fn belongs(stat: &FileStat, account: Account) -> bool {
    stat.st_uid == account.uid && stat.st_gid == account.gid
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, File},
        os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
        path::Path,
    };

    use crate::path_guard::PathGuard;

    fn give_as_root(data: &Path, account: Account) -> io::Result<()> {
        let home = data.parent().unwrap();
        let guard = PathGuard::new(home);
        give(&File::open(data)?.into(), Place::Inboxes, account, &File::open(home)?.into(), guard.trusted())
    }

    #[test]
    fn everything_changes_its_owner_and_no_link_is_followed() {
        if !need::root(66) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::create_dir_all(data.join("shares/blobs")).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        for path in [&outside, &data.join("db"), &data.join("shares/blobs/7")] {
            fs::write(path, "x").unwrap();
        }
        symlink(&outside, data.join("conf")).unwrap();
        fs::hard_link(&outside, data.join("reserve")).unwrap();
        let account = Account { uid: 70_003, gid: 70_004 };
        for _ in 0..2 {
            give_as_root(&data, account).unwrap();
            for path in ["", "db", "shares", "shares/blobs", "shares/blobs/7"] {
                let metadata = fs::symlink_metadata(data.join(path)).unwrap();
                assert_eq!((metadata.uid(), metadata.gid()), (70_003, 70_004), "{path}");
            }
            assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
            assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
        }
    }

    #[test]
    fn what_no_gateway_has_made_keeps_its_owner() {
        if !need::root(141) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for path in [".ssh", "www/shares", "lost+found", "mail"] {
            fs::create_dir_all(data.join(path)).unwrap();
        }
        for path in [".ssh/authorized_keys", "www/db", "photo.jpg", "mail/photo.jpg", "mail/lock"] {
            fs::write(data.join(path), "x").unwrap();
        }
        give_as_root(&data, Account { uid: 70_003, gid: 70_004 }).unwrap();
        let owner = |path: &str| fs::metadata(data.join(path)).unwrap().uid();
        for path in
            [".ssh", ".ssh/authorized_keys", "www", "www/shares", "www/db", "photo.jpg", "mail/photo.jpg", "lost+found"]
        {
            assert_eq!(owner(path), 0, "{path}");
        }
        assert_eq!([owner("mail"), owner("mail/lock")], [70_003; 2]);
    }

    #[test]
    fn a_strangers_file_in_the_data_is_refused() {
        if !need::root(66) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("db"), "x").unwrap();
        chown(data.join("db"), Some(70_009), Some(70_009)).unwrap();
        let error = give_as_root(&data, Account { uid: 70_003, gid: 70_004 }).unwrap_err().to_string();
        assert!(error.contains("db") && error.contains("70009"), "{error}");
        assert_eq!(fs::metadata(data.join("db")).unwrap().uid(), 70_009);
    }

    /// The account that owns the gateway's folder can open the directory at its next start, even if root started the gateway before.
    #[test]
    fn data_given_by_root_stays_open_to_the_homes_owner() {
        if !need::root(66) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        chown(folder.path(), Some(70_001), Some(70_002)).unwrap();
        give_as_root(&data, Account { uid: 70_003, gid: 70_004 }).unwrap();
        let metadata = fs::metadata(&data).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (70_003, 70_002, 0o750));
    }
}
