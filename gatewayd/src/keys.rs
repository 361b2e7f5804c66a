//! The gateway's two key pairs on disk.
//!
//! *Holds*: private keys only while `init` creates or checks them, in memory that is wiped. A running supervisor never reads one: it opens
//! the files and passes the descriptors on. *Promises*: a key is never replaced. Either all four files are created, or none.

mod public;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use pem::{KeyTag, PemError};
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

pub use public::{Mismatch, PublicKeyFile, PublicKeys};

use crate::{
    atomic::{Staged, WriteError, sync_folder_of},
    path_guard::PathGuard,
    paths::KeyPaths,
};

/// The mode of all four key files.
pub const FILE_MODE: u32 = 0o600;

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
        "cannot read the key file {}: {error}; run the command as root or as the account that runs the gateway, which must be able to read the file, or correct `{setting}` in \
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
    for path in readable_private(paths, guard)? {
        tracing::warn!(
            id = "GWD-G003", path = %path.display(),
            "other users may read this private key: run `chmod 600` on it"
        );
    }
    Ok(())
}

/// Checks that the private keys can be opened, without reading them. Returns those that other users may read.
pub fn readable_private<'a>(paths: &'a KeyPaths, guard: &PathGuard) -> Result<Vec<&'a Path>, KeyFileError> {
    let mut readable = Vec::new();
    for (setting, path) in
        [("private_identity_key_file", &paths.private_identity), ("private_sphinx_key_file", &paths.private_sphinx)]
    {
        let file = open(guard, setting, path)?;
        let metadata = file.metadata().map_err(read_error(setting, path))?;
        if metadata.mode() & 0o077 != 0 {
            readable.push(path.as_path());
        }
    }
    Ok(readable)
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
mod tests;
