//! The report of a child on its control link when its filter kills it.

use std::os::fd::{AsFd, OwnedFd};

use ipc::{codec, control::WorkerReport};
use link::descriptor::receive;

/// The call that the child reports, if it reports one.
pub(crate) fn refused_call(control: &OwnedFd) -> Option<i64> {
    match codec::decode_one(&receive(control.as_fd()).unwrap().0) {
        Ok(WorkerReport::RefuseSyscall { number }) => Some(number.into()),
        _ => None,
    }
}
