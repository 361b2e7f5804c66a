//! Attempts on processes: to make one, to become another program, and to reach existing ones.
#![allow(unsafe_code)]

use std::{ffi::CString, io, ptr, sync::atomic::AtomicU32};

use super::syscall::answer;

const NO_SIGNAL: i32 = 0;

/// Ends the child.
fn end() -> ! {
    loop {
        // SAFETY: ends this process, which shares no memory with its parent.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
}

pub(super) fn fork() -> io::Result<()> {
    // SAFETY: with no flag but the signal to the parent this is `fork`; this process has one thread, and the child ends at once.
    match answer(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })? {
        0 => end(),
        _ => Ok(()),
    }
}

pub(super) fn fork_by_clone3() -> io::Result<()> {
    // SAFETY: a plain record of numbers, for which zero means the default.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the record outlives the call and is of this size; otherwise as in `fork`.
    let child = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&arguments), size_of::<libc::clone_args>()) };
    match answer(child)? {
        0 => end(),
        _ => Ok(()),
    }
}

/// Returns only if it fails.
pub(super) fn execute(path: &[u8]) -> io::Result<()> {
    let (program, list) = (CString::new(path)?, [ptr::null::<libc::c_char>()]);
    let arguments = [program.as_ptr(), c"-c".as_ptr(), c"exit".as_ptr(), ptr::null()];
    // SAFETY: strings that end in zero, in lists that end in null, all of which outlive the call.
    let failed = unsafe { libc::syscall(libc::SYS_execve, program.as_ptr(), arguments.as_ptr(), list.as_ptr()) };
    answer(failed).map(drop)
}

/// Returns only if it fails.
pub(super) fn execute_at(path: &[u8]) -> io::Result<()> {
    let (program, list) = (CString::new(path)?, [ptr::null::<libc::c_char>()]);
    let arguments = [program.as_ptr(), c"-c".as_ptr(), c"exit".as_ptr(), ptr::null()];
    // SAFETY: strings that end in zero, in lists that end in null, all of which outlive the call.
    let failed = unsafe {
        libc::syscall(libc::SYS_execveat, libc::AT_FDCWD, program.as_ptr(), arguments.as_ptr(), list.as_ptr(), 0)
    };
    answer(failed).map(drop)
}

/// `PTRACE_SEIZE` does not stop the traced process, and ends with this process.
pub(super) fn trace(pid: u32) -> io::Result<()> {
    // SAFETY: reads and writes no memory of ours.
    answer(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) }).map(drop)
}

pub(super) fn signal(pid: u32) -> io::Result<()> {
    // SAFETY: no signal is sent; only the permission is asked for.
    answer(unsafe { libc::syscall(libc::SYS_kill, pid, NO_SIGNAL) }).map(drop)
}

pub(super) fn signal_thread(pid: u32) -> io::Result<()> {
    // SAFETY: no signal is sent; only the permission is asked for.
    answer(unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, NO_SIGNAL) }).map(drop)
}

pub(super) fn queue_signal(pid: u32) -> io::Result<()> {
    // SAFETY: a plain record, for which zero is a value.
    let mut about: libc::siginfo_t = unsafe { std::mem::zeroed() };
    about.si_code = libc::SI_QUEUE;
    // SAFETY: no signal is sent; the record outlives the call.
    answer(unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, NO_SIGNAL, ptr::from_mut(&mut about)) }).map(drop)
}

/// A missing address means success: the kernel looks at the address only after it has given permission.
pub(super) fn read_memory(pid: u32) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: ptr::from_mut(&mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: ptr::without_provenance_mut(0x1000), iov_len: 1 };
    let (here, there) = (ptr::from_ref(&here), ptr::from_ref(&there));
    // As wide as the kernel reads: with a shorter number, garbage in the upper bits would be taken for flags and refused.
    let (one, no_flags) = (1_usize, 0_usize);
    // SAFETY: writes at most one byte to a place of ours; the records outlive the call.
    match answer(unsafe { libc::syscall(libc::SYS_process_vm_readv, pid, here, one, there, one, no_flags) }) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        read => read.map(drop),
    }
}

pub(super) fn read_group(pid: u32) -> io::Result<()> {
    // SAFETY: touches no memory.
    answer(unsafe { libc::syscall(libc::SYS_getpgid, pid) }).map(drop)
}

/// The descriptor is closed when this process ends.
pub(super) fn hold(pid: u32) -> io::Result<()> {
    // SAFETY: makes a descriptor and touches no memory.
    answer(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(drop)
}

pub(super) fn ask_affinity(pid: u32) -> io::Result<()> {
    let mut processors = [0_u64; 128];
    let place = processors.as_mut_ptr();
    // SAFETY: the buffer is ours, and of this size.
    answer(unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid, size_of_val(&processors), place) }).map(drop)
}

/// The kernel's number for the clock of the processor time of `pid`: the inverted process number, and a kind.
fn clock_of(pid: u32) -> i32 {
    /// `CPUCLOCK_SCHED`: the time that it ran.
    const RUN: i32 = 2;
    !pid.cast_signed() << 3 | RUN
}

pub(super) fn read_clock(pid: u32) -> io::Result<()> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the record, which is ours.
    answer(unsafe { libc::syscall(libc::SYS_clock_gettime, clock_of(pid), ptr::from_mut(&mut time)) }).map(drop)
}

pub(super) fn ask_clock(pid: u32) -> io::Result<()> {
    let mut fineness = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the record, which is ours.
    answer(unsafe { libc::syscall(libc::SYS_clock_getres, clock_of(pid), ptr::from_mut(&mut fineness)) }).map(drop)
}

pub(super) fn sleep_by_clock(pid: u32) -> io::Result<()> {
    const RELATIVE: i32 = 0;
    let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (time, rest) = (ptr::from_ref(&no_time), ptr::null::<libc::timespec>());
    // SAFETY: the record outlives the call.
    answer(unsafe { libc::syscall(libc::SYS_clock_nanosleep, clock_of(pid), RELATIVE, time, rest) }).map(drop)
}

/// A taken lock means success: the kernel looks up the holder before it finds that the lock is held.
pub(super) fn take_lock(pid: u32) -> io::Result<()> {
    let lock = AtomicU32::new(pid);
    let (place, no_limit) = (lock.as_ptr(), ptr::null::<libc::timespec>());
    // SAFETY: the lock outlives the call, and nobody else has it.
    match answer(unsafe { libc::syscall(libc::SYS_futex, place, libc::FUTEX_TRYLOCK_PI, 0, no_limit) }) {
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
        taken => taken.map(drop),
    }
}
