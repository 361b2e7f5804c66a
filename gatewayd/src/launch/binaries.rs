//! The programs of the gateway: beside `gatewayd`, or in `../libexec/gatewayd/`.
//!
//! Those of the workers are opened once, when the gateway starts, and run from these descriptors. *Promises*: a running gateway is of
//! one version, even while the files are replaced.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::libc::O_PATH;

use ipc::Role;

use super::per_role::PerRole;

/// Where the programs may be, relative to the folder of `gatewayd`.
const PLACES: [&str; 2] = ["", "../libexec/gatewayd"];

/// A program that is not installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program `{name}` is neither in {} nor in ../libexec/gatewayd beside that folder, or it is not executable; install all programs of gatewayd together",
    folder.display()
)]
pub struct MissingProgram {
    name: &'static str,
    /// The folder of `gatewayd`.
    folder: PathBuf,
}

/// Why a worker's program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It is not installed.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// It cannot be opened.
    #[error("cannot open the program {}: {source}", path.display())]
    Unopened {
        /// Its path.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The operating system does not tell where `gatewayd` is.
    #[error("cannot find out where gatewayd itself is installed: {0}; is /proc mounted?")]
    Unknown(#[from] io::Error),
}

/// A program that is open.
#[derive(Debug)]
pub(crate) struct Program {
    role: Role,
    /// The path by which the kernel is to run it.
    path: PathBuf,
    /// Keeps `path` valid.
    file: Option<File>,
}

impl Program {
    fn open(role: Role, path: PathBuf) -> Result<Self, BinaryError> {
        // O_PATH, because an account that may run a program may lack the right to read it.
        let opened = File::options().read(true).custom_flags(O_PATH).open(&path);
        let file = opened.map_err(|source| BinaryError::Unopened { path, source })?;
        Ok(Self::opened(role, file))
    }

    fn opened(role: Role, file: File) -> Self {
        Self { role, path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), file: Some(file) }
    }

    /// A script of a test. Its interpreter has to open it by its real path.
    #[cfg(test)]
    pub(crate) fn script(role: Role, path: PathBuf) -> Self {
        Self { role, path, file: None }
    }

    /// The name that lists of processes show.
    pub(crate) const fn name(&self) -> &'static str {
        self.role.name()
    }

    /// Its descriptor, if it has one.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(File::as_fd)
    }

    /// The path by which the kernel finds it, as long as this value lives.
    pub(crate) fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

/// Opens the programs of `roles` that belong to the running `gatewayd`.
///
/// # Errors
/// Names the first that is missing.
pub(crate) fn open(roles: &[Role]) -> Result<PerRole<Option<Program>>, BinaryError> {
    let program = std::env::current_exe()?;
    open_from(program.parent().unwrap_or(Path::new("/")), roles)
}

/// The programs that are handed over to this process, each by its name. Others are not ours, and are closed.
pub(crate) fn handed_over(programs: Vec<(String, OwnedFd)>) -> PerRole<Option<Program>> {
    let mut opened = PerRole::new(|_| None);
    for (name, file) in programs {
        if let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) {
            *opened.get_mut(role) = Some(Program::opened(role, file.into()));
        }
    }
    opened
}

/// Every error with which [`open`] would fail.
pub(crate) fn look_at_programs(roles: &[Role]) -> Vec<BinaryError> {
    match std::env::current_exe() {
        Ok(program) => look_in(program.parent().unwrap_or(Path::new("/")), roles),
        Err(error) => vec![error.into()],
    }
}

fn look_in(folder: &Path, roles: &[Role]) -> Vec<BinaryError> {
    roles.iter().filter_map(|role| open_from(folder, &[*role]).err()).collect()
}

fn open_from(folder: &Path, roles: &[Role]) -> Result<PerRole<Option<Program>>, BinaryError> {
    PerRole::try_new(|role| {
        let open = || Program::open(role, find(role.name(), folder)?);
        roles.contains(&role).then(open).transpose()
    })
}

/// The program `name` that belongs to the `gatewayd` in `folder`.
///
/// # Errors
/// If it is not there.
pub(crate) fn find(name: &'static str, folder: &Path) -> Result<PathBuf, MissingProgram> {
    let found = PLACES.iter().map(|place| folder.join(place).join(name)).find(|path| is_program(path));
    found.ok_or_else(|| MissingProgram { name, folder: folder.to_owned() })
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
        assert!(find("validator-query", &bin).is_err());
        for role in ["store", "mix-ingress", "mix-egress", "validator-query"] {
            install(&libexec.join(role), 0o755);
        }
        install(&bin.join("store"), 0o755);
        install(&bin.join("client-edge"), 0o644);
        let roles = [Role::Store, Role::MixIngress, Role::MixEgress, Role::ClientEdge];
        let error = open_from(&bin, &roles).unwrap_err().to_string();
        assert!(error.contains("`client-edge`") && error.contains(bin.to_str().unwrap()), "{error}");
        let all = look_in(&bin, &[roles.as_slice(), &[Role::HttpApi]].concat());
        let names: Vec<_> = all.iter().map(|error| matches!(error, BinaryError::Missing(_))).collect();
        assert_eq!(names, [true, true], "{all:?}");

        install(&bin.join("client-edge"), 0o755);
        assert!(look_in(&bin, &roles).is_empty());
        assert!(open_from(&bin, &roles).unwrap().get(Role::HttpApi).is_none(), "it does not run");
        assert_eq!(find("store", &bin).unwrap(), bin.join("store"), "beside comes first");
        assert_eq!(find("client-edge", &bin).unwrap(), bin.join("client-edge"));
        let found = find("mix-ingress", &bin).unwrap().canonicalize().unwrap();
        assert_eq!(found, libexec.canonicalize().unwrap().join("mix-ingress"));
        assert!(find("validator-query", &bin).is_ok());
        install(&bin.join("validator-query"), 0o755);
        assert_eq!(find("validator-query", &bin).unwrap(), bin.join("validator-query"));
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
