//! The paths of a gateway's files: `<root>/<id>/{config,data,run}`, with the names of nym-gateway 0.10.1.
//!
//! The root is `$HOME/.nym/gateways`; `--home` or `GATEWAYD_HOME` name another one.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The name of a gateway. It is one path component, so that it cannot lead out of the root. Its characters need no quoting in a shell or
/// in systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayId(String);

/// The longest id, in characters.
const MAX_ID_LEN: usize = 64;

/// The text is no valid id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is the name of a folder: give one word of at most {MAX_ID_LEN} letters (A to Z, a to z), digits, `_`, `-` and `.` that does \
     not begin with `.` or `-`"
)]
pub struct InvalidId;

impl FromStr for GatewayId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if text.is_empty() || text.len() > MAX_ID_LEN || text.starts_with(['.', '-']) || !text.bytes().all(is_fit) {
            return Err(InvalidId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GatewayId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The folder that holds one folder per gateway. Absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Neither a flag nor the environment names a folder.
    #[error("HOME is not set, so there is no place for the gateway's files: set it, or name a folder with --home")]
    NoHome,
    /// `--home` is empty, or it is relative and the working directory is gone.
    #[error("--home {}: {error}; give the path of a folder", path.display())]
    NotAPath {
        /// The value of the flag.
        path: PathBuf,
        /// What the operating system answered.
        error: io::Error,
    },
}

impl Root {
    /// The folder `given` by `--home` or `GATEWAYD_HOME`, else `.nym/gateways` below `user_home` (`$HOME`).
    pub fn new(given: Option<PathBuf>, user_home: Option<OsString>) -> Result<Self, RootError> {
        let path = match (given, user_home) {
            (Some(given), _) => given,
            (None, Some(home)) if !home.is_empty() => Path::new(&home).join(".nym").join("gateways"),
            (None, _) => return Err(RootError::NoHome),
        };
        match std::path::absolute(&path) {
            Ok(absolute) => Ok(Self(absolute)),
            Err(error) => Err(RootError::NotAPath { path, error }),
        }
    }

    /// The folder itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// The paths of one gateway. Those of keys, inboxes and ledger are defaults; its `config.toml` may name others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPaths {
    root: PathBuf,
    home: PathBuf,
}

/// There is no folder of such a gateway.
#[derive(Debug, thiserror::Error)]
#[error("there is no gateway {id}, because {} does not exist: correct --id or --home, or run `gatewayd init`", home.display())]
pub struct NoGateway {
    id: GatewayId,
    home: PathBuf,
}

impl NoGateway {
    /// Tells whether that is so of gateway `id` below `root`. A folder that this account may not see may exist.
    pub fn is_so(root: &Root, id: &GatewayId) -> Option<Self> {
        let home = root.0.join(id.as_str());
        matches!(home.try_exists(), Ok(false)).then(|| Self { id: id.clone(), home })
    }
}

/// The four key files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPaths {
    /// The Ed25519 seed.
    pub private_identity: PathBuf,
    /// The Ed25519 public key.
    pub public_identity: PathBuf,
    /// The X25519 private key.
    pub private_sphinx: PathBuf,
    /// The X25519 public key.
    pub public_sphinx: PathBuf,
}

impl GatewayPaths {
    /// The paths of gateway `id` below `root`.
    pub fn new(root: &Root, id: &GatewayId) -> Self {
        Self { root: root.0.clone(), home: root.0.join(id.as_str()) }
    }

    /// The gateway's name.
    pub fn id(&self) -> String {
        self.home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The folder above all gateways.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The gateway's own folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of `config.toml` and its backups.
    pub fn config_dir(&self) -> PathBuf {
        self.home.join("config")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir().join("config.toml")
    }

    /// The folder of keys, inboxes and ledger.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The four key files, unless the configuration names others.
    pub fn keys(&self) -> KeyPaths {
        let data = self.data_dir();
        KeyPaths {
            private_identity: data.join("private_identity.pem"),
            public_identity: data.join("public_identity.pem"),
            private_sphinx: data.join("private_sphinx.pem"),
            public_sphinx: data.join("public_sphinx.pem"),
        }
    }

    /// The folder of the inboxes, unless the configuration names another.
    pub fn inboxes_dir(&self) -> PathBuf {
        self.data_dir().join("inboxes")
    }

    /// The client ledger, unless the configuration names another. It is a folder, in spite of its name.
    pub fn ledger(&self) -> PathBuf {
        self.data_dir().join("client_ledger.sled")
    }

    /// The folder of the marks of packets seen.
    pub fn replay_dir(&self) -> PathBuf {
        self.data_dir().join("replay")
    }

    /// The folder of the pid lock and the admin socket: the first of systemd's `$RUNTIME_DIRECTORY`, else `run`.
    pub fn run_dir(&self, runtime_directory: Option<OsString>) -> PathBuf {
        runtime_directory
            .as_deref()
            .and_then(|list| std::env::split_paths(list).find(|path| path.is_absolute()))
            .unwrap_or_else(|| self.home.join("run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_one_component() {
        for good in ["demo", "super-gateway_2", "a.b", "7", &"x".repeat(64)] {
            assert_eq!(good.parse::<GatewayId>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(65);
        for bad in ["", ".", "..", ".a", "-x", "/", "a/b", "a/", "../a", "a\0b", "a b", "gäteway", &too_long] {
            assert_eq!(bad.parse::<GatewayId>(), Err(InvalidId), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_id_leaves_the_root(text in "\\PC{0,8}|[./a]{0,6}") {
            if let Ok(id) = text.parse::<GatewayId>() {
                let root = Root::new(Some("/r".into()), None).unwrap();
                let paths = GatewayPaths::new(&root, &id);
                prop_assert_eq!(paths.home().parent(), Some(Path::new("/r")));
                prop_assert_eq!(paths.home().file_name().and_then(|name| name.to_str()), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn the_root_is_below_home_unless_named() {
        let root = |given: Option<&str>, home: Option<&str>| {
            Root::new(given.map(Into::into), home.map(Into::into)).map(|root| root.0)
        };
        assert_eq!(root(None, Some("/home/nym")).unwrap(), Path::new("/home/nym/.nym/gateways"));
        assert_eq!(root(Some("/srv/gw"), Some("/home/nym")).unwrap(), Path::new("/srv/gw"));
        assert!(root(Some("gw"), None).unwrap().is_absolute());
        assert!(matches!(root(None, None), Err(RootError::NoHome)));
        assert!(matches!(root(None, Some("")), Err(RootError::NoHome)));
        assert!(matches!(root(Some(""), None), Err(RootError::NotAPath { .. })));
    }

    #[test]
    fn run_files_go_where_systemd_says() {
        let root = Root::new(Some("/r".into()), None).unwrap();
        let paths = GatewayPaths::new(&root, &"demo".parse().unwrap());
        assert_eq!(paths.run_dir(None), Path::new("/r/demo/run"));
        assert_eq!(paths.run_dir(Some("/run/a:/run/b".into())), Path::new("/run/a"));
        assert_eq!(paths.run_dir(Some("".into())), Path::new("/r/demo/run"));
    }
}
