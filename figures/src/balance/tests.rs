//! Each sum: a missing count shows, and what the program does in order does not.

use super::*;

/// What pages with these numbers show.
fn snapshot(fields: &[(Page, &str, u64)]) -> Snapshot {
    let reading = |page: Page| {
        let of = |field| fields.iter().find(|(of, name, _)| (*of, *name) == (page, field)).map_or(0, |(_, _, v)| *v);
        let values = page.table().iter().flat_map(|figure| std::iter::repeat_n(of(figure.field), figure.slots()));
        Reading::of_values(page, values.collect()).unwrap()
    };
    Snapshot::of(Page::ALL.into_iter().map(reading).collect())
}

/// How far a sum is off while nothing changes.
fn off(sum: &Balance, fields: &[(Page, &str, u64)]) -> u64 {
    let quiet = snapshot(fields);
    sum.off(&quiet, &[quiet.clone(), quiet.clone()])
}

/// A page of zeroes.
fn memory(page: Page) -> &'static [AtomicU64] {
    Vec::leak((0..page.bytes() / 8).map(|_| AtomicU64::new(0)).collect())
}

fn read(page: Page, memory: &[AtomicU64]) -> Reading {
    Reading::take(page, |place| Some(memory.get(place)?.load(Relaxed)))
}

/// All fields of a sum but the gauge.
fn counters(sum: &Balance) -> impl Iterator<Item = (Page, &'static str)> {
    let all = sum.ended.iter().chain([&sum.came]);
    all.flat_map(|Fields(page, fields)| fields.iter().map(|field| (*page, *field)))
}

#[test]
fn every_part_of_a_sum_is_a_figure_of_its_page() {
    for sum in ALL {
        let gauge = match sum.held {
            Held::Shown(page, gauge) => Some((page, gauge)),
            Held::OnTheWay | Held::Unknown => None,
        };
        for (page, field) in counters(sum).chain(gauge) {
            assert!(page.table().iter().any(|figure| figure.field == field), "{field}");
        }
    }
}

#[test]
fn every_sum_has_its_number_in_the_page_of_the_supervisor() {
    let figures = crate::supervisor::SupervisorFigures::default();
    for ((sum, field), number) in ALL.into_iter().zip(crate::supervisor::BALANCE_OFF).zip(figures.balance_off()) {
        assert_eq!(field, format!("balance_off_{}", sum.name));
        number.store(7, Relaxed);
        let figure = Page::Supervisor.table().iter().find(|figure| figure.field == field).unwrap();
        assert_eq!(figure.label, Some(("packets", sum.name)));
    }
    let is_shown = |number: &crate::Number| number.load(Relaxed) == 7;
    assert!(figures.balance_off().into_iter().all(is_shown), "two sums have one number");
}

/// Whatever came and has not ended shows, if it can be known; and whatever ended without having come.
#[test]
fn a_count_that_is_missing_shows_in_every_sum() {
    for sum in ALL {
        let Fields(page, came) = sum.came;
        let missing = off(sum, &[(page, came[0], 3)]);
        assert_eq!(missing, if matches!(sum.held, Held::Unknown) { 0 } else { 3 }, "{}", sum.name);
        for Fields(page, fields) in sum.ended {
            for field in *fields {
                assert_eq!(off(sum, &[(*page, *field, 5)]), 5, "{} of {}", field, sum.name);
            }
        }
        if let Held::Shown(page, gauge) = sum.held {
            assert_eq!(off(sum, &[(page, gauge, 2)]), 2, "{gauge}");
        }
    }
}

#[test]
fn a_sum_is_even_if_every_packet_has_ended_or_is_held() {
    let ingress = [("packets_received", 10), ("acks_paid", 6), ("replayed", 1), ("packets_in_flight", 3)];
    assert_eq!(off(&RECEIVED, &ingress.map(|(field, value)| (INGRESS, field, value))), 0);
    let acks = [
        ("acks_paid", 9),
        ("acks_sent", 4),
        ("acks_lost_to_egress", 1),
        ("acks_lost_at_death", 2),
        ("acks_waiting", 2),
    ];
    assert_eq!(off(&ACKS, &acks.map(|(field, value)| (INGRESS, field, value))), 0);
    let link = [(INGRESS, "acks_sent", 9), (EGRESS, "acks_taken", 6), (EGRESS, "acks_lost_on_link", 3)];
    assert_eq!(off(&ACKS_ON_LINK, &link), 0);
    let edge = [(EDGE, "packets_forwarded", 5), (EDGE, "packets_sent", 4), (EDGE, "packets_waiting", 1)];
    assert_eq!(off(&CLIENTS_PACKETS, &edge), 0);
    let store =
        [("messages_delivered", 8), ("accepted_by_commit", 3), ("refused_inbox_full", 4), ("messages_pending", 1)];
    assert_eq!(off(&DELIVERED, &store.map(|(field, value)| (STORE, field, value))), 0);
}

#[test]
fn packets_that_pass_between_two_readings_are_no_fault() {
    let before = [("packets_received", 10), ("acks_paid", 6), ("packets_in_flight", 3)];
    let after = [("packets_received", 14), ("acks_paid", 9), ("replayed", 2), ("packets_in_flight", 5)];
    let [before, after] = [&before[..], &after]
        .map(|fields| snapshot(&fields.iter().map(|(field, value)| (INGRESS, *field, *value)).collect::<Vec<_>>()));
    assert_eq!(RECEIVED.off(&before, &[before.clone(), after]), 0);
}

#[test]
fn what_was_sent_lately_may_be_on_the_way() {
    let at = |sent, taken| snapshot(&[(INGRESS, "acks_sent", sent), (EGRESS, "acks_taken", taken)]);
    let now = || [at(100, 60), at(110, 65)];
    assert_eq!(ACKS_ON_LINK.off(&Snapshot::default(), &now()), 0);
    assert_eq!(ACKS_ON_LINK.off(&at(65, 20), &now()), 0);
    assert_eq!(ACKS_ON_LINK.off(&at(67, 20), &now()), 2, "two were sent long ago and did not come");
    assert_eq!(ACKS_ON_LINK.off(&Snapshot::default(), &[at(100, 113), at(110, 113)]), 3, "three came that nobody sent");
}

#[test]
fn more_may_be_accepted_than_mix_ingress_heard_of() {
    let accepted =
        |by_store, paid| off(&ACCEPTED, &[(STORE, "accepted_by_receipt", by_store), (INGRESS, "acks_paid", paid)]);
    assert_eq!((accepted(9, 9), accepted(9, 4), accepted(9, 10)), (0, 0, 1));
}

/// A process dies at any moment: its successor counts what it left, once.
#[test]
fn a_successor_counts_once_what_a_dead_process_left() {
    let [ingress, egress, edge, store] = [INGRESS, EGRESS, EDGE, STORE].map(memory);
    let of_ingress = mix_ingress::Counters::take_up(ingress).unwrap();
    of_ingress.packets_received.fetch_add(10, Relaxed);
    of_ingress.packets_in_flight.fetch_add(4, Relaxed);
    of_ingress.acks_paid.fetch_add(6, Relaxed);
    of_ingress.acks_waiting.fetch_add(2, Relaxed);
    of_ingress.acks_sent.fetch_add(4, Relaxed);
    let of_edge = client_edge::Counters::take_up(edge).unwrap();
    of_edge.packets_forwarded.fetch_add(5, Relaxed);
    of_edge.packets_waiting.fetch_add(5, Relaxed);
    let of_store = StoreCounters::take_up(store).unwrap();
    of_store.messages_delivered.fetch_add(10, Relaxed);
    of_store.accepted_by_receipt.fetch_add(6, Relaxed);
    of_store.messages_pending.fetch_add(4, Relaxed);
    let of_egress = mix_egress::EgressCounters::take_up(egress).unwrap();
    of_egress.acks_taken.fetch_add(4, Relaxed);
    of_egress.packets_sent.fetch_add(1, Relaxed);
    for _ in 0..2 {
        let lost = [
            mix_ingress::Counters::take_up(ingress).unwrap().packets_lost_at_death.clone(),
            mix_ingress::Counters::take_up(ingress).unwrap().acks_lost_at_death.clone(),
            client_edge::Counters::take_up(edge).unwrap().packets_lost_at_death.clone(),
            StoreCounters::take_up(store).unwrap().messages_lost_at_death.clone(),
            mix_egress::EgressCounters::take_up(egress).unwrap().packets_lost_at_death.clone(),
        ];
        assert_eq!(lost.map(|number| number.load(Relaxed)), [4, 2, 5, 4, 3]);
    }
    let pages = [(INGRESS, ingress), (EGRESS, egress), (EDGE, edge), (STORE, store)];
    let quiet = Snapshot::of(pages.into_iter().map(|(page, memory)| read(page, memory)).collect());
    for sum in ALL {
        assert_eq!(sum.off(&quiet, &[quiet.clone(), quiet.clone()]), 0, "{}", sum.name);
    }
}
