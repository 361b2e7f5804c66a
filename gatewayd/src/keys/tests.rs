//! Key files that are new, damaged, exchanged or missing.

use super::*;

fn guard(folder: &tempfile::TempDir) -> PathGuard {
    PathGuard::new(folder.path())
}

fn paths(folder: &Path) -> KeyPaths {
    KeyPaths {
        private_identity: folder.join("private_identity.pem"),
        public_identity: folder.join("public_identity.pem"),
        private_sphinx: folder.join("private_sphinx.pem"),
        public_sphinx: folder.join("public_sphinx.pem"),
    }
}

#[test]
fn new_keys_belong_together_and_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path());
    assert_eq!(paths.presence(), Presence::None);
    let public = create(&paths).unwrap();
    assert_eq!(paths.presence(), Presence::All);
    assert_eq!(load_public(&paths, &guard(&folder)).unwrap(), public);
    check_private(&paths, &guard(&folder)).unwrap();

    let seed = pem::decode(KeyTag::Ed25519Private, &fs::read(&paths.private_identity).unwrap()).unwrap();
    let sphinx = pem::decode(KeyTag::X25519Private, &fs::read(&paths.private_sphinx).unwrap()).unwrap();
    assert_eq!(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes(), public.identity);
    assert_eq!(x25519_dalek::x25519(*sphinx, x25519_dalek::X25519_BASEPOINT_BYTES), public.sphinx);
    for path in paths.all() {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn public_keys_of_another_gateway_are_refused_with_both() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (keys, others) = (paths(folder.path()), paths(other.path()));
    let (mine, theirs) = (create(&keys).unwrap(), create(&others).unwrap());
    check_pairs(&keys, &guard(&folder), &mine).unwrap();
    for wrong in [PublicKeys { sphinx: theirs.sphinx, ..mine }, PublicKeys { identity: theirs.identity, ..mine }] {
        let error = check_pairs(&keys, &guard(&folder), &wrong).unwrap_err().to_string();
        let (announced, derived) = if wrong.sphinx == mine.sphinx {
            (theirs.identity_base58(), mine.identity_base58())
        } else {
            (theirs.sphinx_base58(), mine.sphinx_base58())
        };
        assert!(error.contains(&announced) && error.contains(&derived) && error.contains("/private_"), "{error}");
    }
}

#[test]
fn a_key_that_is_there_stays_and_no_other_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path());
    fs::write(&paths.public_sphinx, "mine").unwrap();
    assert!(matches!(create(&paths), Err(KeyFileError::Write(_))));
    assert_eq!(fs::read(&paths.public_sphinx).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let Presence::Missing(missing) = paths.presence() else {
        panic!("three of four are missing");
    };
    assert_eq!(missing.len(), 3);
}

#[test]
fn a_credential_takes_the_place_of_its_file_only() {
    let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut keys = paths(folder.path());
    create(&keys).unwrap();
    keys.prefer_credentials(credentials.path());
    assert_eq!(keys, paths(folder.path()));
    let credential = credentials.path().join("private_sphinx.pem");
    fs::rename(&keys.private_sphinx, &credential).unwrap();
    assert!(matches!(check_private(&keys, &guard(&folder)), Err(KeyFileError::Read { .. })));
    keys.prefer_credentials(credentials.path());
    assert_eq!(keys, KeyPaths { private_sphinx: credential, ..paths(folder.path()) });
    check_private(&keys, &guard(&folder)).unwrap();
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path());
    create(&paths).unwrap();
    fs::copy(&paths.public_identity, &paths.public_sphinx).unwrap();
    let error = load_public(&paths, &guard(&folder)).unwrap_err().to_string();
    assert!(error.contains("public_sphinx.pem") && error.contains("`public_sphinx_key_file`"), "{error}");

    fs::remove_file(&paths.private_sphinx).unwrap();
    let error = check_private(&paths, &guard(&folder)).unwrap_err().to_string();
    assert!(error.contains("private_sphinx.pem") && error.contains("No such file"), "{error}");
    fs::create_dir(&paths.private_sphinx).unwrap();
    let error = check_private(&paths, &guard(&folder)).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}
