//! The process that holds a lock on a directory, as `/proc` shows it. It is shown to the operator; the only decision made from it is how
//! long to wait.

use std::{fmt, fs, os::fd::OwnedFd, os::unix::fs::MetadataExt as _};

use nix::{
    sys::stat::{fstat, major, minor},
    unistd::{Pid, Uid, User},
};

/// Longest command line that is shown, in characters.
const COMMAND_LEN: usize = 160;

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder(Option<HolderDetails>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct HolderDetails {
    pid: Pid,
    account: String,
    command: String,
}

impl LockHolder {
    /// Its number, unless the kernel hides it from this account.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.0.as_ref().map(|known| known.pid)
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(HolderDetails { pid, account, command }) => {
                write!(f, "process {pid} (account {account}, `{command}`)")
            }
            None => f.write_str("a process that is hidden from this account (root can see it in /proc/locks)"),
        }
    }
}

/// Finds the holder of a lock on this directory.
pub(super) fn find(directory: &OwnedFd) -> LockHolder {
    let pid = fstat(directory).ok().and_then(|stat| {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let device = format!("{:02x}:{:02x}", major(stat.st_dev), minor(stat.st_dev));
        pid_in(&locks, &device, stat.st_ino)
    });
    LockHolder(pid.map(describe))
}

/// The process of the `flock` on this inode. Some file systems show another device number in `/proc/locks` than to `fstat`. For those
/// the number of the inode has to be enough.
fn pid_in(locks: &str, device: &str, inode: u64) -> Option<Pid> {
    let mut by_inode = None;
    for line in locks.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (Some("FLOCK"), _, _, Some(pid), Some(file)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some((on, number)) = file.rsplit_once(':') else { continue };
        let pid = pid.parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw);
        if number.parse() != Ok(inode) {
            continue;
        }
        if on == device {
            return pid;
        }
        by_inode = by_inode.or(pid);
    }
    by_inode
}

fn describe(pid: Pid) -> HolderDetails {
    let user = fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| Uid::from_raw(metadata.uid()));
    let account = match user.map(|user| (user, User::from_uid(user))) {
        Some((_, Ok(Some(user)))) => user.name,
        Some((user, _)) => user.to_string(),
        None => "unknown".to_owned(),
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let command = command.trim_end().chars().filter(|letter| !letter.is_control()).take(COMMAND_LEN).collect();
    HolderDetails { pid, account, command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_when_of_this_inode_gives_its_process() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:01:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 08:02:7 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 08:01:7 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 14 08:01:7 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 0 08:01:9 0 EOF\nnonsense\n";
        assert_eq!(pid_in(locks, "08:01", 7), Some(Pid::from_raw(13)));
        assert_eq!(pid_in(locks, "08:05", 7), Some(Pid::from_raw(12)));
        assert_eq!(pid_in(locks, "08:01", 9), None);
        assert_eq!(pid_in(locks, "08:01", 8), None);
    }
}
