//! What comes to the clients port by habit: proxies, uptime checks, and clients on slow lines.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    deadline::{self, bounded},
    gateway::Gateway,
    raw_websocket::upgrade,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// With the settings that `init` writes. The wait is what is tested.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_late_is_served() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut late = TcpStream::connect(gateway.clients).await?;
        sleep(Duration::from_millis(2_500)).await;
        deadline::soon("the answer to an upgrade", upgrade(&mut late)).await??;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_when_it_asks_for_health_gets_a_page() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut probe = TcpStream::connect(gateway.clients).await?;
        probe.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut page = String::new();
        deadline::soon("the page", probe.read_to_string(&mut page)).await??;
        ensure!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        Ok(())
    })
    .await
}
