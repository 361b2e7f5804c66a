//! What the processes of the gateway say to each other ([`ipc`], carried by [`link`]) and what the network says ([`wire`]);
//! who may say how much, where a limit is about addresses ([`peer`]), and how much memory all of them may take ([`budget`]).
//!
//! *Trusts* nothing: every decoder here takes bytes from a stranger or from a process that may have been taken over.
//! *Promises*: decoders never panic and never allocate more than the size limit of their format.

pub mod address;
pub mod budget;
pub mod counter;
pub mod ipc;
pub mod link;
pub mod log;
pub mod peer;
pub mod pem;
pub mod wire;
