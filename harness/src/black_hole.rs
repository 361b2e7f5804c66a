//! A way to the gateway on which, from one moment on, nothing moves: no byte, no end, no reset. That is what is left of a
//! client that has lost its network.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The way. Ends with its value, and then its connections do, too.
#[derive(Debug)]
pub struct BlackHole {
    /// What its client connects to.
    pub address: SocketAddr,
    swallows: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl BlackHole {
    /// Leads to `gateway`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn before(gateway: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((gateway.ip(), 0)).await?;
        let address = listener.local_addr()?;
        let (swallows, swallowed) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                ways.spawn(carry(client, gateway, swallowed.clone()));
            }
        });
        Ok(Self { address, swallows, accepting })
    }

    /// From now on nothing moves.
    pub fn swallow(&self) {
        self.swallows.send_replace(true);
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, gateway: SocketAddr, mut swallowed: watch::Receiver<bool>) {
    let Ok(mut gateway) = TcpStream::connect(gateway).await else { return };
    let lost = async { swallowed.wait_for(|swallowed| *swallowed).await.is_ok() };
    let lost = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut gateway) => false,
        lost = lost => lost,
    };
    if lost {
        // Both sockets stay open until the way itself ends.
        std::future::pending().await
    }
}
