//! Attempts to change to another account.
#![allow(unsafe_code)]

use std::io;

use super::syscall::answer;

pub(super) fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: changes what this process may do, and no memory.
    answer(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

pub(super) fn new_user_namespace() -> io::Result<()> {
    // SAFETY: changes what this process may do, and no memory.
    answer(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) }).map(drop)
}
