//! The gateway against client software that nobody who worked on it wrote: the crates that Nym published, unmodified.
//!
//! A test starts the [`gateway::Gateway`], real supervisor and real workers, and one or more [`client::Client`]s. A client
//! is the published `GatewayClient`; what it sends is made, and what it receives is opened, by the published Sphinx crates.
//! A packet's route has one hop, the gateway itself, so that the gateway is entry, exit and neighbour of itself. Nothing
//! leaves the loopback interface.
//!
//! These crates need several hundred others. That is why they are in a workspace of their own, and why nothing of the
//! gateway's own source is used here.

pub mod client;
pub mod deadline;
pub mod gateway;
pub mod mail;
