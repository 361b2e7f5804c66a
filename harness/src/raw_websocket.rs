//! A websocket byte by byte, for clients that break its rules.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A frame as a client writes it, masked with zeros. `first` is its first byte.
pub fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&raw_head(first, payload.len())[..], payload].concat()
}

/// What stands before a payload of `len` bytes.
pub fn raw_head(first: u8, len: usize) -> Vec<u8> {
    let length = match len {
        len @ ..126 => vec![0x80 | len as u8],
        len @ ..65_536 => [&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
        len => [&[0x80 | 127][..], &(len as u64).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4]].concat()
}

/// Makes a websocket of a connection to the gateway.
///
/// # Errors
/// If the gateway closes it.
pub async fn upgrade(stream: &mut TcpStream) -> Result<()> {
    let upgrade = "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await?;
    let mut upgraded = Vec::new();
    while !upgraded.ends_with(b"\r\n\r\n") {
        upgraded.push(stream.read_u8().await?);
    }
    Ok(())
}
