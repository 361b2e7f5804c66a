use figures::{Page, mix_egress::EgressCounters, mix_ingress::Counters};
use ipc::Role;
use sandbox::page::map_for_writing;

use super::*;

/// The pages of a gateway whose `mix-ingress` has received ten packets and said what became of nine.
fn pages() -> (FiguresPages, Counters) {
    let pages = FiguresPages::make().unwrap();
    let ingress = take_up(&pages);
    ingress.packets_received.fetch_add(10, Relaxed);
    ingress.replayed.fetch_add(9, Relaxed);
    (pages, ingress)
}

/// The figures of the next life of `mix-ingress`.
fn take_up(pages: &FiguresPages) -> Counters {
    Counters::take_up(map_for_writing(pages.grant_for(Role::MixIngress).unwrap().1).unwrap()).unwrap()
}

fn shown(pages: &FiguresPages, sum: &str) -> u64 {
    pages.read(Page::Supervisor).value(&format!("balance_off_{sum}"))
}

/// Looks until there is a result.
fn settle(watch: &mut BalanceWatch, pages: &FiguresPages) -> Instant {
    loop {
        let now = watch.due();
        watch.look(pages, true, now);
        if watch.is_settled() {
            return now;
        }
    }
}

#[test]
fn a_packet_that_nobody_counts_is_shown_after_some_looks() {
    let (pages, _ingress) = pages();
    let mut now = Instant::now();
    let mut watch = BalanceWatch::new(now);
    for _ in 0..LOOKS {
        assert_eq!(shown(&pages, "received"), 0);
        now = watch.due();
        watch.look(&pages, true, now);
    }
    assert_eq!((shown(&pages, "received"), shown(&pages, "forwarded")), (1, 0));
}

#[test]
fn a_packet_that_is_counted_a_little_later_is_no_fault() {
    let (pages, ingress) = pages();
    let mut watch = BalanceWatch::new(Instant::now());
    watch.look(&pages, true, watch.due());
    ingress.replayed.fetch_add(1, Relaxed);
    let second = watch.due();
    watch.look(&pages, true, second);
    assert_eq!((shown(&pages, "received"), watch.due()), (0, second + PERIOD));
}

#[test]
fn what_a_dead_worker_held_is_lost_and_not_missing() {
    let (pages, _dead) = pages();
    assert_eq!(take_up(&pages).packets_lost_at_death.load(Relaxed), 1);
    let mut watch = BalanceWatch::new(Instant::now());
    let first = watch.due();
    watch.look(&pages, true, first);
    assert_eq!((shown(&pages, "received"), watch.due()), (0, first + PERIOD));
}

/// An ack that `mix-ingress` has sent and `mix-egress` has not taken.
fn with_an_ack_on_the_way() -> (FiguresPages, EgressCounters) {
    let pages = FiguresPages::make().unwrap();
    let ingress = take_up(&pages);
    for counter in [&ingress.packets_received, &ingress.acks_paid, &ingress.acks_sent] {
        counter.fetch_add(1, Relaxed);
    }
    let store =
        figures::store::StoreCounters::take_up(map_for_writing(pages.grant_for(Role::Store).unwrap().1).unwrap());
    let store = store.unwrap();
    store.messages_delivered.fetch_add(1, Relaxed);
    store.accepted_by_receipt.fetch_add(1, Relaxed);
    let egress = map_for_writing(pages.grant_for(Role::MixEgress).unwrap().1).unwrap();
    (pages, EgressCounters::take_up(egress).unwrap())
}

#[test]
fn an_ack_that_stays_on_the_way_for_minutes_is_shown() {
    let (pages, egress) = with_an_ack_on_the_way();
    let mut watch = BalanceWatch::new(Instant::now());
    let first = settle(&mut watch, &pages);
    while settle(&mut watch, &pages) < first + ON_THE_WAY {
        assert_eq!(shown(&pages, "acks_on_link"), 0);
    }
    for _ in 0..5 {
        assert_eq!(shown(&pages, "acks_on_link"), 1);
        settle(&mut watch, &pages);
    }
    egress.acks_lost_on_link.fetch_add(1, Relaxed);
    settle(&mut watch, &pages);
    assert_eq!(shown(&pages, "acks_on_link"), 0);
}

/// As long as a worker is away, nobody can have counted what was on the way to it.
#[test]
fn an_ack_on_the_way_to_a_worker_that_is_away_is_no_fault() {
    let (pages, _egress) = with_an_ack_on_the_way();
    let mut watch = BalanceWatch::new(Instant::now());
    let mut now = settle(&mut watch, &pages);
    for _ in 0..5 {
        watch.look(&pages, false, now + Duration::from_secs(1));
        now = settle(&mut watch, &pages);
        assert_eq!(shown(&pages, "acks_on_link"), 0);
    }
}
