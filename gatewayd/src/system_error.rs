//! An operating system call failed that succeeds on any working machine.

use std::io;

/// The step that failed, and what the operating system answered.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct SystemError {
    step: &'static str,
    source: io::Error,
}

impl SystemError {
    /// For `map_err`: names the step that the error belongs to.
    pub(crate) fn during(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { step, source }
    }
}
