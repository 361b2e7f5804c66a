//! TCP connections from an address of one's own choice: all of 127.0.0.0/8 is this machine.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpSocket, TcpStream};

use crate::deadline;

/// Connects from `source`.
///
/// # Errors
/// If nobody listens there.
pub async fn connect(source: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = deadline::soon("a connection", socket.connect(to)).await?;
    let stream = stream.with_context(|| format!("cannot connect from {source} to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
