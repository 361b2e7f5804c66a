//! What a client of today does with its gateway, from its first connection to its last.

mod comeback;
mod farewell;
mod login;
mod mail;
mod payment;
