//! The last words of a process that makes a system call which its policy does not list.
//!
//! The filter could kill the process by itself; but then nobody would know which call it was. So it does not carry out the
//! call and sends SIGSYS instead; the handler here writes the number of the call to the control link, and makes another
//! such call. SIGSYS is blocked while its handler runs, and a forced signal that is blocked kills: the process dies of
//! SIGSYS, all threads with it, as it would have without a handler.
//!
//! What an attacker gains from there being a handler: nothing of the call, which is not carried out in any case. The handler
//! cannot be replaced, because the filter does not let SIGSYS be touched; to block it is to die without last words. Memory
//! that the handler uses can be overwritten by whoever has the process already; then the supervisor hears nothing, or a
//! lie about a number. With a second thread that changes the stack of the handler it can even be left before it dies: what the
//! filter refuses is refused all the same, as often as it is tried.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    io,
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use proto::ipc::control::{REFUSAL_LEN, encode_refusal};

use crate::step::Why;

/// Every process that closes a jail is born with its control link as standard input.
const CONTROL_LINK: c_int = libc::STDIN_FILENO;

/// There is no such call, and every filter kills for it.
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
        // SAFETY: the buffer is at least that long. If it cannot be sent, the process dies without last words.
        unsafe { libc::send(CONTROL_LINK, bytes.as_ptr().cast(), len.min(REFUSAL_LEN), flags) };
    }
    // SAFETY: there is no such call.
    unsafe { libc::syscall(FATAL.into()) };
    // SAFETY: only reached if there is no filter, and the signal came from elsewhere.
    unsafe { libc::_exit(128 + libc::SIGSYS) };
}
