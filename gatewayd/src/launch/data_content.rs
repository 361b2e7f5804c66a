//! What a directory of the store may contain: the files of this `store`, and those of nym-gateway 0.10.
//!
//! A setting that names another directory by mistake must not give that directory away, nor have a gateway work in it.
//!
//! *Promises*: [`foreign`] changes nothing, and follows no link.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::PathBuf,
};

use ipc::jail::Account;
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};
use wire::address::ClientAddress;

/// Opens a directory to list it.
pub(super) const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory of the store, or a folder in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The client ledger, a database of sled.
    Ledger,
    /// The inboxes.
    Inboxes,
    /// The marks of packets seen.
    Replay,
    /// The classes of clients, a database of sled in the inboxes.
    Shares,
    /// Stored mail, in the inboxes.
    Mail,
    /// The inbox of one client, as nym-gateway 0.10 kept it.
    OldInbox,
    /// Large values of a database of sled.
    Blobs,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file of the gateway.
    File,
    /// A folder of the gateway.
    Folder(Place),
    /// A file or folder that the file system makes.
    OfFileSystem,
    /// Something that no gateway has made.
    Foreign,
}

impl Place {
    /// What an entry of this name is. Whether it is a file or a folder is for the caller to compare.
    pub(super) fn entry(self, name: &[u8]) -> Entry {
        let Ok(name) = str::from_utf8(name) else { return Entry::Foreign };
        if name == "lost+found" || name.starts_with(".nfs") {
            return Entry::OfFileSystem;
        }
        match self {
            Self::Inboxes if name == "mail" => Entry::Folder(Self::Mail),
            Self::Inboxes if name == "shares" => Entry::Folder(Self::Shares),
            Self::Inboxes if name.parse::<ClientAddress>().is_ok() => Entry::Folder(Self::OldInbox),
            // Earlier versions kept the inboxes in a database, too.
            Self::Ledger | Self::Inboxes | Self::Shares if name == "blobs" => Entry::Folder(Self::Blobs),
            Self::Ledger | Self::Inboxes | Self::Shares if is_of_database(name) => Entry::File,
            Self::Inboxes if name == "mail.restored" => Entry::File,
            Self::Replay if name.starts_with("generation") => Entry::File,
            Self::Mail if is_of_mail(name) => Entry::File,
            Self::Blobs if name.bytes().all(|byte| byte.is_ascii_digit()) => Entry::File,
            // nym-gateway gave random names.
            Self::OldInbox => Entry::File,
            _ => Entry::Foreign,
        }
    }
}

/// A file of sled, of a rewrite, or the mark or the reserve beside them.
fn is_of_database(name: &str) -> bool {
    matches!(name, "db" | "conf" | "records" | "records.part" | "unsynced" | "reserve") || name.starts_with("snap.")
}

fn is_of_mail(name: &str) -> bool {
    name == "lock" || [".mail", ".mail.damaged", ".spare", ".aside"].iter().any(|ending| name.ends_with(ending))
}

/// The first entry that no gateway has made, as a path in `directory`, which is `place`. Only folders that would be given to `store`, the
/// account of the store, are looked into: in one that is its own already, a foreign file is no sign of a mistake.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn foreign(directory: &OwnedFd, place: Place, store: Option<Account>) -> io::Result<Option<PathBuf>> {
    let owner = fstat(directory)?.st_uid;
    if store.is_none_or(|store| store.uid == owner) {
        return Ok(None);
    }
    for name in names(directory)? {
        let entry = place.entry(name.as_encoded_bytes());
        let found = match fstatat(directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            // Removed meanwhile, for example by a store that is still ending.
            Err(Errno::ENOENT) => continue,
            found => found?,
        };
        match (entry, kind(&found)) {
            (Entry::Foreign, _) | (Entry::File, SFlag::S_IFDIR) | (Entry::Folder(_), SFlag::S_IFREG) => {
                return Ok(Some(name.into()));
            }
            (Entry::Folder(place), SFlag::S_IFDIR) => {
                let folder = openat(directory, name.as_os_str(), FOLDER, Mode::empty())?;
                if let Some(below) = foreign(&folder, place, store)? {
                    return Ok(Some(PathBuf::from(name).join(below)));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The names in a directory, in order.
fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut listing = Dir::openat(directory, ".", FOLDER, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// The kind of a file.
pub(super) const fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    const ADDRESS: &str = "Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM";

    /// The first foreign entry of a directory with these entries, of which those that end with a slash are folders.
    fn first_foreign(place: Place, entries: &[&str]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for entry in entries {
            let path = folder.path().join(entry);
            let parent = if entry.ends_with('/') { path.as_path() } else { path.parent().unwrap() };
            fs::create_dir_all(parent).unwrap();
            if !entry.ends_with('/') {
                fs::write(path, "x").unwrap();
            }
        }
        let directory = File::open(folder.path()).unwrap().into();
        let store = Some(Account { uid: 70_003, gid: 70_004 });
        foreign(&directory, place, store).unwrap().map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_any_gateway_has_made_is_its_own() {
        let database =
            ["db", "conf", "snap.0000000000000A5F", "snap.0000000000000A5F.generating", "blobs/123", "records"];
        let beside = ["records.part", "unsynced", "reserve", "lost+found/", ".nfs000000000123", "blobs/"];
        assert_eq!(first_foreign(Place::Ledger, &[&database[..], &beside].concat()), None);
        let message = format!("{ADDRESS}/rX7Kq2bLw0ZtQ9uV");
        let aside = format!("mail/{ADDRESS}-000000000000002a.aside");
        let mail = ["mail/lock", "mail/000000000000002a.mail", "mail/000000000000002a.mail.damaged", &aside];
        let others = ["mail/000000000000002b.spare", "mail.restored", "shares/db", "shares/blobs/", &message];
        assert_eq!(first_foreign(Place::Inboxes, &[&database[..], &beside, &mail, &others].concat()), None);
        let marks = ["generation-07", "generation-even", "generation.new", "generation-03.damaged"];
        assert_eq!(first_foreign(Place::Replay, &marks), None);
    }

    /// An operator may have put a file there, and the gateway must start again.
    #[test]
    fn a_foreign_file_in_the_stores_own_folder_is_let_be() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        let directory: OwnedFd = File::open(folder.path()).unwrap().into();
        let owner = fstat(&directory).unwrap();
        let store = Account { uid: owner.st_uid, gid: owner.st_gid };
        assert_eq!(foreign(&directory, Place::Inboxes, Some(store)).unwrap(), None);
        assert_eq!(foreign(&directory, Place::Inboxes, None).unwrap(), None);
    }

    #[test]
    fn what_no_gateway_has_made_is_foreign_wherever_it_is() {
        let old_inbox = format!("{ADDRESS}/deep/message");
        for (place, entries, wanted) in [
            (Place::Inboxes, &["mail/lock", "www/index.html"][..], "www"),
            (Place::Inboxes, &[".ssh/authorized_keys"], ".ssh"),
            (Place::Inboxes, &["mail/lock", "mail/cur/1"], "mail/cur"),
            (Place::Inboxes, &["shares/db", "shares/photo.jpg"], "shares/photo.jpg"),
            (Place::Inboxes, &["mail"], "mail"),
            (Place::Inboxes, &[&old_inbox], &old_inbox[..ADDRESS.len() + 5]),
            (Place::Ledger, &["db/x", "conf"], "db"),
            (Place::Ledger, &["blobs/x1"], "blobs/x1"),
            (Place::Ledger, &["db", "private_identity.pem"], "private_identity.pem"),
            (Place::Replay, &["generation-07", "db"], "db"),
        ] {
            assert_eq!(first_foreign(place, entries).as_deref(), Some(wanted), "{place:?} {entries:?}");
        }
    }
}
