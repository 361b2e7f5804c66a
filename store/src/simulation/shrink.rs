//! Makes a history that breaks a promise shorter, for as long as it breaks the same one.

use super::{event::Event, oracle::Violation};

/// Leaves out events, in halves first and one by one in the end.
pub(super) fn shrink(events: &[Event], broken: impl Fn(&[Event]) -> Option<Violation>, rule: &str) -> Vec<Event> {
    let mut events = events.to_vec();
    let mut part = events.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut is_shorter = false;
        while at < events.len() {
            let end = (at + part).min(events.len());
            let rest = [&events[..at], &events[end..]].concat();
            if broken(&rest).is_some_and(|violation| violation.rule == rule) {
                events = rest;
                is_shorter = true;
            } else {
                at = end;
            }
        }
        if part == 1 && !is_shorter {
            return events;
        }
        part = if part == 1 { 1 } else { part.div_ceil(2) };
    }
}

#[test]
fn a_history_is_shrunk_to_what_breaks_the_promise() {
    let events: Vec<Event> = (0..50).map(|client| Event::Deliver { client, len: 40, is_ack_owed: true }).collect();
    let both = |events: &[Event]| {
        let has =
            |wanted| events.iter().any(|event| matches!(event, Event::Deliver { client, .. } if *client == wanted));
        (has(7) && has(31)).then(|| Violation { rule: "both", seen: String::new() })
    };
    assert_eq!(shrink(&events, both, "both").len(), 2);
}
