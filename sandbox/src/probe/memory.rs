//! Attempts to make written data executable.
#![allow(unsafe_code)]

use std::{io, ptr};

use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE};

use super::syscall::answer;

const PAGE: usize = 4096;
/// The memory protection key that all memory has at first.
const NO_KEY: i32 = 0;

fn map(protection: i32) -> io::Result<libc::c_long> {
    let place = ptr::null::<u8>();
    // SAFETY: a fresh mapping at an address that the kernel chooses; nothing refers to it.
    answer(unsafe { libc::syscall(libc::SYS_mmap, place, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0_i64) })
}

pub(super) fn map_executable() -> io::Result<()> {
    map(PROT_READ | PROT_WRITE | PROT_EXEC).map(drop)
}

pub(super) fn protect_executable() -> io::Result<()> {
    let place = map(PROT_READ | PROT_WRITE)?;
    // SAFETY: a mapping of our own that nothing refers to.
    answer(unsafe { libc::syscall(libc::SYS_mprotect, place, PAGE, PROT_READ | PROT_EXEC) }).map(drop)
}

pub(super) fn protect_executable_by_key() -> io::Result<()> {
    let place = map(PROT_READ | PROT_WRITE)?;
    // SAFETY: a mapping of our own that nothing refers to.
    answer(unsafe { libc::syscall(libc::SYS_pkey_mprotect, place, PAGE, PROT_READ | PROT_EXEC, NO_KEY) }).map(drop)
}
