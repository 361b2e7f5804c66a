//! A mailbox in memory, for tests of the office: what is committed survives, nothing else does.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Mutex,
};

use super::*;

#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    keys: HashMap<ClientAddress, SessionKey>,
    logins: HashSet<(ClientAddress, Iv)>,
    summaries: HashMap<ClientAddress, Summary>,
    mail: BTreeMap<(ClientAddress, Sequence), Bytes>,
}

impl Remembered {
    /// Everything stored for a client.
    pub(crate) fn stored(&self, client: &ClientAddress) -> Vec<(Sequence, Bytes)> {
        let limit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
        self.peek(client, (Sequence(0), Sequence(u64::MAX)), limit).unwrap()
    }
}

impl Mailbox for Remembered {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        Ok(self.0.lock().unwrap().keys.get(client).cloned())
    }

    fn login_used(&self, client: &ClientAddress, nonce: &Iv) -> Result<bool, MailboxError> {
        Ok(self.0.lock().unwrap().logins.contains(&(*client, *nonce)))
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        let mut contents = self.0.lock().unwrap();
        for entry in entries {
            match entry {
                LedgerEntry::Register { client, key } => {
                    contents.keys.insert(*client, key.clone());
                }
                LedgerEntry::Login { client, nonce } => {
                    contents.logins.insert((*client, *nonce));
                }
            }
        }
        Ok(())
    }

    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        Ok(self.0.lock().unwrap().summaries.get(client).copied().unwrap_or_default())
    }

    fn peek(
        &self,
        client: &ClientAddress,
        (from, to): (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Vec<(Sequence, Bytes)>, MailboxError> {
        let contents = self.0.lock().unwrap();
        let range = contents.mail.range((*client, from)..(*client, to));
        Ok(range.take(limit.messages).map(|((_, sequence), message)| (*sequence, message.clone())).collect())
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        let mut contents = self.0.lock().unwrap();
        for (place, change) in &batch.changes {
            match change {
                Some(message) => contents.mail.insert(*place, message.clone()),
                None => contents.mail.remove(place),
            };
        }
        contents.summaries.extend(batch.summaries.iter().map(|(client, summary)| (*client, *summary)));
        Ok(())
    }
}
