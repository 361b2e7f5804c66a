//! What the figures cost on the way of a packet: `cargo bench -p figures`.
//!
//! The yardstick is one X25519, the dearest step of unwrapping a packet; all else that a packet costs makes the share smaller. Rounds without
//! figures, with figures in memory of the process, and with figures in pages follow each other closely, and each is compared with its
//! neighbour: on a machine that is shared, a processor is not always equally fast.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use std::{hint::black_box, sync::atomic::Ordering::Relaxed, time::Duration};

use figures::{Page, client_edge, mix_egress::EgressCounters, mix_ingress, store::StoreCounters};
use ipc::Role;
use nix::time::{ClockId, clock_gettime};
use sandbox::page::{create, map_for_writing};
use x25519_dalek::{PublicKey, StaticSecret};

const ROUNDS: usize = 3_000;
const PACKETS: u32 = 50;
/// Enough for a time that the clock can tell.
const COUNTS: u32 = 200_000;

/// The figures of the processes that a packet passes.
#[derive(Default)]
struct All {
    ingress: mix_ingress::Counters,
    store: StoreCounters,
    edge: client_edge::Counters,
    egress: EgressCounters,
}

impl All {
    fn in_pages() -> Self {
        let page = |role: Role| map_for_writing(create(Page::Worker(role).bytes()).unwrap()).unwrap();
        Self {
            ingress: mix_ingress::Counters::in_page(page(Role::MixIngress)).unwrap(),
            store: StoreCounters::in_page(page(Role::Store)).unwrap(),
            edge: client_edge::Counters::in_page(page(Role::ClientEdge)).unwrap(),
            egress: EgressCounters::in_page(page(Role::MixEgress)).unwrap(),
        }
    }

    /// What one packet changes whose message goes to its client and whose SURB-ack is paid; and more gauges than it does.
    fn count_packet(&self) {
        self.ingress.packets_received.fetch_add(1, Relaxed);
        let in_flight = self.ingress.packets_in_flight.raise();
        self.store.messages_delivered.fetch_add(1, Relaxed);
        let pending = self.store.messages_pending.raise();
        self.store.pushed.fetch_add(1, Relaxed);
        self.store.pushed_memory.fetch_add(2_048, Relaxed);
        self.edge.pushed_memory.fetch_add(2_048, Relaxed);
        self.edge.messages_pushed.fetch_add(1, Relaxed);
        self.edge.pushed_memory.fetch_sub(2_048, Relaxed);
        self.store.pushed_memory.fetch_sub(2_048, Relaxed);
        self.store.accepted_by_receipt.fetch_add(1, Relaxed);
        self.store.delivered.fetch_add(1, Relaxed);
        drop(pending);
        self.ingress.acks_paid.fetch_add(1, Relaxed);
        self.ingress.ack_memory.fetch_add(400, Relaxed);
        let on_link = self.ingress.acks_waiting.raise();
        drop(in_flight);
        self.ingress.acks_sent.fetch_add(1, Relaxed);
        drop(on_link);
        self.ingress.ack_memory.fetch_sub(400, Relaxed);
        self.egress.acks_taken.fetch_add(1, Relaxed);
        let waiting = self.egress.packets_waiting.raise();
        self.egress.queued_memory.fetch_add(400, Relaxed);
        self.egress.queued_memory.fetch_sub(400, Relaxed);
        self.egress.packets_sent.fetch_add(1, Relaxed);
        drop(waiting);
    }
}

/// Processor time of this thread, which other processes do not lengthen.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Nanoseconds of one call.
fn nanos(calls: u32, mut call: impl FnMut()) -> f64 {
    let begin = processor_time();
    (0..calls).for_each(|_| call());
    (processor_time() - begin).as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let secret = StaticSecret::from(rand::random::<[u8; 32]>());
    let public = PublicKey::from(&StaticSecret::from(rand::random::<[u8; 32]>()));
    let unwrap = || {
        black_box(secret.diffie_hellman(black_box(&public)));
    };
    let (own, pages) = (All::default(), All::in_pages());
    let (mut of_pages, mut of_own, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut took = [0.0; 3];
        // The order changes, so that no kind is always the first.
        for kind in (0..3).map(|place| (place + round) % 3) {
            took[kind] = match kind {
                0 => nanos(PACKETS, unwrap),
                1 => nanos(PACKETS, || {
                    unwrap();
                    pages.count_packet();
                }),
                _ => nanos(PACKETS, || {
                    unwrap();
                    own.count_packet();
                }),
            };
        }
        let [without, with_pages, with_own] = took;
        bare.push(without);
        of_pages.push(with_pages / without);
        of_own.push(with_own / without);
    }
    let alone = [&pages, &own].map(|figures| nanos(COUNTS, || figures.count_packet()));
    println!("one X25519                      {:10.1} ns", median(&mut bare));
    println!("the figures of a packet, pages  {:10.1} ns", alone[0]);
    println!("the figures of a packet, memory {:10.1} ns", alone[1]);
    println!("with pages / without            {:10.4}", median(&mut of_pages));
    println!("with memory / without           {:10.4}", median(&mut of_own));
    println!("with pages / with memory        {:10.4}", median(&mut of_pages) / median(&mut of_own));
}
