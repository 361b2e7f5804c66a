//! What the program `rogue_edge` can be told to do, once it has taken the place of `client-edge`.
//!
//! A worker has no arguments and no environment, so it is told over the port that it is to serve. The bytes for its links are
//! made by the test, as those of an attacker would be made outside.

use std::{net::SocketAddr, path::PathBuf, str};

use anyhow::{Context, Result, bail, ensure};
use proto::ipc::{
    codec,
    store_edge::{EdgeToStore, StoreToEdge},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::deadline;

/// One line on a connection of its own. All but the first are answered with what came of it, if the process lives to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Copy everything that follows to the link to `store`, and everything that comes from there back.
    LendLink,
    /// Read a file.
    Read {
        /// Which.
        path: PathBuf,
    },
    /// Write a file.
    Write {
        /// Which.
        path: PathBuf,
    },
    /// Open a TCP connection.
    Connect {
        /// Whereto.
        to: SocketAddr,
    },
    /// Kill a process.
    Kill {
        /// Its number.
        process: i32,
    },
}

impl Order {
    fn to_line(&self) -> String {
        match self {
            Self::LendLink => "lend link\n".to_owned(),
            Self::Read { path } => format!("read {}\n", path.display()),
            Self::Write { path } => format!("write {}\n", path.display()),
            Self::Connect { to } => format!("connect {to}\n"),
            Self::Kill { process } => format!("kill {process}\n"),
        }
    }

    /// What a line without its end says.
    ///
    /// # Errors
    /// If it is no order.
    pub fn from_line(line: &[u8]) -> Result<Self> {
        let line = str::from_utf8(line)?;
        Ok(match line.split_once(' ').context("an order of one word")? {
            ("lend", "link") => Self::LendLink,
            ("read", path) => Self::Read { path: path.into() },
            ("write", path) => Self::Write { path: path.into() },
            ("connect", to) => Self::Connect { to: to.parse()? },
            ("kill", process) => Self::Kill { process: process.parse()? },
            _ => bail!("no order: {line}"),
        })
    }

    /// Has it carried out by the rogue that serves this port. What it answers; nothing, if it died of it.
    ///
    /// # Errors
    /// If it does neither in time.
    pub async fn give(&self, port: SocketAddr) -> Result<Option<String>> {
        let mut connection = TcpStream::connect(port).await?;
        connection.write_all(self.to_line().as_bytes()).await?;
        connection.shutdown().await?;
        let mut answer = String::new();
        // A process that is killed may reset its connections.
        let read = deadline::soon("the rogue's answer", connection.read_to_string(&mut answer)).await?;
        Ok((read.is_ok() && !answer.is_empty()).then_some(answer))
    }
}

/// The link between `store` and the rogue, in the hands of the test.
#[derive(Debug)]
pub struct LentLink {
    connection: TcpStream,
    unread: Vec<StoreToEdge>,
}

impl LentLink {
    /// That of the rogue that serves this port. Each has one to lend, once.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn of(port: SocketAddr) -> Result<Self> {
        let mut connection = TcpStream::connect(port).await?;
        connection.write_all(Order::LendLink.to_line().as_bytes()).await?;
        Ok(Self { connection, unread: Vec::new() })
    }

    /// Asks `store` in due form.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn ask(&mut self, request: &EdgeToStore) -> Result<()> {
        let body = codec::encode_one(request)?;
        self.write(&u32::try_from(body.len())?.to_be_bytes()).await?;
        self.write(&body).await
    }

    /// Sends bytes of any form.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.connection.write_all(bytes).await?)
    }

    /// The next answer of `store`.
    ///
    /// # Errors
    /// If none comes.
    pub async fn answer(&mut self) -> Result<StoreToEdge> {
        if self.unread.is_empty() {
            let mut header = [0; codec::FRAME_HEADER_LEN];
            deadline::soon("a frame of the store", self.connection.read_exact(&mut header)).await??;
            let mut body = vec![0; codec::body_len(header)?];
            deadline::soon("the rest of a frame", self.connection.read_exact(&mut body)).await??;
            self.unread = codec::decode_body(&body)?;
            ensure!(!self.unread.is_empty(), "an empty frame");
        }
        Ok(self.unread.remove(0))
    }
}
