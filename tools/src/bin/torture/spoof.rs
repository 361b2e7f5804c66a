//! Clients that reset their connections before they are let in, byte by byte, without a websocket library that would know
//! better.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use harness::{
    account::{Account, Identity, Registration},
    deadline,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fault::Stage;

/// Connects, gets as far as `stage` in the name of `account`, and resets the connection.
///
/// # Errors
/// If it does not get that far.
pub(crate) async fn reset(account: &Account, clients: SocketAddr, stage: Stage) -> Result<()> {
    deadline::soon("a client to be let down", reset_now(account, clients, stage)).await?
}

async fn reset_now(account: &Account, clients: SocketAddr, stage: Stage) -> Result<()> {
    let mut stream = TcpStream::connect(clients).await?;
    stream.set_nodelay(true)?;
    stream.set_zero_linger()?;
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {clients}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.context("the gateway did not upgrade")?);
    }
    let text = match stage {
        Stage::HalfLogin | Stage::Login => account.login_text(),
        Stage::HalfRegistration => Registration::of(account.era, Identity::random()).init_text(),
    };
    let frame = masked_text(&text);
    let len = match stage {
        Stage::HalfLogin => frame.len() / 2,
        Stage::Login | Stage::HalfRegistration => frame.len(),
    };
    stream.write_all(frame.get(..len).unwrap_or(&frame)).await?;
    // Without lingering, closing is a reset.
    drop(stream);
    Ok(())
}

/// A text frame, masked with zeros.
fn masked_text(text: &str) -> Vec<u8> {
    const FINAL_TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    const LENGTH_OF_16_BITS: u8 = 126;
    let mut frame = vec![FINAL_TEXT];
    match u8::try_from(text.len()) {
        Ok(len) if len < LENGTH_OF_16_BITS => frame.push(MASKED | len),
        _ => {
            frame.push(MASKED | LENGTH_OF_16_BITS);
            frame.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}
