//! Stored mail as it is after a while: spread over many inboxes that hold much already, while some is fetched and more comes.

use std::{fs, path::Path};

use anyhow::Result;
use harness::account::Account;
use tokio::task::JoinSet;

use super::{acked::Acked, stored::CONNECTIONS};
use crate::{
    Era, Scale,
    load::{self, Load, Mail},
    report::{Aim, Round, Unit::Ratio},
    rig::{PARALLEL, Rig},
};

/// Rounds of the steady state. In each as many messages come as are fetched.
const ROUNDS: usize = 5;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _watching = rig.online_client().await?;
    let accounts = rig.offline_clients(scale.inboxes).await?;
    let mut faults = Vec::new();
    let filled = store(&rig, &accounts, scale.stored, &mut faults).await?;
    rig.settle().await;

    // What is stored on top of that, before anything is fetched.
    let load = rig.load(&accounts.iter().collect::<Vec<_>>(), scale.packets)?;
    let sending = load.prepare(rig.gateway.mix, CONNECTIONS).await?;
    let acked = Acked::of(&rig, sending, scale.packets).await?;
    faults.extend(rig.acks.faults(&load.packets));

    // Each round a share of the clients comes and fetches all, and as much mail comes again for everybody.
    let store_process = rig.gateway.worker("store")?;
    let written_before = store_process.bytes_written()?;
    let (mut put, mut put_bytes) = (0, 0);
    let mut loads = vec![filled, load];
    let mut alive = loads.iter().flat_map(|load| &load.packets).map(|packet| packet.message.len() as u64).sum::<u64>();
    for part in 0..ROUNDS {
        let coming: Vec<_> = accounts.iter().skip(part).step_by(ROUNDS).cloned().collect();
        let due = |account: &Account| {
            let packets = loads.iter().flat_map(|load| &load.packets);
            packets.filter(|packet| packet.to == account.address()).count()
        };
        let count: usize = scale.packets.min(scale.stored);
        let expected: Vec<_> = coming.iter().map(|account| (account.clone(), due(account))).collect();
        alive -= fetch(&rig, era, expected).await?;
        let gone: std::collections::HashSet<_> = coming.iter().map(Account::address).collect();
        for load in &mut loads {
            load.packets.retain(|packet| !gone.contains(&packet.to));
        }
        let more = store(&rig, &accounts, count, &mut faults).await?;
        let bytes: u64 = more.packets.iter().map(|packet| packet.message.len() as u64).sum();
        (put, put_bytes, alive) = (put + count, put_bytes + bytes, alive + bytes);
        loads.push(more);
    }
    rig.settle().await;
    let written = store_process.bytes_written()? - written_before;
    let on_disk = bytes_in(&rig.gateway.home.data().join("inboxes"))?;

    let mut round = Round::default();
    let over = format!("stored, {} inboxes with {} messages:", scale.inboxes, scale.stored);
    acked.add_to(&mut round, &over, Aim::UnwrapsAtMost(1.1));
    let what = format!("bytes written per byte of mail, {put} messages fetched and put");
    round.add(what, written as f64 / put_bytes.max(1) as f64, Ratio, Aim::AtMost(1.6));
    round.add(
        "bytes on disk per byte alive, after that",
        on_disk as f64 / alive.max(1) as f64,
        Ratio,
        Aim::AtMost(1.7),
    );
    round.faults = faults;
    rig.end(&mut round.faults).await?;
    Ok(round)
}

/// Sends packets to these clients in turn, and waits until all are stored.
async fn store(rig: &Rig, accounts: &[Account], count: usize, faults: &mut Vec<String>) -> Result<Load> {
    let load = rig.load(&accounts.iter().collect::<Vec<_>>(), count)?;
    rig.acks.clear();
    let (_, writers) = load.prepare(rig.gateway.mix, CONNECTIONS).await?.start();
    rig.acks.wait_for(count).await;
    load::finish(writers).await?;
    faults.extend(rig.acks.faults(&load.packets));
    rig.acks.clear();
    Ok(load)
}

/// Has these clients fetch as many messages each, some at a time. Says how many bytes they got.
async fn fetch(rig: &Rig, era: Era, clients: Vec<(Account, usize)>) -> Result<u64> {
    let mut workers = JoinSet::new();
    let share = clients.len().div_ceil(PARALLEL).max(1);
    for part in clients.chunks(share) {
        let (part, gateway) = (part.to_vec(), rig.gateway.clone());
        workers.spawn(async move {
            let mut bytes = 0;
            for (account, due) in part {
                let mut connection = era.log_in(&account, &gateway).await?;
                bytes += Mail::take(&mut connection, due).await.opened_bytes(&account)?;
                crate::rig::leave(connection).await?;
            }
            anyhow::Ok(bytes)
        });
    }
    let mut bytes = 0;
    while let Some(part) = workers.join_next().await {
        bytes += part??;
    }
    Ok(bytes)
}

/// Bytes of all files in a folder, as they take up the disk.
fn bytes_in(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
