//! A websocket connection to the gateway, frame by frame, with the client library that real clients use.
//!
//! A task of its own reads as soon as something comes, because a websocket client answers Pings while it reads; what came
//! waits here in order. How well-behaved it is can be changed at any time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{deadline, pong_filter::PongFilter};

/// More frames than any test leaves unread.
const INCOMING: usize = 200_000;

/// What came from the gateway. Pings are answered, or not, and not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A control message.
    Text(String),
    /// Sealed traffic.
    Binary(Bytes),
    /// The answer to a Ping.
    Pong(Bytes),
    /// A Close frame, with its code if it has one.
    Close(Option<u16>),
    /// The connection is gone, with or without a Close before.
    End,
}

#[derive(Debug)]
enum Order {
    Send(Message),
    Shut,
}

/// An open websocket. Dropped, it vanishes without a Close, as a client that crashed.
#[derive(Debug)]
pub struct Connection {
    orders: mpsc::Sender<Order>,
    incoming: mpsc::Receiver<Incoming>,
    reads: watch::Sender<bool>,
    withhold_pongs: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// If nothing listens there, or it is no websocket.
    pub async fn open(gateway: SocketAddr) -> Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(gateway).await;
            stream.with_context(|| format!("cannot connect to the clients' port at {gateway}"))
        };
        Self::upgrade(deadline::soon("a connection to the clients' port", connect).await??).await
    }

    /// Upgrades a connection to the gateway.
    ///
    /// # Errors
    /// If it is no websocket.
    pub async fn upgrade(stream: TcpStream) -> Result<Self> {
        deadline::soon("a websocket", Self::upgrade_now(stream)).await?
    }

    async fn upgrade_now(stream: TcpStream) -> Result<Self> {
        let gateway = stream.peer_addr()?;
        stream.set_nodelay(true)?;
        let withhold_pongs = Arc::new(AtomicBool::new(false));
        let filter = PongFilter::new(stream, withhold_pongs.clone());
        let (mut socket, _) = client_async(format!("ws://{gateway}/"), filter)
            .await
            .with_context(|| format!("no websocket at {gateway}"))?;
        socket.get_mut().set_upgraded();
        let (orders, take_orders) = mpsc::channel(64);
        let (report, incoming) = mpsc::channel(INCOMING);
        let (reads, may_read) = watch::channel(true);
        let task = tokio::spawn(drive(socket, take_orders, report, may_read));
        Ok(Self { orders, incoming, reads, withhold_pongs, task })
    }

    /// Whether Pings are answered. They are until something else is said.
    pub fn answer_pings(&self, answer: bool) {
        self.withhold_pongs.store(!answer, Ordering::Relaxed);
    }

    /// Whether the socket is read. It is until something else is said; what came before can still be taken.
    pub fn read_socket(&self, read: bool) {
        self.reads.send_replace(read);
    }

    /// Sends one text frame.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_text(&self, text: impl Into<String>) -> Result<()> {
        self.order(Order::Send(Message::text(text.into()))).await
    }

    /// Sends one binary frame.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_binary(&self, bytes: impl Into<Bytes>) -> Result<()> {
        self.order(Order::Send(Message::binary(bytes.into()))).await
    }

    /// Sends one Ping.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_ping(&self, payload: impl Into<Bytes>) -> Result<()> {
        self.order(Order::Send(Message::Ping(payload.into()))).await
    }

    /// Sends a Close with code 1000.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send_close(&self) -> Result<()> {
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.order(Order::Send(Message::Close(Some(close)))).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        deadline::soon("the websocket to take a frame", self.orders.send(order))
            .await?
            .ok()
            .context("the connection to the gateway is gone")
    }

    /// Has the TCP connection closed without a word, once everything ordered before has been sent. What came until then can
    /// still be taken.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn hang_up(&self) -> Result<()> {
        self.order(Order::Shut).await
    }

    /// Closes the TCP connection without a word, once everything ordered before has been sent.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn vanish(mut self) -> Result<()> {
        // If the connection is gone already, that is what was wanted.
        let _ = self.order(Order::Shut).await;
        deadline::soon("the connection to close", &mut self.task).await??;
        Ok(())
    }

    /// The next frame; [`Incoming::End`] again and again once the connection is gone.
    ///
    /// # Errors
    /// If nothing comes.
    pub async fn next(&mut self) -> Result<Incoming> {
        deadline::soon("something from the gateway", self.next_whenever()).await
    }

    /// The next frame, however long it takes.
    pub async fn next_whenever(&mut self) -> Incoming {
        self.incoming.recv().await.unwrap_or(Incoming::End)
    }

    /// The next frame, which must be text.
    ///
    /// # Errors
    /// If it is something else, or nothing comes.
    pub async fn next_text(&mut self) -> Result<String> {
        match self.next().await? {
            Incoming::Text(text) => Ok(text),
            other => bail!("expected text from the gateway, not {other:?}"),
        }
    }

    /// Takes the next frame, which must be exactly this text.
    ///
    /// # Errors
    /// If it is something else, or nothing comes.
    pub async fn expect_text(&mut self, expected: &str) -> Result<()> {
        let text = self.next_text().await?;
        ensure!(text == expected, "expected {expected} from the gateway, not {text}");
        Ok(())
    }

    /// Checks that the connection is open and nothing is on its way: sends a Ping, whose Pong must come next.
    ///
    /// # Errors
    /// If something else comes.
    pub async fn expect_quiet_and_open(&mut self) -> Result<()> {
        const FENCE: &[u8] = b"fence";
        self.send_ping(FENCE).await?;
        match self.next().await? {
            Incoming::Pong(payload) if payload == FENCE => Ok(()),
            other => bail!("expected nothing but an open connection, not {other:?}"),
        }
    }

    /// Waits for the end of the connection, and returns the codes of the Close frames that came before it.
    ///
    /// # Errors
    /// If it does not end, or something else comes.
    pub async fn wait_for_end(&mut self) -> Result<Vec<Option<u16>>> {
        let mut codes = Vec::new();
        loop {
            match self.next().await? {
                Incoming::End => return Ok(codes),
                Incoming::Close(code) => codes.push(code),
                other => bail!("expected the connection to end, not {other:?}"),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    mut socket: WebSocketStream<PongFilter>,
    mut orders: mpsc::Receiver<Order>,
    report: mpsc::Sender<Incoming>,
    mut may_read: watch::Receiver<bool>,
) {
    loop {
        let reads = *may_read.borrow_and_update();
        let incoming = tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(message)) => {
                    if socket.send(message).await.is_err() && !reads {
                        return;
                    }
                    continue;
                }
                Some(Order::Shut) | None => return,
            },
            changed = may_read.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            frame = socket.next(), if reads => match frame {
                Some(Ok(Message::Text(text))) => Incoming::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
                Some(Ok(Message::Pong(payload))) => Incoming::Pong(payload),
                Some(Ok(Message::Close(close))) => Incoming::Close(close.map(|close| close.code.into())),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => return,
            },
        };
        if report.send(incoming).await.is_err() {
            return;
        }
    }
}
