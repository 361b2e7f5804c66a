//! TCP connections from an address of one's own choice: all of 127.0.0.0/8 is this machine, and so is what a namespace routes to
//! itself.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpSocket, TcpStream};

use crate::deadline;

/// Connects from `source`.
///
/// # Errors
/// If nothing listens there.
pub async fn connect(source: impl Into<IpAddr>, to: SocketAddr) -> Result<TcpStream> {
    let source = source.into();
    let socket = socket(source)?;
    let stream = deadline::soon("a connection", socket.connect(to)).await?;
    let stream = stream.with_context(|| format!("cannot connect from {source} to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A socket that connects from `source`.
///
/// # Errors
/// If that is no address of this machine, or none of its ports is free.
pub fn socket(source: IpAddr) -> Result<TcpSocket> {
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((source, 0).into()).with_context(|| format!("cannot connect from {source}"))?;
    Ok(socket)
}
