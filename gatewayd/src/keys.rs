//! The gateway's two key pairs on disk.
//!
//! *Holds*: private keys only while `init` creates or checks them, in memory that is wiped. A running supervisor never reads one: it opens
//! the files and passes the descriptors on. *Promises*: a key is never replaced. Either all four files are created, or none.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use pem::{KeyTag, PemError};
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

use crate::{
    atomic::{Staged, WriteError, sync_folder_of},
    path_guard::PathGuard,
    paths::KeyPaths,
};

/// The mode of all four key files.
pub const FILE_MODE: u32 = 0o600;

/// The two public keys, as the network knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKeys {
    /// Ed25519: the identity of the gateway.
    pub identity: [u8; 32],
    /// X25519: the key to which Sphinx packets are encrypted.
    pub sphinx: [u8; 32],
}

impl PublicKeys {
    /// The identity in base58.
    pub fn identity_base58(&self) -> String {
        bs58::encode(self.identity).into_string()
    }

    /// The Sphinx key in base58.
    pub fn sphinx_base58(&self) -> String {
        bs58::encode(self.sphinx).into_string()
    }
}

/// Which of the four files exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// None.
    None,
    /// All.
    All,
    /// Some exist, and these do not.
    Missing(Vec<PathBuf>),
}

/// A public key file that does not belong to its private key file.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} contains {announced}, but the private key in {} belongs to {derived}: one of the two files is of another gateway; restore both \
     from one backup, and do not bond the gateway before they match", public_file.display(), private_file.display()
)]
pub struct Mismatch {
    /// The file of the public key.
    pub public_file: PathBuf,
    /// The file of the private key.
    pub private_file: PathBuf,
    /// The public key in its file, in base58.
    pub announced: String,
    /// The public key that belongs to the private key, in base58.
    pub derived: String,
}

/// One of the two files with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyFile {
    /// Ed25519.
    Identity,
    /// X25519.
    Sphinx,
}

impl PublicKeyFile {
    /// Compares the key in the file with the key that was derived from the private key.
    pub fn check(self, public: &PublicKeys, paths: &KeyPaths, derived: [u8; 32]) -> Result<(), Mismatch> {
        let (announced, public_file, private_file) = match self {
            Self::Identity => (public.identity, &paths.public_identity, &paths.private_identity),
            Self::Sphinx => (public.sphinx, &paths.public_sphinx, &paths.private_sphinx),
        };
        if announced == derived {
            return Ok(());
        }
        Err(Mismatch {
            public_file: public_file.clone(),
            private_file: private_file.clone(),
            announced: bs58::encode(announced).into_string(),
            derived: bs58::encode(derived).into_string(),
        })
    }
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system gave no randomness.
    #[error("the operating system has no randomness for a new key ({0}): try again later")]
    Randomness(String),
    /// A new file could not be written. None of the four is left.
    #[error("{0}; no key was saved: check the folder's owner and free space")]
    Write(#[from] WriteError),
    /// A file could not be opened or read.
    #[error(
        "cannot read the key file {}: {error}; make it readable for the account that runs gatewayd, or correct `{setting}` in \
         config.toml", path.display()
    )]
    Read {
        /// The key in `config.toml` that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        error: io::Error,
    },
    /// A public and a private key file of different gateways.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A file does not contain this key.
    #[error(
        "the key file {} is unusable: {error}; restore it from a backup, or correct `{setting}` in config.toml",
        path.display()
    )]
    Format {
        /// The key in `config.toml` that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PemError,
    },
}

impl KeyPaths {
    /// All four paths.
    pub fn all(&self) -> [&Path; 4] {
        [&self.private_identity, &self.public_identity, &self.private_sphinx, &self.public_sphinx]
    }

    /// Takes each private key from systemd's `$CREDENTIALS_DIRECTORY` (`LoadCredential=`), if a credential of its file name exists.
    pub fn prefer_credentials(&mut self, directory: &Path) {
        for (key, name) in
            [(&mut self.private_identity, "private_identity.pem"), (&mut self.private_sphinx, "private_sphinx.pem")]
        {
            let credential = directory.join(name);
            // A credential that exists and cannot be read is an error later. It must not make the gateway use another key.
            let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            if !fs::symlink_metadata(&credential).as_ref().is_err_and(missing) {
                tracing::info!(path = %credential.display(), "the private key is a credential");
                *key = credential;
            }
        }
    }

    /// Which of the files exist.
    pub fn presence(&self) -> Presence {
        let missing: Vec<_> = self
            .all()
            .into_iter()
            .filter(|path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
            .map(Path::to_owned)
            .collect();
        match missing.len() {
            0 => Presence::All,
            4 => Presence::None,
            _ => Presence::Missing(missing),
        }
    }
}

/// Creates new key pairs and saves them. If one of the files exists already, it stays and nothing is saved.
pub fn create(paths: &KeyPaths) -> Result<PublicKeys, KeyFileError> {
    let identity_seed = random()?;
    let sphinx_key = random()?;
    let public = PublicKeys { identity: identity_of(&identity_seed), sphinx: sphinx_of(&sphinx_key) };
    save(&[
        (&paths.private_identity, KeyTag::Ed25519Private, &identity_seed),
        (&paths.private_sphinx, KeyTag::X25519Private, &sphinx_key),
        (&paths.public_identity, KeyTag::Ed25519Public, &public.identity),
        (&paths.public_sphinx, KeyTag::X25519Public, &public.sphinx),
    ])?;
    Ok(public)
}

fn identity_of(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

fn sphinx_of(key: &[u8; 32]) -> [u8; 32] {
    x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*key)).to_bytes()
}

/// Reads the private keys and checks that the public keys belong to them. Only for commands that end soon; a supervisor leaves this check to
/// its workers.
pub fn check_pairs(paths: &KeyPaths, guard: &PathGuard, public: &PublicKeys) -> Result<(), KeyFileError> {
    let seed = load(guard, "private_identity_key_file", &paths.private_identity, KeyTag::Ed25519Private)?;
    PublicKeyFile::Identity.check(public, paths, identity_of(&seed))?;
    let key = load(guard, "private_sphinx_key_file", &paths.private_sphinx, KeyTag::X25519Private)?;
    PublicKeyFile::Sphinx.check(public, paths, sphinx_of(&key))?;
    Ok(())
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    match SysRng.try_fill_bytes(bytes.as_mut_slice()) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(KeyFileError::Randomness(error.to_string())),
    }
}

fn save(files: &[(&PathBuf, KeyTag, &[u8; 32])]) -> Result<(), WriteError> {
    let staged = files
        .iter()
        .map(|(path, tag, key)| Staged::new(path, FILE_MODE, pem::encode(*tag, key).as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut created = Created(Vec::new());
    for (file, (path, ..)) in staged.into_iter().zip(files) {
        file.create()?;
        created.0.push(path);
    }
    for (path, ..) in files {
        sync_folder_of(path)?;
    }
    created.0.clear();
    Ok(())
}

/// Files that are removed again, unless all could be created.
struct Created<'a>(Vec<&'a Path>);

impl Drop for Created<'_> {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Reads the two public keys.
pub fn load_public(paths: &KeyPaths, guard: &PathGuard) -> Result<PublicKeys, KeyFileError> {
    Ok(PublicKeys {
        identity: *load(guard, "public_identity_key_file", &paths.public_identity, KeyTag::Ed25519Public)?,
        sphinx: *load(guard, "public_sphinx_key_file", &paths.public_sphinx, KeyTag::X25519Public)?,
    })
}

fn load(
    guard: &PathGuard,
    setting: &'static str,
    path: &Path,
    tag: KeyTag,
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    // With capacity for everything that is read, because a buffer that grows would leave a part of a private key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * pem::MAX_FILE_LEN));
    open(guard, setting, path)?
        .take(pem::MAX_FILE_LEN as u64 + 1)
        .read_to_end(&mut text)
        .map_err(read_error(setting, path))?;
    match pem::decode(tag, &text) {
        Ok(key) => Ok(key),
        Err(error) => Err(KeyFileError::Format { setting, path: path.to_owned(), error }),
    }
}

/// Checks that the private keys can be opened, without reading them. Warns if other users may read one.
pub fn check_private(paths: &KeyPaths, guard: &PathGuard) -> Result<(), KeyFileError> {
    for (setting, path) in
        [("private_identity_key_file", &paths.private_identity), ("private_sphinx_key_file", &paths.private_sphinx)]
    {
        let file = open(guard, setting, path)?;
        let metadata = file.metadata().map_err(read_error(setting, path))?;
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(
                path = %path.display(),
                "other users may read this private key: run `chmod 600` on it"
            );
        }
    }
    Ok(())
}

fn open(guard: &PathGuard, setting: &'static str, path: &Path) -> Result<File, KeyFileError> {
    let file = guard.open_file(path).map_err(read_error(setting, path))?;
    let metadata = file.metadata().map_err(read_error(setting, path))?;
    if !metadata.is_file() {
        return Err(read_error(setting, path)(io::Error::other("not a regular file")));
    }
    Ok(file)
}

fn read_error(setting: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |error| KeyFileError::Read { setting, path, error }
}

#[cfg(test)]
mod tests {
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
}
