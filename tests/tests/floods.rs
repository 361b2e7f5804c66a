//! Floods of what the rules of the wire allow one by one: each is cut off every time, and an honest client, at another
//! address, is served as before.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, bail, ensure};
use harness::{
    bystander::{Bystander, gateway_with},
    connection::{Connection, Incoming},
    deadline::{self, bounded},
    hostiles::Hostiles,
    raw_websocket::{self, raw_frame},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// Frames of one client in a row that may be refused.
const MOST: usize = 100;

/// Pings of one client within a minute, and the one with which it is over.
const PINGS: usize = 301;

/// Sends Pings as fast as they are taken, until the gateway ends that. Returns the answers and the code of its Close.
async fn flood(connection: &mut Connection) -> Result<(usize, Option<u16>)> {
    // When no more are taken, the end is near.
    while connection.send_ping(vec![7; 125]).await.is_ok() {}
    let mut answers = 0;
    loop {
        match connection.next().await? {
            Incoming::Pong(_) => answers += 1,
            Incoming::Close(code) => return Ok((answers, code)),
            Incoming::End => return Ok((answers, None)),
            other => bail!("{other:?} is no answer to a Ping"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_floods_with_pings_is_cut_off_every_time() -> Result<()> {
    const FLOODERS: usize = 2;
    bounded(async {
        let mut bystander = Bystander::of(gateway_with(&[]).await?).await?;
        let gateway = bystander.scene.gateway.clients;
        let (cut, mut ended) = watch::channel(0);
        let mut flooders = Hostiles::new()?;
        for _ in 0..FLOODERS {
            let cut = cut.clone();
            flooders.spawn(async move {
                loop {
                    let (answers, code) = flood(&mut Connection::open(gateway).await?).await?;
                    ensure!(answers <= PINGS, "{answers} Pings were answered");
                    ensure!(matches!(code, None | Some(1008)), "a flood ended with {code:?}");
                    cut.send_modify(|cut| *cut += 1);
                }
            });
        }
        let served = async {
            // What is measured before they have begun says nothing.
            deadline::soon("the first floods to be ended", ended.wait_for(|cut| *cut >= FLOODERS)).await??;
            bystander.expect_to_be_served_as_before().await
        };
        tokio::select! {
            served = served => served?,
            ended = flooders.ended() => return ended,
        }
        let cut = *ended.borrow();
        eprintln!("{cut} floods were ended");
        bystander.scene.gateway.expect_counted(&[("client-edge", "frame_floods", cut)]).await
    })
    .await
}

/// The codes of the Close frames among what the gateway wrote, and how many other frames there were.
fn closes(mut written: &[u8]) -> (Vec<u16>, usize) {
    let (mut codes, mut others) = (Vec::new(), 0);
    while let [first, len @ ..126, rest @ ..] = written {
        let (payload, next) = rest.split_at(usize::from(*len).min(rest.len()));
        match (first & 15, payload) {
            (8, [high, low, ..]) => codes.push(u16::from_be_bytes([*high, *low])),
            _ => others += 1,
        }
        written = next;
    }
    (codes, others)
}

/// Something to send without end.
struct Flood {
    name: &'static str,
    begin: Vec<u8>,
    again: Vec<u8>,
    /// The code of the gateway's Close.
    code: u16,
    /// Answers before it, at the most.
    answers: usize,
}

impl Flood {
    const CLOSED_FOR_SIZE: u16 = 1009;
    const CLOSED_FOR_CONDUCT: u16 = 1008;

    /// Sends it until the gateway takes no more, and checks how it ends. Returns whether the Close was received: a late
    /// reader finds the connection reset, because the gateway does not read to the end.
    async fn send(&self, gateway: SocketAddr) -> Result<bool> {
        let mut stream = TcpStream::connect(gateway).await?;
        raw_websocket::upgrade(&mut stream).await?;
        let (mut reading, mut writing) = stream.into_split();
        let many = self.again.repeat((64 << 10) / self.again.len() + 1);
        let write = async {
            if writing.write_all(&self.begin).await.is_ok() {
                while writing.write_all(&many).await.is_ok() {}
            }
        };
        let mut written = Vec::new();
        let read = async { while let Ok(1..) = reading.read_buf(&mut written).await {} };
        deadline::soon(self.name, async { tokio::join!(write, read) }).await?;
        let (codes, answers) = closes(&written);
        ensure!(codes.iter().all(|code| *code == self.code), "{} ended with {codes:?}", self.name);
        ensure!(answers <= self.answers, "{}: {answers} answers", self.name);
        Ok(!codes.is_empty())
    }
}

/// Has an honest client served while two attackers take turns with floods, and checks that each flood was ended and counted.
async fn expect_to_be_served_during(floods: Vec<Flood>, counted: [(&str, usize); 2]) -> Result<()> {
    const FLOODERS: usize = 2;
    const GROWTH: u64 = 4 << 20;
    let mut bystander = Bystander::of(gateway_with(&[]).await?).await?;
    let gateway = bystander.scene.gateway.clients;
    let edge = bystander.scene.gateway.worker("client-edge")?;
    for flood in &floods {
        ensure!(flood.send(gateway).await?, "{} ended without a Close", flood.name);
    }
    let before = edge.resident()?;
    let floods = Arc::new(floods);
    let mut flooders = Hostiles::new()?;
    for _ in 0..FLOODERS {
        let floods = floods.clone();
        flooders.spawn(async move {
            for flood in floods.iter().cycle() {
                flood.send(gateway).await?;
            }
            anyhow::Ok(())
        });
    }
    tokio::select! {
        served = bystander.expect_to_be_served_as_before() => served?,
        ended = flooders.ended() => return ended,
    }
    let after = edge.resident()?;
    ensure!(after <= before + GROWTH, "client-edge grew from {before} to {after} bytes");
    bystander.scene.gateway.expect_counted(&counted.map(|(counter, least)| ("client-edge", counter, least))).await
}

/// Messages of the largest size are refused several times before the connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_ends_the_connection_at_once() -> Result<()> {
    /// The limit after login.
    const LIMIT: usize = 64 << 10;
    /// Near the limit before login, the header of the frame included.
    const ENTRY: usize = 7 << 10;
    let flood =
        |name, message: &[u8], code, answers| Flood { name, begin: Vec::new(), again: message.to_vec(), code, answers };
    let floods = vec![
        flood("binary messages at the limit", &raw_frame(0x82, &[0; ENTRY]), Flood::CLOSED_FOR_CONDUCT, MOST),
        flood("texts at the limit", &raw_frame(0x81, &[b'['; ENTRY]), Flood::CLOSED_FOR_CONDUCT, MOST),
        flood("messages over the limit", &raw_frame(0x82, &[0; LIMIT + 1]), Flood::CLOSED_FOR_SIZE, 0),
        flood("the largest there can be", b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff????", Flood::CLOSED_FOR_SIZE, 0),
    ];
    bounded(expect_to_be_served_during(floods, [("malformed_limit_closures", 2), ("websocket_faults", 2)])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_fragments_and_of_pongs_are_cut_off_every_time() -> Result<()> {
    let flood = |name, begin: &[u8], again: &[u8], code| Flood {
        name,
        begin: begin.to_vec(),
        again: again.to_vec(),
        code,
        answers: 0,
    };
    let beginning = raw_frame(0x02, b"?");
    let floods = vec![
        flood("fragments without content", &beginning, &raw_frame(0, b""), Flood::CLOSED_FOR_CONDUCT),
        flood("fragments of a byte each", &beginning, &raw_frame(0, b"?"), Flood::CLOSED_FOR_CONDUCT),
        flood("a message without end", &beginning, &raw_frame(0, &[0; 1_024]), Flood::CLOSED_FOR_SIZE),
        flood("Pongs that nobody asked for", &[], &raw_frame(0x8a, b""), Flood::CLOSED_FOR_CONDUCT),
    ];
    bounded(expect_to_be_served_during(floods, [("frame_floods", 3), ("websocket_faults", 1)])).await
}
