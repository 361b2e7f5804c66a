//! What the operator asks about one client, and wants done with it.

use ipc::operator::{ClientFacts, ClientKind, Mail};

use super::*;

impl Bench {
    fn forget_by_order(&mut self, question: u64, client: &ClientAddress) {
        self.core.forget_by_order(QuestionId(question), client, self.now);
        self.collect();
    }

    fn show(&mut self) -> StoreAnswer {
        self.core.show_client(&CLIENT, self.now)
    }
}

#[test]
fn a_client_is_shown_with_days_mail_and_quota() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.deliver_ackless(1);
    bench.finish_all_jobs();
    let quota = Mail { messages: CONFIG.inbox_messages, bytes: CONFIG.inbox_bytes, without_ack: 256 };
    let facts = ClientFacts {
        kind: ClientKind::Of2021,
        connected: false,
        last_seen: Some(NOW / DAY.as_secs()),
        mail: Mail { messages: 1, bytes: 40, without_ack: 1 },
        quota,
    };
    assert_eq!(bench.show(), StoreAnswer::Shown(facts));
    bench.attach(1);
    assert!(matches!(bench.show(), StoreAnswer::Shown(ClientFacts { connected: true, .. })));
    let stranger = bench.core.show_client(&ClientAddress([2; 32]), bench.now);
    assert_eq!(stranger, StoreAnswer::NotRegistered);
    bench.mailbox.set(Health::Broken);
    assert_eq!(bench.show(), StoreAnswer::StorageFailed);
}

#[test]
fn a_client_forgotten_by_order_leaves_nothing_and_its_session_ends() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.deliver(1);
    bench.forget_by_order(7, &CLIENT);
    let ended = SessionAnswer::EndSession { reason: EndReason::Forgotten };
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge { session: SessionId(1), answer: ended }));
    assert_eq!(bench.refused(), [1], "what is in flight is refused at once");
    assert_eq!(bench.show(), StoreAnswer::NotRegistered);
    assert!(bench.to_operator.is_empty(), "nothing is committed yet");
    bench.finish_all_jobs();
    assert_eq!(bench.to_operator, [(QuestionId(7), StoreAnswer::Forgotten)]);
    assert!(bench.stored().is_empty() && !bench.mailbox.is_registered(&CLIENT));
    bench.forget_by_order(8, &CLIENT);
    assert_eq!(bench.to_operator.last(), Some(&(QuestionId(8), StoreAnswer::NotRegistered)));
}

#[test]
fn a_client_whose_login_is_decided_is_not_forgotten_by_order() {
    let mut bench = Bench::new(CONFIG);
    bench.log_in(1);
    bench.forget_by_order(1, &CLIENT);
    assert_eq!(bench.to_operator, [(QuestionId(1), StoreAnswer::Contested)]);
    bench.finish_all_jobs();
    assert!(bench.mailbox.is_registered(&CLIENT));
    bench.forget_by_order(2, &CLIENT);
    bench.forget_by_order(3, &CLIENT);
    bench.finish_all_jobs();
    let [_, second, first] = bench.to_operator.as_slice() else { panic!("{:?}", bench.to_operator) };
    assert_eq!(*second, (QuestionId(3), StoreAnswer::Contested));
    assert_eq!(*first, (QuestionId(2), StoreAnswer::Forgotten));
}

#[test]
fn a_forget_that_cannot_be_written_is_answered_so() {
    let mut bench = Bench::new(CONFIG);
    bench.forget_by_order(1, &CLIENT);
    bench.mailbox.set(Health::Broken);
    bench.finish_all_jobs();
    assert_eq!(bench.to_operator, [(QuestionId(1), StoreAnswer::StorageFailed)]);
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    assert!(matches!(bench.show(), StoreAnswer::Shown(_)), "it stays a client");
}
