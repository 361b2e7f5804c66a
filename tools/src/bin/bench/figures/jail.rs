//! What the jail costs. Two gateways run at once, one in its jail and one with `--insecure-no-sandbox`, and get the same load in
//! turn, in rounds so short that whatever else happens on the machine happens to both; of each pair of rounds the ratio of
//! processor time per packet counts. The median of the ratios is the figure, their quartiles say how far to trust it.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::{account::Account, connection::Connection};

use crate::{
    Era, Scale,
    load::{self, Load, Mail},
    report::{
        Aim, Round,
        Unit::{MicrosPerPacket, Ratio},
        median, quartiles,
    },
    rig::Rig,
    usage::Usage,
};

/// Over which the packets come.
const CONNECTIONS: usize = 4;
/// Between rounds, so that what one gateway still does is not in the way of the other. It counts as part of its round.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let mut jailed = Subject::start(era, &[]).await?;
    let mut open = Subject::start(era, &["--insecure-no-sandbox"]).await?;
    let mut round = Round::default();
    let (mut inside, mut outside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..scale.jail_pairs {
        let loads = (jailed.load(scale.jail_packets)?, open.load(scale.jail_packets)?);
        // Neither is always first.
        let (with, without) = if pair % 2 == 0 {
            let with = jailed.serve(&loads.0, &mut round).await?;
            (with, open.serve(&loads.1, &mut round).await?)
        } else {
            let without = open.serve(&loads.1, &mut round).await?;
            (jailed.serve(&loads.0, &mut round).await?, without)
        };
        inside.push(with);
        outside.push(without);
        ratios.push(with / without);
    }
    let what = format!("online, {} pairs of rounds:", scale.jail_pairs);
    round.add(format!("{what} jailed"), median(&inside), MicrosPerPacket, Aim::None);
    round.add(format!("{what} not jailed"), median(&outside), MicrosPerPacket, Aim::None);
    round.add("processor time per packet, jailed to not jailed", median(&ratios), Ratio, Aim::AtMost(1.03));
    let (low, high) = quartiles(&ratios);
    round.notes.push(format!("half of the ratios are between {low:.3} and {high:.3}"));
    Ok(round)
}

/// A gateway with one client, who is online.
struct Subject {
    rig: Rig,
    account: Account,
    connection: Connection,
    before: Usage,
}

impl Subject {
    async fn start(era: Era, flags: &[&str]) -> Result<Self> {
        let rig = Rig::start_with(era, flags).await?;
        let (account, connection) = rig.online_client().await?;
        let before = Usage::now(&rig.gateway)?;
        Ok(Self { rig, account, connection, before })
    }

    fn load(&self, packets: usize) -> Result<Load> {
        self.rig.load(&[&self.account], packets)
    }

    /// Microseconds per packet since the last round.
    async fn serve(&mut self, load: &Load, round: &mut Round) -> Result<f64> {
        let packets = load.packets.len();
        self.rig.acks.clear();
        let (_, writers) = load.prepare(self.rig.gateway.mix, CONNECTIONS).await?.start();
        let mail = Mail::take(&mut self.connection, packets).await;
        self.rig.acks.wait_for(packets).await.context("no SURB-ack came at all")?;
        let _senders = load::finish(writers).await?;
        tokio::time::sleep(PAUSE).await;
        let now = Usage::now(&self.rig.gateway)?;
        let (micros, _) = now.per_item(&self.before, packets);
        self.before = now;
        round.faults.extend(mail.faults(&self.account, &load.packets)?);
        round.faults.extend(self.rig.acks.faults(&load.packets));
        Ok(micros)
    }
}
