//! What a client of today does with its gateway, from its first connection to its last.
//!
//! Every test has several threads, as the programs have that are built on the client: it reads in a task of its own, and
//! relies on that task to notice a dead connection before the next packet is sent.

mod comeback;
mod farewell;
mod login;
mod mail;
mod payment;
