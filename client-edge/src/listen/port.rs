//! The port of the clients.

use std::net::TcpListener;

use tokio::sync::watch;

/// Where clients connect.
#[derive(Debug)]
pub struct ClientPort {
    /// The listener.
    pub listener: TcpListener,
    /// Whether new clients are let in.
    pub newcomers: watch::Receiver<bool>,
}
