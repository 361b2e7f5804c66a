//! A client, and a mix node with mail for it, for scripts: `visitor KEYS MIX CLIENTS`, where KEYS is the folder with the gateway's public
//! keys, and the others are its addresses. Each line of the standard input is an order, and is answered with `done` on a line. What does
//! not come out as it should ends the program with an error.
//!
//! | order | |
//! |---|---|
//! | `register` | a new client registers, and leaves |
//! | `leave N` | the mix node brings it N messages, and waits until all are acknowledged |
//! | `fetch` | it logs in, and gets all messages that it has not got yet, in order |

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use harness::{
    client::{Client, Credentials},
    deadline::bounded,
    mixnode::{MixNode, MixSender},
    packet::{FinalHopPacket, expect_in_order},
};
use pem::KeyTag;

struct Visitor {
    identity: [u8; 32],
    sphinx: [u8; 32],
    mix: SocketAddr,
    clients: SocketAddr,
    mixnode: MixNode,
    credentials: Option<Credentials>,
    due: Vec<FinalHopPacket>,
    fetched: Vec<Vec<u8>>,
}

impl Visitor {
    async fn obey(&mut self, order: &str) -> Result<()> {
        match order.split_once(' ').unwrap_or((order, "0")) {
            ("register", _) => {
                let client = Client::register(self.clients, &self.identity).await?;
                self.credentials = Some(client.leave().await?);
            }
            ("leave", count) => {
                let to = self.credentials.as_ref().context("nobody has registered")?.address();
                let mail = self.mixnode.packet_maker(self.sphinx).make_many(to, count.parse()?)?;
                MixSender::connect(self.mix).await?.send_all(&mail).await?;
                self.mixnode.wait_for_acks(&mail).await?;
                self.due.extend(mail);
            }
            ("fetch", _) => {
                let credentials = self.credentials.take().context("nobody has registered")?;
                let last = self.due.last().context("there is no mail")?;
                let mut client = credentials.authenticate(self.clients).await?;
                // Mail of before comes again where the gateway has no proof yet that it was received.
                let mut received = client.messages_until(&last.message).await?;
                received.retain(|message| !self.fetched.contains(message));
                expect_in_order(&received, &self.due)?;
                self.fetched.extend(self.due.drain(..).map(|packet| packet.message));
                self.credentials = Some(client.leave().await?);
            }
            _ => bail!("there is no order {order}"),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, mix, clients] = &*arguments else { bail!("visitor KEYS MIX CLIENTS") };
    let key = |tag, name: &str| -> Result<[u8; 32]> { Ok(*pem::decode(tag, &fs::read(Path::new(keys).join(name))?)?) };
    let mut visitor = Visitor {
        identity: key(KeyTag::Ed25519Public, "public_identity.pem")?,
        sphinx: key(KeyTag::X25519Public, "public_sphinx.pem")?,
        mix: mix.parse()?,
        clients: clients.parse()?,
        mixnode: MixNode::start(harness::gateway::IPV4).await?,
        credentials: None,
        due: Vec::new(),
        fetched: Vec::new(),
    };
    loop {
        let Some(order) = tokio::task::spawn_blocking(|| io::stdin().lines().next()).await? else { return Ok(()) };
        bounded(visitor.obey(&order?)).await?;
        writeln!(io::stdout(), "done")?;
    }
}
