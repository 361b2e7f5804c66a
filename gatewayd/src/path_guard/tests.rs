use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};

use nix::{fcntl::AtFlags, unistd::fchownat};
use tempfile::TempDir;

use super::*;

/// An account without an entry anywhere.
const STRANGER: u32 = 70_009;

/// A folder of this process with a gateway's folder `demo` in it; none if this process is not root, because the guard is strict only for
/// root.
fn home() -> Option<(TempDir, PathBuf)> {
    if !need::root(66) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("demo");
    fs::create_dir_all(home.join("data")).unwrap();
    Some((folder, home))
}

#[test]
fn a_folder_of_another_account_when_checked_is_refused() {
    let Some((folder, home)) = home() else { return };
    let guard = PathGuard::new(&home);
    guard.check().unwrap();
    for path in [folder.path().to_owned(), home.clone(), home.join("data")] {
        chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        let error = guard.check().unwrap_err().to_string();
        let (path_text, home_text) = (path.display().to_string(), home.display().to_string());
        for part in [&path_text, "70009", "--reuid=70009", &format!("chown -R root:root {home_text}")] {
            assert!(error.contains(part), "{error}");
        }
        assert!(guard.open_file(&home.join("data/x")).is_err());
        chown(&path, Some(0), Some(0)).unwrap();
    }
    guard.check().unwrap();
}

#[test]
fn a_folder_that_others_may_write_is_refused_unless_sticky() {
    let Some((folder, home)) = home() else { return };
    let guard = PathGuard::new(&home);
    for (mode, group, is_good) in
        [(0o777, 0, false), (0o1777, 0, true), (0o775, STRANGER, false), (0o775, 0, true), (0o755, STRANGER, true)]
    {
        chown(folder.path(), None, Some(group)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let checked = guard.check();
        assert_eq!(checked.is_ok(), is_good, "{mode:o} {group}: {checked:?}");
    }
}

#[test]
fn a_link_below_the_home_is_refused_and_one_above_followed() {
    let Some((folder, home)) = home() else { return };
    let above = folder.path().join("above");
    symlink(folder.path(), &above).unwrap();
    let through = above.join("demo");
    let guard = PathGuard::new(&through);
    guard.check().unwrap();
    guard.open_directory(&through.join("data"), None).unwrap();
    // Only a link that root made is followed.
    fchownat(nix::fcntl::AT_FDCWD, &above, Some(STRANGER.into()), None, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
    assert!(matches!(guard.check(), Err(PathError::Link { path }) if path == above));

    let guard = PathGuard::new(&home);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("file"), "x").unwrap();
    symlink(elsewhere.path(), home.join("data/inboxes")).unwrap();
    symlink(elsewhere.path().join("file"), home.join("data/key")).unwrap();
    symlink(elsewhere.path(), folder.path().join("other disk")).unwrap();
    for path in [home.join("data/inboxes"), folder.path().join("other disk")] {
        let error = guard.open_directory(&path, None).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains(path.to_str().unwrap()), "{error}");
        guard.make_directory(&path, 0o700, None).unwrap_err();
    }
    for path in ["data/inboxes/file", "data/key"] {
        guard.open_file(&home.join(path)).unwrap_err();
    }
    guard.open_file(&elsewhere.path().join("file")).unwrap();
}

#[test]
fn a_file_when_it_has_a_second_name_or_another_owner_is_refused() {
    let Some((folder, home)) = home() else { return };
    let (guard, key) = (PathGuard::new(&home), home.join("data/key"));
    fs::write(&key, "x").unwrap();
    guard.open_file(&key).unwrap();
    fs::hard_link(&key, folder.path().join("second")).unwrap();
    assert!(guard.open_file(&key).unwrap_err().to_string().contains("second name"));
    assert!(PathGuard::for_reading(&home).open_file(&key).is_err());
    fs::remove_file(folder.path().join("second")).unwrap();
    chown(&key, Some(STRANGER), None).unwrap();
    assert!(guard.open_file(&key).unwrap_err().to_string().contains("70009"));
    PathGuard::for_reading(&home).open_file(&key).unwrap();
}

#[test]
fn a_file_that_others_may_write_when_opened_is_refused() {
    let Some((_folder, home)) = home() else { return };
    let (guard, file) = (PathGuard::new(&home), home.join("data/config.toml"));
    fs::write(&file, "x").unwrap();
    for (mode, group, is_good) in
        [(0o666, 0, false), (0o602, 0, false), (0o664, STRANGER, false), (0o664, 0, true), (0o644, STRANGER, true)]
    {
        chown(&file, None, Some(group)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        match guard.open_file(&file) {
            Ok(_) => assert!(is_good, "{mode:o} {group}"),
            Err(error) => {
                let remedy = format!("chmod go-w {}", file.display());
                assert!(!is_good && error.to_string().contains(&remedy), "{mode:o} {group}: {error}");
            }
        }
        PathGuard::for_reading(&home).open_file(&file).unwrap();
    }
}

#[test]
fn a_folder_made_by_root_has_the_owner_of_the_one_above() {
    let Some((_folder, home)) = home() else { return };
    let trusted = Trusted { users: vec![0, STRANGER], groups: vec![0] };
    let guard = PathGuard { home: home.clone(), rule: Strictness::Strict(trusted) };
    chown(&home, Some(STRANGER), Some(STRANGER)).unwrap();
    guard.make_directory(&home.join("run/deep"), 0o700, None).unwrap();
    for made in ["run", "run/deep"] {
        let metadata = fs::metadata(home.join(made)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (STRANGER, STRANGER, 0o700));
    }
    // Only the store's directory may belong to the store.
    chown(home.join("data"), Some(70_003), None).unwrap();
    guard.open_directory(&home.join("data"), Some(70_003)).unwrap();
    guard.open_directory(&home.join("data"), None).unwrap_err();
    guard.open_file(&home.join("data/x")).unwrap_err();
}

#[test]
fn links_of_an_account_without_privileges_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    fs::write(real.join("file"), "x").unwrap();
    symlink(&real, &link).unwrap();
    let guard = PathGuard { home: link.clone(), rule: Strictness::AsGiven };
    guard.check().unwrap();
    guard.open_file(&link.join("file")).unwrap();
    guard.make_directory(&link.join("data"), 0o700, None).unwrap();
    assert!(real.join("data").is_dir());
}
