//! Much that is kept, written without a gateway.

use std::{fs, os::fd::OwnedFd, path::Path, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use client_wire::{
    key::{GcmSivKey, SessionKey},
    login::LoginForm,
};
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use store::{
    disk_mailbox::DiskMailbox,
    mailbox::{LedgerEntry, MailBatch, Mailbox as _},
};
use wire::address::ClientAddress;

/// Inboxes over which the messages are spread, if there are as many clients.
pub(super) const INBOXES: usize = 10_000;
/// Bytes of a message, as a regular packet has them.
pub(super) const LEN: usize = 1_643;
/// Messages, and clients, written at once.
const AT_ONCE: usize = 1_024;

/// Registers `clients`, and leaves `messages` with the first of them, in the data of a gateway that does not run and may use `limit` bytes.
///
/// # Errors
/// If they do not fit, or the disk fails.
pub(super) fn seed(data: &Path, limit: u64, messages: usize, clients: usize) -> Result<()> {
    let directory = |name: &str| -> Result<OwnedFd> {
        fs::create_dir_all(data.join(name))?;
        Ok(fs::File::open(data.join(name))?.into())
    };
    let mailbox = DiskMailbox::open(directory("client_ledger.sled")?, directory("inboxes")?, limit, Arc::default())?;
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
    let inboxes = clients.min(INBOXES);
    let body = Bytes::from(vec![7; LEN]);
    for first in (0..messages).step_by(AT_ONCE) {
        let mut batch = MailBatch::default();
        for n in first..messages.min(first + AT_ONCE) {
            batch.put(address(n % inboxes), Sequence((n / inboxes) as u64), body.clone(), Ack::Owed);
        }
        mailbox.commit_mail(&batch).context("the mail does not fit")?;
    }
    Ok(())
}
