//! What every worker may do: wait, speak over descriptors it has, take memory, start threads, end.
//!
//! There is nothing here that makes a new way out of the process.

use libc::{
    CLONE_CHILD_CLEARTID, CLONE_FILES, CLONE_FS, CLONE_PARENT_SETTID, CLONE_SETTLS, CLONE_SIGHAND, CLONE_SYSVSEM,
    CLONE_THREAD, CLONE_VM, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFL, FIONBIO, FUTEX_CLOCK_REALTIME,
    FUTEX_PRIVATE_FLAG, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAKE, MSG_FASTOPEN, O_CLOEXEC, O_RDONLY, PR_SET_NAME,
    PROT_EXEC, SIGABRT, SIGBUS, SIGSEGV, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM,
};

use super::rule::{Argument, Rule, has_none_of, is, is_but_for, is_not, is_own_process};

/// The flags of `pthread_create`: a thread, never a process, and in no new namespace.
const THREAD: i32 = CLONE_VM
    | CLONE_FS
    | CLONE_FILES
    | CLONE_SIGHAND
    | CLONE_THREAD
    | CLONE_SYSVSEM
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID;

/// Without `MSG_FASTOPEN`, by which a TCP socket that is not connected would connect without Landlock being asked.
pub(super) const NOT_CONNECTING: Argument = has_none_of(3, MSG_FASTOPEN);

/// The clocks of the machine, coarse ones included, and the processor time of this process and this thread, which are the numbers 0 to 7.
/// Numbers below zero name the clocks of other processes, and would tell of them.
const CLOCK: Argument = has_none_of(0, !7);

/// Flags that may be set or not: the memory is private to this process, and a time limit is by the wall clock.
const FUTEX_FLAGS: i32 = FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;

/// The signal by which glibc changes the account of all threads. glibc sets its handler before the first thread starts.
const SIGSETXID: i32 = 33;

pub(super) const RULES: &[Rule] = &[
    // Waiting.
    allow!(SYS_epoll_create1, "the reactor"),
    allow!(SYS_epoll_ctl, "the reactor watches links and connections"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_epoll_wait, "the reactor waits"),
    allow!(SYS_epoll_pwait, "the same, on architectures without epoll_wait").unseen(),
    allow!(SYS_eventfd2, "one thread wakes the reactor of another"),
    // Locks that inherit priority are left out: the kernel looks up their holder by a process number that the caller writes.
    allow!(SYS_futex, "locks, and threads that wait for work").when(&[is_but_for(1, FUTEX_WAIT, FUTEX_FLAGS)]),
    allow!(SYS_futex, "the same, until a time").when(&[is_but_for(1, FUTEX_WAIT_BITSET, FUTEX_FLAGS)]),
    allow!(SYS_futex, "whoever waits is woken").when(&[is_but_for(1, FUTEX_WAKE, FUTEX_FLAGS)]),
    allow!(SYS_sched_yield, "a thread that spins for a lock lets others go first"),
    allow!(SYS_clock_nanosleep, "a thread that sleeps").when(&[CLOCK]).unseen(),
    allow!(SYS_clock_gettime, "the time, where the clock cannot be read without a call").when(&[CLOCK]).unseen(),
    allow!(SYS_restart_syscall, "a wait goes on after the process was stopped and continued"),
    // Open descriptors.
    allow!(SYS_read, "a reactor that was woken; the socketpair below"),
    allow!(SYS_write, "the log; waking a reactor"),
    allow!(SYS_recvfrom, "links and connections"),
    allow!(SYS_sendto, "links and connections; the last words of a process that makes a call not listed")
        .when(&[NOT_CONNECTING]),
    allow!(SYS_recvmsg, "orders on the control link, with descriptors"),
    allow!(SYS_sendmsg, "reports on the control link").when(&[has_none_of(2, MSG_FASTOPEN)]),
    allow!(SYS_close, "connections and links that end"),
    allow!(SYS_fcntl, "std makes sure that what it closes is open, in builds with debug assertions")
        .when(&[is(1, F_GETFD)]),
    allow!(SYS_fcntl, "links: are they non-blocking?").when(&[is(1, F_GETFL)]),
    allow!(SYS_fcntl, "links become non-blocking").when(&[is(1, F_SETFL)]),
    allow!(SYS_fcntl, "the control link as a socket of the reactor").when(&[is(1, F_DUPFD_CLOEXEC)]),
    allow!(SYS_ioctl, "listener and control link become non-blocking").when(&[is(1, FIONBIO as i32)]),
    allow!(
        SYS_socketpair,
        "tokio tells itself of signals, in builds that share it with gatewayd; it leads nowhere else"
    )
    .when(&[is(0, libc::AF_UNIX), is_but_for(1, SOCK_STREAM, SOCK_CLOEXEC | SOCK_NONBLOCK)]),
    // Memory, never executable.
    allow!(SYS_brk, "memory"),
    allow!(SYS_mmap, "memory, and stacks of threads").when(&[has_none_of(2, PROT_EXEC)]),
    allow!(SYS_mprotect, "memory that becomes usable, and guard pages").when(&[has_none_of(2, PROT_EXEC)]),
    allow!(SYS_munmap, "memory given back"),
    allow!(SYS_mremap, "large buffers that grow"),
    allow!(SYS_madvise, "memory given back, in part"),
    absent!(
        SYS_openat,
        "glibc looks at /proc/sys/vm/overcommit_memory before it gives memory back, and at \
                         /sys/devices/system/cpu/online before it takes more for a new thread; it can do without"
    )
    .when(&[is(2, O_RDONLY | O_CLOEXEC)]),
    // Threads.
    allow!(SYS_clone, "threads").when(&[is(0, THREAD)]),
    absent!(SYS_clone3, "its flags are in memory, where a filter cannot look; glibc falls back to clone"),
    allow!(SYS_set_robust_list, "a thread begins"),
    allow!(SYS_rseq, "a thread begins"),
    allow!(SYS_sigaltstack, "a thread begins and ends: the stack on which its overflow would be noticed"),
    allow!(SYS_prctl, "a thread's name").when(&[is(0, PR_SET_NAME)]),
    allow!(SYS_sched_getaffinity, "how many processors are there?").when(&[is(0, 0)]).unseen(),
    absent!(
        SYS_sched_getaffinity,
        "glibc asks for it with the number of a thread when std looks for the stack of that thread; it can do without"
    )
    .when(&[is_not(0, 0)]),
    allow!(SYS_gettid, "a thread asks for its number, once"),
    allow!(SYS_exit, "a thread ends"),
    // Signals: SIGSYS can be neither handled nor sent.
    allow!(SYS_rt_sigprocmask, "threads begin and end with signals blocked"),
    allow!(SYS_rt_sigaction, "glibc, before the first thread starts").when(&[is(0, SIGSETXID)]),
    allow!(SYS_rt_sigaction, "abort").when(&[is(0, SIGABRT)]).unseen(),
    allow!(SYS_rt_sigaction, "std tells an overflow of the stack from other faults").when(&[is(0, SIGSEGV)]).unseen(),
    allow!(SYS_rt_sigaction, "the same").when(&[is(0, SIGBUS)]).unseen(),
    allow!(SYS_rt_sigreturn, "a handler returns").unseen(),
    allow!(SYS_tgkill, "abort").when(&[is_own_process(0), is(2, SIGABRT)]).unseen(),
    allow!(SYS_getpid, "abort; sled"),
    // Chance.
    allow!(SYS_getrandom, "hash tables and keys"),
    // The end.
    allow!(SYS_exit_group, "the process ends"),
];
