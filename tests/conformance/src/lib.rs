//! The gateway against software that nobody who worked on it wrote: the crates that Nym published, unmodified.
//!
//! A test starts the [`gateway::Gateway`], real supervisor and real workers, and one or more [`client::Client`]s. A client
//! is the published `GatewayClient`; what it sends is made, and what it receives is opened, by the published Sphinx crates.
//! A packet's route has one hop, the gateway itself, so that the gateway is entry, exit and neighbour of itself. Nothing
//! leaves the loopback interface.
//!
//! A gateway that describes itself to the network is read by the published part of the network's [`directory`], which gives it a
//! [`score`] and tells clients where it is.
//!
//! These crates need several hundred others. That is why they are in a workspace of their own, and why nothing of the
//! gateway's own source is used here.

pub mod client;
pub mod deadline;
pub mod directory;
pub mod gateway;
pub mod mail;
pub mod score;
