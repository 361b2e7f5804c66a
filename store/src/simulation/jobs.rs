//! What takes time: a job is handed out, is done, and the core is told, and anything may happen in between.

use client_wire::{
    handshake::HandshakeError,
    key::{CtrHmacKey, GcmSivKey, SessionKey},
};

use super::{
    client::SIGNATURE,
    oracle::{Violation, client_of, hold},
    world::{Done as Happened, Underway, World},
};
pub(super) use crate::core::Job;
use crate::{
    clock,
    core::{self, Done},
    mailbox::{self, Change, Committed, LedgerEntry, Mailbox as _, MailboxError},
    registrar::{Begun, Registration},
};

impl World {
    /// The core wants something done.
    pub(super) fn hand_out(&mut self, job: Job) -> Happened {
        if let Job::CommitMail(batch) = &job {
            for ((client, place), change) in batch.changes() {
                if let Change::Put(message, _) = change {
                    self.oracle.written(&client, place, message)?;
                }
            }
        }
        self.jobs.push(Underway::Begun(job));
        Ok(())
    }

    /// Does one of the jobs that are not done.
    pub(super) fn work(&mut self, nth: u8) -> Happened {
        let waiting = self.positions(|job| matches!(job, Underway::Begun(_)));
        let Some(at) = waiting.get(usize::from(nth) % waiting.len().max(1)).copied() else { return Ok(()) };
        let is_slow = matches!(self.jobs[at], Underway::Begun(Job::CommitMail(_)));
        if is_slow && !nth.is_multiple_of(self.history.slowness) {
            return Ok(());
        }
        let Underway::Begun(job) = self.jobs.swap_remove(at) else { return Ok(()) };
        let done = self.perform(job)?;
        self.jobs.push(Underway::Done(done));
        Ok(())
    }

    /// Tells the core of one that is done.
    pub(super) fn report(&mut self, nth: u8) -> Happened {
        let done = self.positions(|job| matches!(job, Underway::Done(_)));
        let Some(at) = done.get(usize::from(nth) % done.len().max(1)).copied() else { return Ok(()) };
        let Underway::Done(done) = self.jobs.swap_remove(at) else { return Ok(()) };
        let now = self.now();
        self.core().report(done, now);
        Ok(())
    }

    fn positions(&self, is_one: impl Fn(&Underway) -> bool) -> Vec<usize> {
        self.jobs.iter().enumerate().filter(|(_, job)| is_one(job)).map(|(at, _)| at).collect()
    }

    /// Has all jobs done, and those that follow from them.
    pub(super) fn finish_jobs(&mut self) -> Happened {
        for _ in 0..1_000 {
            if self.jobs.is_empty() {
                return Ok(());
            }
            self.happen(super::event::Event::Work { job: 0 })?;
            self.happen(super::event::Event::Report { job: 0 })?;
        }
        Err(Violation {
            rule: "what is to be done comes to an end",
            seen: "a thousand jobs, one after the other".into(),
        })
    }

    fn perform(&mut self, job: Job) -> Result<Done, Violation> {
        let storage = self.storage();
        let storage = storage.as_ref();
        Ok(match job {
            Job::CommitMail(batch) => {
                let outcome = mailbox::commit(storage, batch);
                self.has_trouble |= outcome.is_err();
                if let Ok(committed) = &outcome {
                    self.committed(committed)?;
                }
                Done::Mail(outcome)
            }
            Job::CommitLedger(entries) => Done::Ledger(self.commit_ledger(&entries)?),
            Job::Restore { reopen } => {
                let opened = if reopen { storage.reopen() } else { Ok(()) };
                Done::Restored(opened.and_then(|()| storage.lack()))
            }
            Job::Sweep(page) => Done::Swept(page.read(storage, clock::now())),
            Job::KeepClasses(classes) => Done::ClassesKept(storage.keep_classes(&classes)),
            Job::Peek { session_ref, client, range, limit } => {
                Done::Read(session_ref, storage.peek(&client, range, limit))
            }
            Job::CheckLogin { session_ref, proof } => {
                let is_signed = |_: &_, _: &[u8], signature: &[u8; 64]| *signature == SIGNATURE;
                Done::LoginChecked(session_ref, core::check_claim(proof, clock::now().as_secs(), is_signed))
            }
            Job::BeginHandshake { session_ref, .. } => Done::Begun(session_ref, Ok((Box::new(Begun::idle()), vec![]))),
            Job::FinishHandshake { session_ref, material, .. } => {
                Done::Finished(session_ref, self.registration(&material))
            }
        })
    }

    /// What the registrar would make of a client's second message.
    fn registration(&self, material: &[u8]) -> Result<Registration, HandshakeError> {
        let parts = material.split_first().and_then(|(client, key)| Some((*client, key.try_into().ok()?)));
        let (client, key): (u8, [u8; 32]) = parts.ok_or(HandshakeError::InvalidSignature)?;
        let client = &self.clients[usize::from(client)];
        let key = match client.is_of_2021() {
            true => SessionKey::CtrHmac(CtrHmacKey::from_bytes(key)),
            false => SessionKey::GcmSiv(GcmSivKey::from_bytes(key)),
        };
        Ok(Registration { client: client.address(), key, logins: client.logins() })
    }

    /// A batch of mail is on the medium.
    fn committed(&mut self, committed: &Committed) -> Happened {
        let batch = committed.batch();
        for client in batch.erased() {
            self.oracle.erased(client_of(client));
        }
        for (client, place) in batch.puts() {
            self.oracle.is_durable(&client, place)?;
        }
        for (client, place) in batch.removals() {
            self.oracle.removed(&client, place, false)?;
        }
        for (client, place) in batch.expirations() {
            self.oracle.removed(&client, place, true)?;
        }
        hold!("nothing that is whole is set aside (14)", batch.set_asides().count() == 0, "{batch:?}");
        Ok(())
    }

    fn commit_ledger(&mut self, entries: &[LedgerEntry]) -> Result<Result<(), MailboxError>, Violation> {
        let storage = self.storage();
        let forgotten = |entry: &LedgerEntry| match entry {
            LedgerEntry::Forget { client } => Some(client_of(client)),
            _ => None,
        };
        let were: Vec<usize> = entries.iter().filter_map(forgotten).collect();
        let outcome = storage.commit_ledger(entries);
        self.has_trouble |= outcome.is_err();
        for client in were.into_iter().filter(|client| !storage.is_registered(&super::oracle::address(*client))) {
            let may_go = self.leaving[client] || self.is_idle(client);
            hold!("nobody is forgotten before the time (28)", may_go, "{client} was seen at {:?}", self.seen[client]);
            self.leaving[client] = true;
            self.oracle.forgotten(client, outcome.is_ok());
        }
        Ok(outcome)
    }
}
