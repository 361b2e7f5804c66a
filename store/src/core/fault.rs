//! What the core reports of its peers and jobs.

/// Why the core cannot go on as before.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// `mix-ingress` broke a rule: drop its link.
    #[error("mix-ingress: {0}")]
    IngressViolation(#[from] ipc::ingress_store::Rule),
    /// `client-edge` broke a rule: drop its link.
    #[error("client-edge: {0}")]
    EdgeViolation(#[from] session_ipc::Rule),
    /// A job ended without an outcome, which is a bug.
    #[error("a job of the store ended without an outcome")]
    JobDied,
}
