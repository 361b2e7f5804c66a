//! The admin socket of a running gateway: commands ask, the supervisor answers.
//!
//! *Trusts*: root and the account of the supervisor, as the kernel names the peer; from them only short questions of a fixed form.
//! *Promises*: a question that takes long, as those of an audit do, keeps no other waiting. An error here does not stop the gateway.
//!
//! | file | idea |
//! |---|---|
//! | [`wire`] | questions and answers |
//! | [`order`] | the way of an order to the supervisor's loop |
//! | [`store`] | questions that `store` answers |
//! | [`client`], [`error`] | a command's side of a conversation |
//! | [`server`] | the supervisor's side |

pub(crate) mod client;
mod error;
pub(crate) mod order;
pub(crate) mod server;
mod store;
pub mod wire;
