//! The report of a system call that the policy of this process does not list.
//!
//! The filter could kill the process by itself, but then nobody would know the call. So the filter does not carry out the call and
//! raises SIGSYS instead. The handler here writes the number of the call to the control link, and makes another forbidden call.
//! SIGSYS is blocked while its handler runs, and a forced signal that is blocked kills. So the process dies of SIGSYS, all threads
//! with it, as it would have without a handler.
//!
//! The handler gives an attacker nothing of the call, which is not carried out in any case. The handler cannot be replaced, because
//! the filter does not let SIGSYS be touched. A process that blocks SIGSYS dies without a report. An attacker who controls the
//! process can overwrite memory that the handler uses; then the supervisor gets no report, or a wrong number. With a second thread
//! that changes the stack of the handler the attacker can even leave the handler before the process dies. The filter refuses the
//! call all the same, as often as it is tried.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    io,
};

use ipc::control::{REFUSAL_LEN, encode_refusal};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::step::Why;

/// Every process that closes a jail is started with its control link as standard input.
const CONTROL_LINK: c_int = libc::STDIN_FILENO;

/// A number that no call has; every filter kills for it.
pub(crate) const FATAL: c_int = -1;

/// `SYS_SECCOMP` of `<asm-generic/siginfo.h>`: the signal comes from a filter.
const FROM_A_FILTER: c_int = 1;

/// The part of `siginfo_t` that a filter fills in.
#[repr(C)]
struct Refused {
    signal: c_int,
    error: c_int,
    code: c_int,
    instruction: *const c_void,
    number: c_int,
    architecture: u32,
}

const _: () = assert!(size_of::<Refused>() <= size_of::<libc::siginfo_t>());

/// From now on, a refused call is reported.
pub(crate) fn report() -> Result<(), Why> {
    let action = SigAction::new(SigHandler::SigAction(on_refusal), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler only computes and makes system calls.
    let done = unsafe { sigaction(Signal::SIGSYS, &action) };
    done.map(|_| ()).map_err(|error| Why::new(io::Error::from(error), "this is not known to happen"))
}

extern "C" fn on_refusal(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a valid `siginfo_t`, which is larger than what is read; plain numbers have no wrong values.
    let refused = unsafe { info.cast::<Refused>().read() };
    let mut bytes = [0; REFUSAL_LEN];
    if refused.code == FROM_A_FILTER
        && let Ok(len) = encode_refusal(refused.number.cast_unsigned(), &mut bytes)
    {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the buffer is at least that long. If nothing can be sent, the process dies without a report.
        unsafe { libc::send(CONTROL_LINK, bytes.as_ptr().cast(), len.min(REFUSAL_LEN), flags) };
    }
    // SAFETY: there is no such call.
    unsafe { libc::syscall(FATAL.into()) };
    // SAFETY: this line is reached only without a filter, when the signal came from elsewhere.
    unsafe { libc::_exit(128 + libc::SIGSYS) };
}
