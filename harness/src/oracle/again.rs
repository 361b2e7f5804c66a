//! Messages that come a second time. That is as it should be in three cases: a store died before it could say that it had accepted
//! the message, so that it was asked again; the client's session ended before its client had proved receipt; or something
//! happened to the processes that keep that proof.

use std::time::{Duration, Instant};

use super::{
    disruption::{Disruption, Harm},
    names::Inbox,
    session::{Again, Coming, Session},
    state::{Record, State},
};

/// By then a message is proved received and removed, if its client reads on.
const PROOF: Duration = Duration::from_secs(3);

/// Notes that a message has come; says so if it has come before.
pub(super) fn note(sessions: &mut Vec<Session>, inbox: Inbox, number: u64, record: &mut Record) -> Option<Again> {
    if sessions.is_empty() {
        // The client has just registered.
        sessions.push(Session::default());
    }
    let now = Coming { session: sessions.len(), at: Instant::now() };
    let session = sessions.last_mut()?;
    session.last_read = Some(now.at);
    // A copy of a packet may be taken for another message.
    if record.replayed.is_some() {
        return None;
    }
    let newest = session.newest.entry(record.stream).or_insert(record.sent);
    let goes_back = *newest > record.sent;
    *newest = record.sent.max(*newest);
    let before = record.last_came.replace(now)?;
    Some(Again { number, inbox, before, now, goes_back })
}

impl State {
    /// What is wrong with this, unless something explains it.
    pub(super) fn judge_again(&self, again: &Again) -> Option<String> {
        let Again { number, inbox, before, now, goes_back } = again;
        let record = self.records.get(number).filter(|record| record.replayed.is_none())?;
        let answered = record.first_acked.unwrap_or(now.at);
        let accepted_twice = |disruption: &Disruption| {
            disruption.harm == Harm::Lost("store") && disruption.overlaps(record.sent, answered)
        };
        if self.forgotten.contains(inbox) || self.disruptions.iter().any(accepted_twice) {
            return None;
        }
        let who = format!("message {number} for client {inbox}");
        if before.session == now.session {
            return Some(format!("{who} came twice in one session"));
        }
        if *goes_back {
            return Some(format!("{who} came again, and behind a later one of its connection"));
        }
        let session = self.sessions.get(inbox)?.get(before.session.checked_sub(1)?)?;
        let read_on_for = session.last_read? - before.at;
        let unproved = |disruption: &Disruption| {
            is_about_proof(disruption.harm) && disruption.overlaps(before.at, before.at + PROOF)
        };
        let is_wrong = read_on_for > PROOF && !self.disruptions.iter().any(unproved);
        is_wrong.then(|| format!("{who} came again, although its client had read on for {read_on_for:.1?}"))
    }
}

/// Whether it may keep a proof of receipt from coming, or from being kept.
const fn is_about_proof(harm: Harm) -> bool {
    match harm {
        Harm::FullDisk => true,
        Harm::Lost(worker) | Harm::Stopped(worker) => matches!(worker.as_bytes(), b"store" | b"client-edge"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        account::Identity,
        oracle::Oracle,
        packet::{FinalHopPacket, PacketMaker},
    };

    use super::*;

    fn two_packets() -> Vec<FinalHopPacket> {
        let maker = PacketMaker { gateway: [9; 32], ack_hop: "127.0.0.1:1".parse().unwrap(), ack_key: [9; 32] };
        maker.make_many(Identity::random().address(), 2).unwrap()
    }

    #[test]
    fn what_comes_twice_in_a_session_needs_a_store_that_died() {
        let (oracle, packets, begin) = (Oracle::default(), two_packets(), Instant::now());
        oracle.sending(7, 0, &packets[0]);
        oracle.session_begins(7);
        oracle.delivered(7, &packets[0].message);
        oracle.session_begins(7);
        oracle.delivered(7, &packets[0].message);
        assert_eq!(oracle.tally().unexplained, [""; 0]);
        oracle.delivered(7, &packets[0].message);
        assert_eq!(oracle.tally().unexplained.len(), 1);
        oracle.suffered(Harm::Lost("store"), begin..Instant::now());
        assert_eq!(oracle.tally().unexplained, [""; 0]);
    }

    #[test]
    fn what_comes_again_comes_in_order() {
        let (oracle, packets) = (Oracle::default(), two_packets());
        packets.iter().for_each(|packet| oracle.sending(7, 0, packet));
        for order in [[0, 1], [0, 1], [1, 0]] {
            oracle.session_begins(7);
            order.iter().for_each(|at| oracle.delivered(7, &packets[*at].message));
        }
        assert_eq!(oracle.tally().unexplained.len(), 1);
    }
}
