//! A start with much that is kept: many messages, and many clients. From the first moment of `run` until the ports serve.

use std::{fs, os::fd::OwnedFd, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use client_wire::{
    key::{GcmSivKey, SessionKey},
    login::LoginForm,
};
use harness::{
    gateway::{Gateway, IPV4},
    home::Home,
};
use ipc::ingress_store::Ack;
use nix::sys::signal::Signal;
use session_ipc::Sequence;
use store::{
    disk_mailbox::DiskMailbox,
    mailbox::{LedgerEntry, MailBatch, Mailbox as _},
};
use wire::address::ClientAddress;

use crate::{
    Scale,
    report::{
        Aim, Round,
        Unit::{Kib, Seconds},
    },
    usage::Resident,
};

/// Inboxes over which the messages are spread.
const INBOXES: usize = 10_000;
/// Bytes of a message.
const LEN: usize = 1_643;
/// What `data_bytes` is by default.
const LIMIT: u64 = 10 << 30;
/// Messages, and clients, written at once.
const AT_ONCE: usize = 1_024;

pub(super) async fn measure(scale: Scale) -> Result<Round> {
    let mut round = Round::default();
    for (messages, clients) in [(scale.kept, INBOXES.min(scale.kept)), (0, scale.kept)] {
        let home = Home::init(IPV4).await?;
        seed(&home.data(), messages, clients)?;
        let what = match messages {
            0 => format!("with {clients} clients"),
            _ => format!("with {messages} messages stored"),
        };
        // The first start after it was written, and one like every other.
        let mut gateway = Gateway::start_in(home, &[]).await?;
        gateway.stop(Signal::SIGTERM).await?;
        let start = Instant::now();
        gateway.start_again().await?;
        let took = start.elapsed();
        let resident = Resident::now(&gateway)?;
        round.add(format!("start {what}"), took.as_secs_f64(), Seconds, Aim::AtMost(1.0));
        round.add(format!("memory {what}"), resident.sum() as f64, Kib, Aim::None);
        round.notes.push(format!("{what}: {resident}"));
        gateway.stop(Signal::SIGTERM).await?;
    }
    Ok(round)
}

/// Fills the data of a gateway that does not run.
fn seed(data: &Path, messages: usize, clients: usize) -> Result<()> {
    let directory = |name: &str| -> Result<OwnedFd> {
        fs::create_dir_all(data.join(name))?;
        Ok(fs::File::open(data.join(name))?.into())
    };
    let mailbox = DiskMailbox::open(directory("client_ledger.sled")?, directory("inboxes")?, LIMIT, Arc::default())?;
    // Far from each other, as addresses are.
    let address = |n: usize| {
        ClientAddress(
            [(n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(); 4]
                .as_flattened()
                .try_into()
                .unwrap_or_default(),
        )
    };
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32]));
    for first in (0..clients).step_by(AT_ONCE) {
        let entries = (first..clients.min(first + AT_ONCE)).map(|n| LedgerEntry::Register {
            client: address(n),
            key: key.clone(),
            logins: LoginForm::Signed,
        });
        mailbox.commit_ledger(&entries.collect::<Vec<_>>())?;
    }
    let body = Bytes::from(vec![7; LEN]);
    for first in (0..messages).step_by(AT_ONCE) {
        let mut batch = MailBatch::default();
        for n in first..messages.min(first + AT_ONCE) {
            batch.put(address(n % clients), Sequence((n / clients) as u64), body.clone(), Ack::Owed);
        }
        mailbox.commit_mail(&batch).context("the mail does not fit")?;
    }
    Ok(())
}
