//! What every worker's process is made of: its birth and its end ([`birth`]), links that outlive a peer ([`duplex`], [`lossy`]), the
//! proof that it lives ([`heartbeat`]), its numbers ([`counter`]); who may say how much, where a limit is about addresses ([`peer`]),
//! and how much memory all of them may take ([`budget`]).
//!
//! *Trusts* nothing that arrives: a peer may have been taken over. *Promises*: nothing is queued without a bound.

pub mod birth;
pub mod budget;
pub mod control_link;
pub mod counter;
pub mod duplex;
pub mod heartbeat;
pub mod lossy;
pub mod peer;

#[cfg(test)]
mod tests;
