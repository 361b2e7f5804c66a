//! Calls that may tell of another process by its number. With such a number they kill or are absent; without one they work.

use libc::{FUTEX_CLOCK_REALTIME, FUTEX_PRIVATE_FLAG, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAKE};

use super::inmate::{End, ROLES, call, folder, inmate, starters};

/// The number by which a child names the clock of this process's processor time.
fn clock_of_parent() -> i64 {
    !i64::from(std::process::id()) << 3 | 2
}

#[test]
fn asking_for_clocks_or_locks_of_other_processes_kills() {
    let (_folder, directory) = folder();
    let clock = clock_of_parent();
    let lock = |operation: i32| (libc::SYS_futex, [0, operation.into(), 0, 0, 0, 0]);
    let asked = [
        (libc::SYS_clock_gettime, [clock, 0, 0, 0, 0, 0]),
        (libc::SYS_clock_getres, [clock, 0, 0, 0, 0, 0]),
        (libc::SYS_clock_nanosleep, [clock, 0, 0, 0, 0, 0]),
        lock(libc::FUTEX_LOCK_PI),
        lock(libc::FUTEX_TRYLOCK_PI | FUTEX_PRIVATE_FLAG),
        lock(libc::FUTEX_CMP_REQUEUE_PI),
        lock(libc::FUTEX_LOCK_PI2),
    ];
    for starter in starters() {
        for policy in ROLES {
            for (number, arguments) in asked {
                let end = inmate(policy, starter, &directory, |_| call(number, arguments) == 0);
                assert_eq!(end, End::Refused(number), "{} of {starter:?}: {arguments:?}", policy.name);
            }
        }
    }
}

#[test]
fn clocks_of_the_machine_are_read_and_own_locks_waited_for() {
    let (_folder, directory) = folder();
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let time = std::ptr::from_mut(&mut time) as i64;
    // The clocks that a C library asks the kernel for, where it cannot read them by itself.
    let clocks = [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_REALTIME_COARSE,
        libc::CLOCK_MONOTONIC_COARSE,
        libc::CLOCK_BOOTTIME,
    ];
    let lock = std::ptr::from_ref(&1_u32) as i64;
    // The lock has another value than expected, so the call does not wait; and no thread is there to be woken.
    let waits = [FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME];
    let futex = |operation: i32| call(libc::SYS_futex, [lock, operation.into(), 0, 0, 0, 1]);
    for policy in ROLES {
        for starter in starters() {
            let end = inmate(policy, starter, &directory, |_| {
                let reads = |clock: i32| call(libc::SYS_clock_gettime, [clock.into(), time, 0, 0, 0, 0]) == 0;
                clocks.into_iter().all(reads)
            });
            assert_eq!(end, End::Found(true), "{} of {starter:?}", policy.name);
            let end = inmate(policy, starter, &directory, |_| {
                std::thread::sleep(std::time::Duration::from_nanos(1));
                true
            });
            assert_eq!(end, End::Found(true), "{} of {starter:?}", policy.name);
            let end = inmate(policy, starter, &directory, |_| {
                [0, FUTEX_PRIVATE_FLAG].into_iter().all(|whose| {
                    futex(FUTEX_WAKE | whose) == 0
                        && waits.into_iter().all(|wait| futex(wait | whose) == -i64::from(libc::EAGAIN))
                })
            });
            assert_eq!(end, End::Found(true), "{} of {starter:?}", policy.name);
        }
    }
}

#[test]
fn affinity_is_told_of_the_own_process_and_of_no_other() {
    let (_folder, directory) = folder();
    let ask = |pid: u32| {
        let mut processors = [0_u64; 128];
        let (size, place) = (size_of_val(&processors) as i64, processors.as_mut_ptr() as i64);
        call(libc::SYS_sched_getaffinity, [pid.into(), size, place, 0, 0, 0])
    };
    let others = [1, std::process::id()];
    for policy in ROLES {
        for starter in starters() {
            let end =
                inmate(policy, starter, &directory, |_| ask(0) > 0 && others.map(ask) == [-i64::from(libc::ENOSYS); 2]);
            assert_eq!(end, End::Found(true), "{} of {starter:?}", policy.name);
        }
    }
}
