//! Why the gateway does not come up, or cannot go on.

use ipc::Role;

use crate::keys::Mismatch;

/// Why the gateway does not come up.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// A public key file does not belong to the private key.
    #[error(transparent)]
    OtherKey(#[from] Mismatch),
    /// A worker reported why it cannot start.
    #[error("{role} cannot start: {what}")]
    StartFailed {
        /// The worker.
        role: Role,
        /// In its words.
        what: String,
    },
    /// A worker does not come back.
    #[error(
        "{role} could not be started again in {attempts} attempts, the last ended with {how}; the gateway cannot serve without it and ends, \
         so that the service manager starts all of it again; the lines of {role} in the log above say more"
    )]
    Lost {
        /// The worker.
        role: Role,
        /// How many attempts were made.
        attempts: u32,
        /// How the last attempt ended.
        how: String,
    },
    /// A worker hangs again and again.
    #[error(
        "{role} has hung {hangs} times, and replacing it did not help; the gateway ends, so that the service manager starts all of it \
         again; check for a disk that does not answer, memory that is used up, or a processor that has no time left"
    )]
    Hangs {
        /// The worker.
        role: Role,
        /// How many times within an hour.
        hangs: u32,
    },
    /// A worker died again and again, and did not report why.
    #[error(
        "{role} died {deaths} times before the gateway was up, the last time with {how}; its lines in the log above say more, and \
         RUST_LOG=debug logs the most"
    )]
    KeepsDying {
        /// The worker.
        role: Role,
        /// How many times.
        deaths: u32,
        /// How it ended the last time.
        how: String,
    },
}
