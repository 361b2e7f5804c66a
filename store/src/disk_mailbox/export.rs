//! Writes ledger and mail for a backup, in the forms from which a start makes them again.

use std::io::Write;

use session_ipc::Sequence;

use super::{
    DiskMailbox,
    hashed::Hashed,
    ledger::{Exported, Ledger},
    restored,
    rewrite::{self, END, RECORDS},
};
use crate::backup::{BackUp, BackupError};

/// Inboxes listed at a time.
const LISTED: usize = 1_024;

impl BackUp for DiskMailbox {
    fn write_mail(&self, out: &mut dyn Write) -> Result<(), BackupError> {
        let mut out = Hashed::new(out);
        let mut last = None;
        loop {
            let owners = self.mail().owners_after(last, LISTED);
            let Some(end) = owners.last() else { break };
            last = Some(*end);
            for client in owners {
                let mut from = Some(Sequence(0));
                while let Some(at) = from {
                    let (messages, next) = self.mail().export(&client, at);
                    messages.iter().try_for_each(|message| restored::write_message(&mut out, message))?;
                    from = next;
                }
            }
        }
        Ok(restored::seal(out)?)
    }

    fn write_ledger(&self, out: &mut dyn Write) -> Result<(), BackupError> {
        let mut out = Hashed::new(out);
        let mut write = |records: Vec<Exported>| {
            records
                .iter()
                .try_for_each(|Exported { tree, key, value }| rewrite::write_record(&mut out, tree, key, value))
        };
        // The ledger is held for one page only: it may have to be opened again while the reader is slow.
        write(self.with(Ledger::export_times)?)?;
        let mut after = None;
        loop {
            let (records, next) = self.with(|ledger| ledger.export_clients(after))?;
            write(records)?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        out.write_all(&[END])?;
        out.seal()?.flush()?;
        Ok(())
    }

    fn names(&self) -> (&'static str, &'static str) {
        (restored::RESTORED, RECORDS)
    }
}
