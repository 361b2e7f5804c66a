//! Those who mean well: clients of 2021 and of today, each at an address of its own; the mix nodes that bring them mail and count
//! the acknowledgements; and mix nodes that reconnect for each packet.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use harness::{
    ack_port::AckPort,
    client_model::{ClientModel, Manner},
    deadline,
    era::Era,
    gateway::IPV4,
    mix_model::{self, Addressee, Load, MixModel},
    oracle::{Inbox, Oracle},
    packet::PacketMaker,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::sources::{Block, Target};

/// Acks are all in when none has come for so long.
const QUIET: Duration = Duration::from_millis(1_500);
/// For one client to fetch its mail, and how often that is tried.
const FETCH: Duration = Duration::from_secs(20);
const FETCHES: usize = 3;
/// From one mix node that reconnects to the next.
const NEWCOMERS: Duration = Duration::from_millis(200);
/// A login takes three round trips of a tenth of a second.
const DISTANCE: Duration = Duration::from_millis(300);
/// Clients of each era, by manner.
const CLIENTS: [(Manner, usize); 3] = [(Manner::Online, 4), (Manner::Returning, 6), (Manner::Offline, 2)];
/// The number of the client to which mix nodes write that reconnect.
const OF_NEWCOMERS: Inbox = 0;

/// All of them.
pub(crate) struct Honest {
    oracle: Arc<Oracle>,
    target: Target,
    block: Block,
    clients: Vec<ClientModel>,
    online: Vec<Inbox>,
    acks: AckPort,
}

/// All of them, at work.
pub(crate) struct AtWork {
    oracle: Arc<Oracle>,
    target: Target,
    maker: PacketMaker,
    halt: watch::Sender<bool>,
    clients: JoinSet<Result<ClientModel>>,
    mixnodes: JoinSet<Result<()>>,
    _acks: AckPort,
}

impl Honest {
    /// Has everybody register.
    ///
    /// # Errors
    /// If the gateway refuses one.
    pub(crate) async fn gather(target: Target, oracle: Arc<Oracle>) -> Result<Self> {
        let block = Block { party: 200, has_v6: target.v6.is_some() };
        let acks = AckPort::start(IPV4, oracle.clone()).await?;
        let mut honest = Self { oracle, target, block, clients: Vec::new(), online: Vec::new(), acks };
        honest.register(Era::Of2021, Manner::Online).await?;
        for (manner, count) in CLIENTS {
            for _ in 0..count {
                for era in [Era::Of2021, Era::TODAY] {
                    let inbox = honest.register(era, manner).await?;
                    honest.online.extend((manner == Manner::Online).then_some(inbox));
                }
            }
        }
        Ok(honest)
    }

    async fn register(&mut self, era: Era, manner: Manner) -> Result<Inbox> {
        let inbox = self.clients.len();
        let source = self.block.address(u16::try_from(inbox)?);
        let who = (inbox, era, manner);
        let client =
            ClientModel::register(who, self.target.seen_from(source), &self.target.identity, self.oracle.clone());
        self.clients.push(client.await?.coming_from(source).at_distance(DISTANCE));
        Ok(inbox)
    }

    /// Everybody begins to work.
    ///
    /// # Errors
    /// If there is no client.
    pub(crate) fn begin(self, rate: u32) -> Result<AtWork> {
        let Self { oracle, target, block, clients, acks, .. } = self;
        let maker = acks.packet_maker(target.sphinx);
        let (halt, stop) = watch::channel(false);
        let mut addressees: Vec<_> = clients.iter().map(ClientModel::addressee).collect();
        let of_newcomers = addressees.remove(OF_NEWCOMERS);
        let everybody = watch::Sender::new(addressees);
        let mut at_work = JoinSet::new();
        for client in clients {
            let addrs = watch::Sender::new(client.source().map_or(target.v4, |source| target.seen_from(source)));
            at_work.spawn(client.live(addrs.subscribe(), stop.clone()));
        }
        let mut mixnodes = JoinSet::new();
        for (number, kind) in [(300, mix_model::Kind::Of2021), (301, mix_model::Kind::OfToday)] {
            let source = block.address(number);
            let addrs = watch::Sender::new(target.seen_from(source));
            let node = MixModel::new(kind, maker, oracle.clone(), everybody.subscribe(), addrs.subscribe());
            let load = Load { per_second: rate / 2, surges: None };
            mixnodes.spawn(node.coming_from(source).work(load, stop.clone()));
        }
        mixnodes.spawn(newcomers(oracle.clone(), target, block, maker, of_newcomers, stop));
        Ok(AtWork { oracle, target, maker, halt, clients: at_work, mixnodes, _acks: acks })
    }

    /// Whose mail is to be taken at first try.
    pub(crate) fn online(&self) -> Vec<Inbox> {
        self.online.clone()
    }
}

/// Whether it is the mail of mix nodes that reconnect.
pub(crate) const fn is_of_newcomers(inbox: Inbox) -> bool {
    inbox == OF_NEWCOMERS
}

impl AtWork {
    /// Everybody stops, and then fetches what is there. Returns what did not go as it should.
    ///
    /// # Errors
    /// If one of them does not stop.
    pub(crate) async fn end(mut self) -> Result<Vec<String>> {
        self.halt.send_replace(true);
        while let Some(node) = deadline::soon("a mix node to stop", self.mixnodes.join_next()).await? {
            node??;
        }
        let mut clients = Vec::new();
        while let Some(client) = deadline::soon("a client to stop", self.clients.join_next()).await? {
            clients.push(client??);
        }
        wait_for_quiet(&self.oracle).await;
        let mut fetching = JoinSet::new();
        for client in clients {
            fetching.spawn(fetch_all(client, self.maker, self.oracle.clone(), self.target));
        }
        let mut strange = Vec::new();
        while let Some(fetched) = fetching.join_next().await {
            strange.extend(fetched?.err().map(|error| format!("{error:#}")));
        }
        Ok(strange)
    }
}

/// Mix nodes that the gateway has never seen: each brings one packet.
async fn newcomers(
    oracle: Arc<Oracle>,
    target: Target,
    block: Block,
    maker: PacketMaker,
    to: Addressee,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut pace = interval(NEWCOMERS);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_000_u16.. {
        pace.tick().await;
        if *stop.borrow() {
            break;
        }
        let source = block.address(number);
        let mix = target.seen_from(source).mix;
        if let Err(refused) = mix_model::send_one(maker, &oracle, to, Some(source), mix).await {
            oracle.turned_away(format!("a mix node that reconnected: {}", refused.root_cause()));
        }
    }
    Ok(())
}

async fn wait_for_quiet(oracle: &Oracle) {
    let mut acked = None;
    while acked != Some(oracle.tally().acked) {
        acked = Some(oracle.tally().acked);
        tokio::time::sleep(QUIET).await;
    }
}

/// Has a client fetch everything: mail is in order, so whatever is not there before one last message is gone.
async fn fetch_all(mut client: ClientModel, maker: PacketMaker, oracle: Arc<Oracle>, target: Target) -> Result<()> {
    let source = client.source().context("a client has no address of its own")?;
    let addrs = target.seen_from(source);
    let mut outcome = Ok(());
    for _ in 0..FETCHES {
        let last = mix_model::send_one(maker, &oracle, client.addressee(), None, target.v4.mix).await?;
        outcome = client.fetch(addrs, FETCH, |oracle| oracle.has_delivered(&last)).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
