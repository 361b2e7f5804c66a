//! The parts of every worker's process.
//!
//! - Its life: [`birth`], [`control_link`], [`threads`], [`heartbeat`], and the order to end in [`drain`].
//! - Links to other workers, which outlive a peer: [`duplex`] and [`lossy`].
//! - Limits: connections by address in [`peer`], and memory in [`budget`].
//! - Its numbers: [`counter`], and the build that it is of: [`build`].
//!
//! *Trusts* nothing that arrives: a peer may have been taken over. *Promises*: nothing is queued without a bound.

pub mod birth;
pub mod budget;
pub mod build;
pub mod control_link;
pub mod counter;
pub mod drain;
pub mod duplex;
pub mod heartbeat;
pub mod lossy;
pub mod peer;
pub mod threads;

#[cfg(test)]
mod tests;
