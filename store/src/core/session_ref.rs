//! The name of a session that a job or a commit carries until its outcome is known.

use session_ipc::SessionId;

/// A session of one incarnation of `client-edge`: a successor numbers its sessions from the start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRef {
    pub(super) edge: u64,
    pub(super) session: SessionId,
}

#[cfg(test)]
impl SessionRef {
    pub(crate) const fn first() -> Self {
        Self { edge: 1, session: SessionId(1) }
    }
}
