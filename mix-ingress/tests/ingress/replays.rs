//! Packets that come more than once.

use std::{sync::Arc, time::Duration};

use ipc::{
    control::{IngressConfig, ReplayConfig},
    ingress_store::DeliveryRefusal,
};
use wire::{
    framing::Framing,
    packet::{KeyRotation, PacketSize},
};
use worker::control_link::Ending;

use crate::{
    packets::{Sample, made, recorded},
    peers::{Egress, Marks, Store},
    rig::{CONFIG, MixNode, Rig, reaches, value},
};

const OFTEN: IngressConfig =
    IngressConfig { replay: ReplayConfig { snapshot_interval: Duration::from_millis(20), ..CONFIG.replay }, ..CONFIG };

/// Sends a new packet and waits until it is delivered; nothing else may come before it.
async fn is_next(node: &mut MixNode, store: &mut Store, number: u32) -> Sample {
    let sample = made(number, PacketSize::Ack);
    node.send(&sample).await;
    let delivered = store.next().await;
    delivered.assert_is(&sample);
    store.accept(delivered.id).await;
    sample
}

#[tokio::test]
async fn a_packet_is_delivered_and_acknowledged_once_however_it_comes() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let mut other = rig.connect().await;
    let samples = recorded();
    for sample in &samples {
        node.send(sample).await;
        let delivered = store.next().await;
        delivered.assert_is(sample);
        // A copy at once, before the packet is accepted.
        node.send(sample).await;
        store.accept(delivered.id).await;
        if sample.ack.is_some() {
            assert_eq!(egress.next().await, sample.paid(Framing::V7));
        }
        // A copy over another connection, with another payload and in a frame of another era.
        let mut altered = sample.clone();
        *altered.packet.last_mut().unwrap() ^= 1;
        other.write(&altered.frame(Framing::V8(KeyRotation::Unknown))).await;
    }
    is_next(&mut node, &mut store, 1).await;
    is_next(&mut other, &mut store, 2).await;
    assert_eq!(value(&rig.counters.replayed), 2 * samples.len() as u64);
    assert_eq!(value(&rig.counters.unwrap_bad_padding), 0, "no payload of a replay is decrypted");
}

#[tokio::test]
async fn of_many_copies_at_once_one_passes() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let mut nodes = Vec::new();
    for _ in 0..8 {
        nodes.push(rig.connect().await);
    }
    for number in 0..50 {
        let sample = made(number, PacketSize::Ack);
        let frame = sample.frame(Framing::V7).repeat(4);
        for node in &mut nodes {
            node.write(&frame).await;
        }
        let delivered = store.next().await;
        delivered.assert_is(&sample);
        store.accept(delivered.id).await;
    }
    for (number, node) in (1_000..).zip(&mut nodes) {
        is_next(node, &mut store, number).await;
    }
    assert_eq!(value(&rig.counters.replayed), 50 * (8 * 4 - 1));
}

#[tokio::test]
async fn a_successor_knows_the_packets_seen_before_the_last_save() {
    let (rig, mut store, _egress) = Rig::start(OFTEN).await;
    let mut node = rig.connect().await;
    let first = is_next(&mut node, &mut store, 1).await;
    let second = is_next(&mut node, &mut store, 2).await;
    // Whenever `store` reads, it gets the request to save new marks.
    let mut next = 3;
    while store.marks.kept.iter().all(|(kept, _)| kept.marked < 2) {
        is_next(&mut node, &mut store, next).await;
        next += 1;
    }
    let marks = store.marks.clone();
    // Ends without saving, as if killed.
    assert_eq!(rig.end(Ending::Orphaned).wait().await, Ending::Orphaned);
    let (rig, mut store, _egress) = Rig::start_with(OFTEN, marks).await;
    let mut node = rig.connect().await;
    node.send(&first).await;
    node.send(&second).await;
    is_next(&mut node, &mut store, next).await;
    assert_eq!(value(&rig.counters.replayed), 2);
}

async fn drained(rig: Rig, store: Store, egress: Egress) -> Marks {
    let store = tokio::spawn(store.until_end());
    assert_eq!(rig.end(Ending::Drain).wait().await, Ending::Drain);
    drop(egress);
    store.await.unwrap()
}

#[tokio::test]
async fn a_drain_saves_everything_and_an_idle_worker_saves_nothing() {
    let (rig, mut store, egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let mut samples = Vec::new();
    for number in 0..20 {
        samples.push(is_next(&mut node, &mut store, number).await);
    }
    let counters = Arc::clone(&rig.counters);
    let marks = drained(rig, store, egress).await;
    assert_eq!(marks.kept[0].0.marked, 20);
    assert_eq!(value(&counters.replay_snapshots_saved), 1);

    let (rig, store, egress) = Rig::start_with(OFTEN, marks).await;
    let counters = Arc::clone(&rig.counters);
    reaches(&counters.replay_marks, 20).await;
    // The room for marks is shown beside them, of which 20 take little.
    assert!(value(&counters.replay_marks_limit) > 1_000);
    // It has looked whether there is anything to save.
    reaches(&counters.replay_saved_timestamp, 1).await;
    let marks = drained(rig, store, egress).await;
    assert_eq!(value(&counters.replay_snapshots_saved), 0);

    let (rig, mut store, egress) = Rig::start_with(CONFIG, marks).await;
    let mut node = rig.connect().await;
    for sample in &samples {
        node.send(sample).await;
    }
    is_next(&mut node, &mut store, 20).await;
    assert_eq!(value(&rig.counters.replayed), 20);
    assert_eq!(drained(rig, store, egress).await.kept[0].0.marked, 21);
}

#[tokio::test]
async fn a_save_that_store_gives_up_is_made_later() {
    let (rig, mut store, egress) = Rig::start_with(OFTEN, Marks::after_giving_up(2)).await;
    let mut node = rig.connect().await;
    let mut next = 1;
    while store.marks.kept.is_empty() {
        is_next(&mut node, &mut store, next).await;
        next += 1;
    }
    assert_eq!(value(&rig.counters.replay_snapshots_failed), 2);
    drained(rig, store, egress).await;
}

#[tokio::test]
async fn marks_that_are_unfit_or_unreadable_are_given_up() {
    let (rig, mut store, egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let sample = is_next(&mut node, &mut store, 1).await;
    let marks = drained(rig, store, egress).await;

    let other_size = ReplayConfig { packets_per_generation: 1_000, ..CONFIG.replay };
    let mut unreadable = marks.clone();
    unreadable.kept[0].1.clear();
    for (config, marks) in [(IngressConfig { replay: other_size, ..CONFIG }, marks), (CONFIG, unreadable)] {
        let (rig, mut store, egress) = Rig::start_unasked(config).await;
        store.marks = marks;
        let mut node = rig.connect().await;
        node.send(&sample).await;
        let delivered = store.next().await;
        delivered.assert_is(&sample);
        store.accept(delivered.id).await;
        assert_eq!(drained(rig, store, egress).await.kept.last().unwrap().0.marked, 1);
    }
}

#[tokio::test]
async fn nothing_is_accepted_before_store_has_given_back_its_marks() {
    let (rig, store, _egress) = Rig::start_unasked(CONFIG).await;
    let mut node = rig.connect().await;
    let sample = made(1, PacketSize::Ack);
    node.send(&sample).await;
    // The store ends before it has answered, and another one comes.
    drop(store);
    let mut store = rig.new_store().await;
    assert_eq!(value(&rig.counters.connections_accepted), 0);
    store.next().await.assert_is(&sample);
}

#[tokio::test]
async fn the_end_may_come_before_the_beginning() {
    let (rig, store, egress) = Rig::start_unasked(CONFIG).await;
    assert_eq!(rig.end(Ending::Drain).wait().await, Ending::Drain);
    drop((store, egress));
}

/// Three generations of forty packets in all, each of which is kept for an hour.
fn small() -> IngressConfig {
    let replay =
        ReplayConfig { packets_per_generation: 40, false_positives_per_billion: 1, memory: 3 * 448, ..CONFIG.replay };
    IngressConfig { replay, ..CONFIG }
}

#[tokio::test]
async fn packets_for_nobody_make_no_old_packet_new() {
    let (rig, mut store, _egress) = Rig::start(small()).await;
    let mut node = rig.connect().await;
    let first = is_next(&mut node, &mut store, 0).await;
    let strange = made(1, PacketSize::Ack);
    for (reason, number) in [DeliveryRefusal::UnknownClient, DeliveryRefusal::InboxFull, DeliveryRefusal::StorageFailed]
        .iter()
        .cycle()
        .zip(2..200)
    {
        let sample = made(number, PacketSize::Ack);
        node.send(&sample).await;
        let delivered = store.next().await;
        delivered.assert_is(&sample);
        store.refuse(delivered.id, *reason).await;
        node.send(&first).await;
    }
    // What was refused may come again, until it is accepted.
    for accepted in [false, true] {
        node.send(&strange).await;
        let delivered = store.next().await;
        delivered.assert_is(&strange);
        if accepted {
            store.accept(delivered.id).await;
        } else {
            store.refuse(delivered.id, DeliveryRefusal::UnknownClient).await;
        }
        let is_answered =
            if accepted { &rig.counters.accepted_without_ack } else { &rig.counters.refused_unknown_client };
        reaches(is_answered, if accepted { 2 } else { 67 }).await;
    }
    node.send(&strange).await;
    is_next(&mut node, &mut store, 1_000).await;
    assert_eq!(value(&rig.counters.replayed), 199);
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses_and_forgets_nothing() {
    let (rig, mut store, egress) = Rig::start(small()).await;
    let mut node = rig.connect().await;
    let mut samples = Vec::new();
    let mut next = 0;
    // Each goes to a client of its own, and few of them fall on one counter.
    loop {
        // A generation takes more than its packets until its successor has been begun.
        assert!(next < 240, "it is never full");
        let short = value(&rig.counters.refused_replay_share);
        let sample = made(next, PacketSize::Ack);
        node.send(&sample).await;
        next += 1;
        let delivered = tokio::select! {
            delivered = store.next() => delivered,
            () = reaches(&rig.counters.refused_replay_full, 1) => break,
            () = reaches(&rig.counters.refused_replay_share, short + 1) => continue,
        };
        store.accept(delivered.id).await;
        samples.push(sample);
        reaches(&rig.counters.accepted_without_ack, samples.len() as u64).await;
    }
    assert!(samples.len() >= 120, "full after {}", samples.len());
    for sample in &samples {
        node.send(sample).await;
    }
    reaches(&rig.counters.replayed, samples.len() as u64).await;
    // All generations are saved, and given back.
    let marks = drained(rig, store, egress).await;
    assert_eq!(marks.kept.len(), 3);
    let (rig, _store, _egress) = Rig::start_with(small(), marks).await;
    let mut node = rig.connect().await;
    for sample in &samples {
        node.send(sample).await;
    }
    reaches(&rig.counters.replayed, samples.len() as u64).await;
}
