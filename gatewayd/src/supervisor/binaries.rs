//! Where the workers' programs are: beside `gatewayd`, or in `../libexec/gatewayd/`.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use proto::ipc::Role;

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
    /// The operating system does not say where this program is.
    #[error("cannot tell where gatewayd itself is installed: {0}; is /proc mounted?")]
    Unknown(#[from] io::Error),
}

/// The programs that belong to the running `gatewayd`.
///
/// # Errors
/// Names the first that is missing.
pub(super) fn find() -> Result<Each<PathBuf>, BinaryError> {
    let program = std::env::current_exe()?;
    find_from(program.parent().unwrap_or(Path::new("/")))
}

fn find_from(folder: &Path) -> Result<Each<PathBuf>, BinaryError> {
    Each::try_new(|role| {
        PLACES
            .iter()
            .map(|place| folder.join(place).join(role.name()))
            .find(|path| is_program(path))
            .ok_or_else(|| BinaryError::Missing { role, folder: folder.to_owned() })
    })
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
        let error = find_from(&bin).unwrap_err().to_string();
        assert!(error.contains("`client-edge`") && error.contains(bin.to_str().unwrap()), "{error}");

        install(&bin.join("client-edge"), 0o755);
        let found = find_from(&bin).unwrap();
        assert_eq!(*found.get(Role::Store), bin.join("store"), "beside comes first");
        assert_eq!(*found.get(Role::ClientEdge), bin.join("client-edge"));
        assert_eq!(
            found.get(Role::MixIngress).canonicalize().unwrap(),
            libexec.canonicalize().unwrap().join("mix-ingress")
        );
    }
}
