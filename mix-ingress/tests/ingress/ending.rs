//! How the worker ends.

use std::sync::Arc;

use tokio::net::TcpStream;
use wire::{framing::Framing, packet::PacketSize};
use worker::control_link::Ending;

use crate::{
    packets::made,
    peers::soon,
    rig::{CONFIG, Rig, value},
};

#[tokio::test]
async fn a_drain_waits_for_answers_and_pays_the_acks() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let sample = made(0, PacketSize::Regular);
    node.send(&sample).await;
    let delivered = store.next().await;
    let (address, counters) = (rig.address, Arc::clone(&rig.counters));
    let ended = rig.end(Ending::Drain);
    node.closed().await;
    store.accept(delivered.id).await;
    let store = tokio::spawn(store.until_end());
    assert_eq!(egress.next().await, sample.paid(Framing::V7));
    assert_eq!(egress.next_or_end().await, None);
    assert_eq!(ended.wait().await, Ending::Drain);
    assert_eq!(store.await.unwrap().kept.len(), 1, "what was seen is saved");
    assert!(soon(TcpStream::connect(address)).await.is_err());
    assert_eq!(value(&counters.packets_cut_off), 0);
}

#[tokio::test]
async fn without_a_supervisor_the_worker_waits_for_nothing() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    node.send(&made(0, PacketSize::Regular)).await;
    store.next().await;
    let ended = rig.end(Ending::Orphaned);
    assert_eq!(ended.wait().await, Ending::Orphaned);
    assert_eq!(store.next_or_end().await, None);
    assert_eq!(egress.next_or_end().await, None);
    node.closed().await;
}
