//! The workers' programs: beside `gatewayd`, or in `../libexec/gatewayd/`.
//!
//! They are opened once, when the gateway starts, and run from these descriptors. *Promises*: whatever happens to the files
//! meanwhile, an upgrade or half of one, a running gateway is of one version.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::libc::O_PATH;

use ipc::Role;

use super::each::Each;

/// Where to look, from the folder of `gatewayd`.
const PLACES: [&str; 2] = ["", "../libexec/gatewayd"];

/// A worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It is not installed.
    #[error(
        "the program `{role}` is neither in {} nor in ../libexec/gatewayd from there; install all programs of \
         gatewayd together", folder.display()
    )]
    Missing {
        /// Which worker.
        role: Role,
        /// The folder of `gatewayd`.
        folder: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open the program {}: {source}", path.display())]
    Closed {
        /// Where it is.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The operating system does not say where this program is.
    #[error("cannot tell where gatewayd itself is installed: {0}; is /proc mounted?")]
    Unknown(#[from] io::Error),
}

/// A program that was opened.
#[derive(Debug)]
pub(super) struct Program {
    role: Role,
    /// How the kernel is told to run it.
    path: PathBuf,
    /// Keeps `path` what it is.
    _file: Option<File>,
}

impl Program {
    fn open(role: Role, path: PathBuf) -> Result<Self, BinaryError> {
        // O_PATH: whoever may run a program need not be allowed to read it.
        let opened = File::options().read(true).custom_flags(O_PATH).open(&path);
        let file = opened.map_err(|source| BinaryError::Closed { path, source })?;
        Ok(Self { role, path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), _file: Some(file) })
    }

    /// A script of a test: its interpreter has to open it by its path.
    #[cfg(test)]
    pub(super) fn script(role: Role, path: PathBuf) -> Self {
        Self { role, path, _file: None }
    }

    /// The name by which lists of processes know it.
    pub(super) const fn name(&self) -> &'static str {
        self.role.name()
    }

    /// Where the kernel finds it, for as long as this value lives.
    pub(super) fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

/// The programs that belong to the running `gatewayd`.
///
/// # Errors
/// Names the first that is missing.
pub(super) fn open() -> Result<Each<Program>, BinaryError> {
    let program = std::env::current_exe()?;
    open_from(program.parent().unwrap_or(Path::new("/")))
}

fn open_from(folder: &Path) -> Result<Each<Program>, BinaryError> {
    Each::try_new(|role| Program::open(role, find(role, folder)?))
}

fn find(role: Role, folder: &Path) -> Result<PathBuf, BinaryError> {
    PLACES
        .iter()
        .map(|place| folder.join(place).join(role.name()))
        .find(|path| is_program(path))
        .ok_or_else(|| BinaryError::Missing { role, folder: folder.to_owned() })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(path: &Path, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn programs_are_beside_or_in_libexec_and_a_missing_one_is_named() {
        let prefix = tempfile::tempdir().unwrap();
        let bin = prefix.path().join("bin");
        let libexec = prefix.path().join("libexec/gatewayd");
        std::fs::create_dir_all(&bin).unwrap();
        for role in ["store", "mix-ingress", "mix-egress"] {
            install(&libexec.join(role), 0o755);
        }
        install(&bin.join("store"), 0o755);
        install(&bin.join("client-edge"), 0o644);
        let error = open_from(&bin).unwrap_err().to_string();
        assert!(error.contains("`client-edge`") && error.contains(bin.to_str().unwrap()), "{error}");

        install(&bin.join("client-edge"), 0o755);
        assert!(open_from(&bin).is_ok());
        assert_eq!(find(Role::Store, &bin).unwrap(), bin.join("store"), "beside comes first");
        assert_eq!(find(Role::ClientEdge, &bin).unwrap(), bin.join("client-edge"));
        let found = find(Role::MixIngress, &bin).unwrap().canonicalize().unwrap();
        assert_eq!(found, libexec.canonicalize().unwrap().join("mix-ingress"));
    }

    #[test]
    fn a_program_is_what_it_was_when_it_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::copy("/bin/true", &path).unwrap();
        let program = Program::open(Role::Store, path.clone()).unwrap();
        std::fs::remove_file(&path).unwrap();
        install(&path, 0o755);
        assert!(std::process::Command::new(program.path()).status().unwrap().success());
    }
}
