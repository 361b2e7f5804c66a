//! Programs that a running gateway is to become: no other account may be able to put something else in their place.
//!
//! They are checked even if this process has no privileges, because an account that can write them can act as that of the gateway.

use std::{io, path::Path};

use super::{
    refusal::{PathError, name_of},
    trusted::Trusted,
    walk::Walk,
};

/// A program that is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramPathError {
    /// Another account owns the way to it.
    #[error(
        "{path} belongs to {owner}, which could change what the gateway runs; install the programs as root in a folder of root, and name that"
    )]
    Owner {
        /// The folder or file.
        path: String,
        /// Its owner.
        owner: String,
    },
    /// Other accounts may write to it.
    #[error(
        "other accounts may write to {path}, and could change what the gateway runs; remove that right (chmod go-w {path})"
    )]
    Writable {
        /// The folder or file.
        path: String,
    },
    /// It cannot be looked at.
    #[error("cannot look at the program {path}: {source}")]
    System {
        /// The program.
        path: String,
        /// What the operating system answered.
        source: io::Error,
    },
}

/// Checks that only root and the account of this process can change the program at `path`, and lead the path elsewhere.
///
/// # Errors
/// If others can, or it is not there.
pub(crate) fn check_program(path: &Path) -> Result<(), ProgramPathError> {
    let trusted = Trusted::of_this_process();
    // The path may end in a link, whose folder must be as safe as that of its target.
    let real = path.canonicalize().map_err(|source| system(path, source))?;
    let walk = Walk::new(Some(&trusted), None, path);
    walk.check_way(path).and_then(|_| walk.check_program(&real)).map_err(|error| match error {
        PathError::Owner { path, owner, .. } => {
            ProgramPathError::Owner { path: path.display().to_string(), owner: name_of(owner) }
        }
        PathError::Writable { path, .. } => ProgramPathError::Writable { path: path.display().to_string() },
        other => system(path, other.into()),
    })
}

fn system(path: &Path, source: io::Error) -> ProgramPathError {
    ProgramPathError::System { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use nix::unistd::{Uid, chown, geteuid};

    use super::*;

    #[test]
    fn a_program_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let program = bin.join("store");
        fs::write(&program, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let check = || check_program(&program).map_err(|error| error.to_string());
        set(&bin, 0o755);
        set(&program, 0o755);
        assert_eq!(check(), Ok(()));
        set(&program, 0o757);
        assert!(check().unwrap_err().contains(&format!("chmod go-w {}", program.display())));
        set(&program, 0o755);
        set(&bin, 0o1777);
        assert_eq!(check().is_ok(), geteuid().is_root(), "in a sticky folder of root nobody can rename it");
        set(&bin, 0o777);
        assert!(check().unwrap_err().contains(&format!("chmod go-w {}", bin.display())));
        set(&bin, 0o755);
        if geteuid().is_root() {
            chown(&program, Some(Uid::from_raw(54_321)), None).unwrap();
            assert!(check().unwrap_err().contains("belongs to the account 54321"));
        }
        fs::remove_file(&program).unwrap();
        assert!(check().unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_link_to_a_program_must_be_in_a_safe_folder() {
        let folder = tempfile::tempdir().unwrap();
        let [safe, open] = ["safe", "open"].map(|name| folder.path().join(name));
        for (path, mode) in [(&safe, 0o755), (&open, 0o777)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        fs::write(safe.join("store"), "").unwrap();
        fs::set_permissions(safe.join("store"), Permissions::from_mode(0o755)).unwrap();
        symlink(safe.join("store"), safe.join("link")).unwrap();
        symlink(safe.join("store"), open.join("link")).unwrap();
        check_program(&safe.join("link")).unwrap();
        assert!(check_program(&open.join("link")).is_err());
    }
}
