//! Storage that is full, or fails.

use super::*;
use crate::{core::health::Storage, mailbox::Lack};

const FULL_LEDGER: LedgerRoom =
    LedgerRoom::NoNewClients(Lack::Ledger { used: 12 << 20, most: 11 << 20, share: 33 << 20 });

#[test]
fn a_failed_commit_is_refused_and_service_resumes_by_itself() {
    for health in [Health::MailFull, Health::Full, Health::Broken] {
        let mut bench = Bench::new(CONFIG);
        bench.deliver(0);
        bench.finish_all_jobs();
        bench.deliver(1);
        bench.mailbox.set(health);
        bench.finish_job();
        bench.deliver(2);
        let refused =
            |n| StoreToIngress::RefuseDelivery { delivery: DeliveryId(n), reason: DeliveryRefusal::StorageFailed };
        assert_eq!(bench.to_ingress[1..], [refused(1), refused(2)], "{health:?}");
        bench.pass(Duration::from_secs(5));
        bench.finish_all_jobs();
        bench.deliver(3);
        assert_eq!(bench.to_ingress[3..], [refused(3)]);
        bench.mailbox.set(Health::Sound);
        bench.pass(Duration::from_secs(5));
        bench.finish_all_jobs();
        bench.deliver(4);
        bench.finish_all_jobs();
        assert_eq!((bench.accepted(), bench.stored()), (vec![0, 4], vec![0, 4]), "{health:?}");
        let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
        assert_eq!((summary.messages, summary.bytes), (2, 80));
    }
}

#[test]
fn mail_of_the_next_commit_is_refused_when_storage_fails() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.deliver(1);
    bench.mailbox.set(Health::Broken);
    bench.finish_job();
    let refused =
        |n| StoreToIngress::RefuseDelivery { delivery: DeliveryId(n), reason: DeliveryRefusal::StorageFailed };
    let mut answers = bench.to_ingress.clone();
    answers.sort_by_key(|answer| format!("{answer:?}"));
    assert_eq!(answers, [refused(0), refused(1)]);
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    assert!(bench.accepted().is_empty() && bench.stored().is_empty());
}

#[test]
fn on_a_full_disk_mail_is_fetched_removed_and_flows_live() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.mailbox.set(Health::Full);
    bench.deliver(1);
    bench.finish_all_jobs();
    bench.attach(1);
    assert_eq!(bench.pushed(1), [0]);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    bench.deliver(2);
    bench.confirm_all(1);
    assert_eq!(bench.accepted(), [0, 2]);
    // Pushed, but neither proved in time nor written: refused, and its receipt changes nothing.
    bench.deliver(3);
    bench.pass(SPILL);
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(3), reason: DeliveryRefusal::StorageFailed };
    assert_eq!(bench.to_ingress.last(), Some(&refused));
    bench.confirm_all(1);
    bench.finish_all_jobs();
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.messages, summary.bytes), (0, 0));
}

#[test]
fn broken_storage_refuses_logins_and_delays_attached_clients() {
    let mut bench = Bench::new(CONFIG);
    for n in 0..5 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    bench.mailbox.set(Health::Broken);
    bench.finish_all_jobs();
    assert!(bench.pushed(1).is_empty());
    bench.log_in(2);
    let reason = AuthenticationRefusal::StorageFailed;
    let refused = StoreToEdge { session: SessionId(2), answer: SessionAnswer::RefuseAuthentication { reason } };
    assert_eq!(bench.to_edge.last(), Some(&refused));
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [0, 1, 2, 3, 4]);
}

#[test]
fn failing_storage_is_tried_at_most_once_a_second() {
    let mut bench = Bench::new(CONFIG);
    let failed = || MailboxError::Database { database: "inboxes", source: sled::Error::ReportableBug("again".into()) };
    for n in 0..5 {
        bench.deliver(n);
        let Some(Job::CommitMail(batch)) = bench.jobs.pop_front() else { panic!("{:?}", bench.jobs) };
        let uncommitted = Uncommitted { batch, error: failed() };
        bench.core.mail_committed(Err(Box::new(uncommitted)), bench.now);
        bench.pass(Duration::ZERO);
        assert_eq!(bench.jobs.is_empty(), n > 0, "{:?}", bench.jobs);
        bench.pass(Duration::from_secs(1));
        assert!(matches!(bench.jobs.front(), Some(Job::Restore { reopen: true })), "{:?}", bench.jobs);
        bench.finish_job();
        // What was refused is removed, in case that a part of it was written.
        bench.jobs.clear();
        bench.core.mail_committed(commit(bench.mailbox.as_ref(), MailBatch::default()), bench.now);
    }
    assert_eq!(bench.refused(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_ledger_that_has_outgrown_its_share_is_opened_anew_at_once() {
    let mut bench = Bench::new(CONFIG);
    *bench.mailbox.ledger_room.lock().unwrap() = LedgerRoom::Outgrown;
    bench.attach(1);
    bench.pass(Duration::ZERO);
    assert!(matches!(bench.jobs.front(), Some(Job::Restore { reopen: true })));
    bench.finish_all_jobs();
    // No session was refused, and mail is taken as before.
    bench.deliver(0);
    assert_eq!((bench.pushed(1), bench.refused()), (vec![0], vec![]));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.attach(2);
    bench.pass(Duration::ZERO);
    assert!(bench.jobs.iter().all(|job| !matches!(job, Job::Restore { .. })));
}

#[test]
fn a_ledger_that_is_full_refuses_new_clients_and_no_mail() {
    let mut bench = Bench::new(CONFIG);
    *bench.mailbox.ledger_room.lock().unwrap() = FULL_LEDGER;
    sessions::sign_handshake(&mut bench, 1, SessionKey::CtrHmac(key()));
    let reason = RegistrationRefusal::StorageFailed;
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseHandshake { reason } })
    );
    bench.deliver(0);
    bench.finish_all_jobs();
    assert_eq!(bench.accepted(), [0]);
    bench.attach(2);
}

#[test]
fn mail_that_has_all_of_its_share_refuses_no_registration() {
    for (health, refused) in [(Health::MailFull, false), (Health::Full, true)] {
        let mut bench = Bench::new(CONFIG);
        bench.mailbox.set(health);
        bench.deliver(0);
        bench.finish_all_jobs();
        assert_eq!(bench.refused(), [0], "{health:?}");
        sessions::sign_handshake(&mut bench, 1, SessionKey::CtrHmac(key()));
        bench.finish_all_jobs();
        let reason = RegistrationRefusal::StorageFailed;
        let refusal = StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseHandshake { reason } };
        assert_eq!(bench.to_edge.contains(&refusal), refused, "{health:?}");
        assert_eq!(bench.core.sessions.attachment(SessionId(1)).is_none(), refused, "{health:?}");
    }
}

#[test]
fn when_the_disk_is_full_too_registrations_end_and_begin_again() {
    let mut bench = Bench::new(CONFIG);
    for (health, storage) in [
        (Health::MailFull, Storage::MailFull),
        (Health::Full, Storage::Full),
        (Health::MailFull, Storage::MailFull),
        (Health::Sound, Storage::Sound),
    ] {
        bench.mailbox.set(health);
        bench.deliver(0);
        bench.finish_all_jobs();
        bench.pass(Duration::from_secs(5));
        bench.finish_all_jobs();
        assert_eq!(bench.core.health.storage(), storage);
    }
}

#[test]
fn a_full_disk_at_the_start_is_known_before_any_mail() {
    let mut bench = Bench::new(CONFIG);
    bench.mailbox.set(Health::Full);
    let now = bench.now;
    assert!(!bench.core.check_storage(now));
    assert_eq!(bench.core.health.storage(), Storage::Full);
}

#[test]
fn a_full_ledger_at_the_start_is_told_with_its_bytes() {
    let mut bench = Bench::new(CONFIG);
    let now = bench.now;
    assert!(bench.core.check_storage(now));
    *bench.mailbox.ledger_room.lock().unwrap() = FULL_LEDGER;
    assert!(!bench.core.check_storage(now));
    let LedgerRoom::NoNewClients(lack) = FULL_LEDGER else { panic!("it has room") };
    let text = lack.to_string();
    for part in ["takes 12 MiB", "below 11 MiB", "which is 33 MiB", "`data_bytes`", "`client_idle`"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_failed_is_tried_again_after_a_second() {
    let uncommitted = || {
        let error = MailboxError::UnknownRecord { database: "inboxes", client: CLIENT };
        Box::new(Uncommitted { batch: MailBatch::default(), error })
    };
    let outcomes: [&dyn Fn() -> Done; 3] =
        [&|| Done::Mail(Err(uncommitted())), &|| Done::Restored(Err(MailboxError::Closed)), &|| {
            Done::Restored(Ok(Some(Lack::Mail { used: 0, most: 0 })))
        }];
    for outcome in outcomes {
        let mut bench = Bench::new(CONFIG);
        bench.core.report(outcome(), bench.now);
        assert_eq!(bench.core.deadline(), Some(bench.now + Duration::from_secs(1)), "{:?}", outcome());
    }
}
