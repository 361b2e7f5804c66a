//! Deliveries to `store`, its answers, and the SURB-acks.

use std::{collections::VecDeque, sync::Arc};

use ipc::{
    Role,
    control::{IngressConfig, WorkerReport},
    credit::{Credit, Window},
    ingress_store::{DeliveryId, DeliveryRefusal},
};
use tokio::io::AsyncWriteExt;
use wire::{
    framing::Framing,
    packet::{KeyRotation, PacketSize, PacketType},
};
use worker::control_link::Ending;

use crate::{
    packets::{Sample, made, recorded, recorded_without_surb_ack},
    peers::{Delivered, Store},
    rig::{CONFIG, Rig, reaches, value},
};

fn recorded_regular() -> Sample {
    recorded().into_iter().find(|sample| sample.size == PacketSize::Regular).unwrap()
}

#[tokio::test]
async fn every_recorded_packet_is_delivered_and_acked_as_it_came() {
    for framing in [
        Framing::Unversioned(PacketType::Mix),
        Framing::Unversioned(PacketType::Vpn),
        Framing::V7,
        Framing::V8(KeyRotation::Odd),
        Framing::V8(KeyRotation::Even),
    ] {
        let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
        let mut node = rig.connect().await;
        for sample in recorded() {
            node.write(&sample.frame(framing)).await;
            let delivered = store.next().await;
            delivered.assert_is(&sample);
            store.accept(delivered.id).await;
            if sample.ack.is_some() {
                assert_eq!(egress.next().await, sample.paid(framing));
            }
        }
        let counters = &rig.counters;
        let counted = [&counters.packets_received, &counters.accepted_without_ack, &counters.acks_paid];
        assert_eq!(counted.map(|counter| value(counter)), [9, 1, 8]);
    }
}

#[tokio::test]
async fn an_ack_leaves_only_after_acceptance() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let samples: Vec<Sample> = (0..3).map(|number| made(number, PacketSize::Regular)).collect();
    let mut ids = Vec::new();
    for sample in &samples {
        node.send(sample).await;
        ids.push(store.next().await.id);
    }
    // An ack that had left earlier would come first.
    for index in [2, 0, 1] {
        store.accept(ids[index]).await;
        assert_eq!(egress.next().await, samples[index].paid(Framing::V7));
    }
}

#[tokio::test]
async fn what_store_refuses_is_not_acked_and_each_reason_is_counted() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let reasons = [
        DeliveryRefusal::UnknownClient,
        DeliveryRefusal::InboxFull,
        DeliveryRefusal::StorageFailed,
        DeliveryRefusal::UnfitForClient,
    ];
    for (number, reason) in (0..).zip(reasons) {
        node.send(&made(number, PacketSize::Regular)).await;
        let delivered = store.next().await;
        store.refuse(delivered.id, reason).await;
    }
    let good = made(9, PacketSize::Regular);
    node.send(&good).await;
    let delivered = store.next().await;
    store.accept(delivered.id).await;
    assert_eq!(egress.next().await, good.paid(Framing::V7));
    let counters = &rig.counters;
    for refused in [
        &counters.refused_unknown_client,
        &counters.refused_inbox_full,
        &counters.refused_storage_failed,
        &counters.refused_unfit_for_client,
        &counters.acks_paid,
    ] {
        assert_eq!(value(refused), 1);
    }
}

#[tokio::test]
async fn undeliverable_packets_are_counted_and_the_connection_lives() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let mut altered = recorded_regular();
    altered.packet[40] ^= 1;
    node.send(&altered).await;
    let mut altered = made(0, PacketSize::Regular);
    *altered.packet.last_mut().unwrap() ^= 1;
    node.send(&altered).await;
    for sample in recorded_without_surb_ack() {
        node.send(&sample).await;
    }
    // The refused copy with an altered header does not count as the packet itself.
    let good = recorded_regular();
    node.send(&good).await;
    store.next().await.assert_is(&good);
    let counters = &rig.counters;
    assert_eq!(value(&counters.unwrap_bad_mac), 1);
    assert_eq!(value(&counters.unwrap_bad_padding), 1);
    assert_eq!(value(&counters.split_bad_ack_address), 4);
    assert_eq!(value(&counters.split_no_surb_ack), 1);
    assert_eq!(value(&counters.packets_received), 8);
}

#[tokio::test]
async fn a_new_store_is_asked_what_the_old_one_did_not_answer() {
    let (rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let samples: Vec<Sample> = (0..4).map(|number| made(number, PacketSize::Regular)).collect();
    let mut asked = Vec::new();
    for sample in &samples[..3] {
        node.send(sample).await;
        asked.push(store.next().await);
    }
    store.accept(asked[1].id).await;
    assert_eq!(egress.next().await, samples[1].paid(Framing::V7));
    drop(store);
    // This packet finds no store, or the dead one.
    node.send(&samples[3]).await;

    let mut store = rig.new_store().await;
    for index in [0, 2] {
        assert_eq!(store.next().await, asked[index]);
    }
    let last = store.next().await;
    last.assert_is(&samples[3]);
    for (id, sample) in [(asked[0].id, &samples[0]), (asked[2].id, &samples[2]), (last.id, &samples[3])] {
        store.accept(id).await;
        assert_eq!(egress.next().await, sample.paid(Framing::V7));
    }
    assert_eq!(value(&rig.counters.acks_paid), 4);
}

#[tokio::test]
async fn an_answer_to_no_delivery_ends_the_link_and_does_not_count() {
    let (mut rig, mut store, mut egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let sample = made(0, PacketSize::Regular);
    node.send(&sample).await;
    let first = store.next().await;
    store.accept(DeliveryId(first.id.0 + 1)).await;
    let report = rig.report().await;
    assert!(matches!(report, WorkerReport::LinkViolated { peer: Role::Store, link: 1, .. }), "{report:?}");
    assert_eq!(store.next_or_end().await, None);

    let mut store = rig.new_store().await;
    assert_eq!(store.next().await, first);
    store.accept(first.id).await;
    assert_eq!(egress.next().await, sample.paid(Framing::V7));
    // The second answer to one delivery is one too many.
    store.accept(first.id).await;
    let report = rig.report().await;
    assert!(matches!(report, WorkerReport::LinkViolated { peer: Role::Store, link: 2, .. }), "{report:?}");
}

/// Reads, and checks the window as `store` does.
async fn fill(store: &mut Store, credit: &mut Credit, count: usize) -> Vec<Delivered> {
    let mut delivered = Vec::new();
    for _ in 0..count {
        let next = store.next().await;
        assert!(credit.take(next.message.len()), "beyond the window");
        delivered.push(next);
    }
    delivered
}

#[tokio::test]
async fn a_full_window_stops_reading_and_an_answer_resumes_it() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let window = usize::try_from(CONFIG.window.messages).unwrap();
    let total = window + 2_000;
    let sending = tokio::spawn(async move {
        for number in 0..total {
            let sample = made(number.try_into().unwrap(), PacketSize::Ack);
            if node.0.write_all(&sample.frame(Framing::V7)).await.is_err() {
                return;
            }
        }
    });
    let mut credit = Credit::new(CONFIG.window);
    let delivered = fill(&mut store, &mut credit, window).await;
    for answered in &delivered[..10] {
        credit.give_back(answered.message.len());
        store.accept(answered.id).await;
    }
    fill(&mut store, &mut credit, 10).await;

    // Draining waits for answers until its deadline, and would bring every packet that the window did not hold back.
    let counters = Arc::clone(&rig.counters);
    let ended = rig.end(Ending::Drain);
    assert_eq!(store.next_or_end().await, None, "beyond the window");
    assert_eq!(ended.wait().await, Ending::Drain);
    sending.abort();
    let received = value(&counters.packets_received);
    assert!(received < (window + 1_000) as u64, "{received} packets were read with room for {window}");
    assert_eq!(value(&counters.packets_cut_off), received - 10);
    // If the sender is slow, the window may have room for a while after each answer.
    assert!((1..=11).contains(&value(&counters.window_full)), "it was filled once, and ten times it had room for one");
}

#[tokio::test]
async fn a_window_counts_messages_and_bytes_and_passes_a_single_one() {
    let len = made(0, PacketSize::Regular).message.len() as u64;
    let windows = [
        (1, Window { messages: 1, bytes: u64::MAX }),
        (3, Window { messages: 3, bytes: u64::MAX }),
        (1, Window { messages: 100, bytes: 1 }),
        (2, Window { messages: 100, bytes: 3 * len - 1 }),
    ];
    for (at_once, window) in windows {
        let (rig, mut store, mut egress) = Rig::start(IngressConfig { window, ..CONFIG }).await;
        let mut node = rig.connect().await;
        let samples: Vec<Sample> = (0..4).map(|number| made(number, PacketSize::Regular)).collect();
        for sample in &samples {
            node.send(sample).await;
        }
        let mut credit = Credit::new(window);
        let mut outstanding = VecDeque::from(fill(&mut store, &mut credit, at_once).await);
        for number in 0..samples.len() {
            // Each answer makes room for one more delivery; a delivery that came earlier would be beyond the window.
            let answered = outstanding.pop_front().unwrap();
            answered.assert_is(&samples[number]);
            credit.give_back(answered.message.len());
            store.accept(answered.id).await;
            assert_eq!(egress.next().await, samples[number].paid(Framing::V7));
            let more = usize::from(number + at_once < samples.len());
            outstanding.extend(fill(&mut store, &mut credit, more).await);
        }
        assert_eq!(value(&rig.counters.acks_paid), 4);
    }
}

#[tokio::test]
async fn acks_of_a_whole_window_wait_until_egress_takes_them() {
    const PACKETS: u32 = 6_000;
    let window = Window { messages: PACKETS, ..CONFIG.window };
    let (rig, mut store, mut egress) = Rig::start(IngressConfig { window, ..CONFIG }).await;
    let mut node = rig.connect().await;
    let sending = tokio::spawn(async move {
        for number in 0..PACKETS {
            node.send(&made(number, PacketSize::Regular)).await;
        }
        node
    });
    let mut credit = Credit::new(window);
    let delivered = fill(&mut store, &mut credit, PACKETS as usize).await;
    for delivered in &delivered {
        store.accept(delivered.id).await;
    }
    reaches(&rig.counters.acks_paid, PACKETS.into()).await;
    for number in 0..PACKETS {
        let ack = egress.next().await;
        assert_eq!(ack.packet.0[..4], number.to_be_bytes());
    }
    assert_eq!(value(&rig.counters.acks_lost_to_egress), 0);
    drop(sending);
}
