//! One HTTP request, byte by byte, so that a test may send what no library would.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::deadline;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, from the status line to the last header, in lower case.
    pub head: String,
    /// What follows it.
    pub body: String,
}

impl Answer {
    /// The body, read as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// Asks for a path, and reads until the end of the connection.
///
/// # Errors
/// If there is no whole answer.
pub async fn get(server: SocketAddr, path: &str) -> Result<Answer> {
    say(server, format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n").as_bytes()).await
}

/// Sends bytes, and reads until the end of the connection.
///
/// # Errors
/// If there is no whole answer.
pub async fn say(server: SocketAddr, bytes: &[u8]) -> Result<Answer> {
    let speak = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(bytes).await?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await?;
        Ok::<_, std::io::Error>(said)
    };
    let said = String::from_utf8(deadline::soon("an answer over HTTP", speak).await??)?;
    let (head, body) = said.split_once("\r\n\r\n").with_context(|| format!("no head: {said:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    ensure!(head.starts_with("HTTP/1.1 "), "no answer: {said:?}");
    Ok(Answer { status: status.context("no status")?, head: head.to_lowercase(), body: body.to_owned() })
}
