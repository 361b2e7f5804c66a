//! Earlier versions kept each nonce whole, in the tree `logins`: 4,096 for each client, under two keys each.
//!
//! | key | value |
//! |---|---|
//! | address 32, 0, IV 16 or nonce 12 | order of the login 8 |
//! | address 32, 1, order 8 | IV 16 or nonce 12 |
//!
//! They are taken over before any client is served, one client after the other. A start that was killed meanwhile is repeated: nonces
//! that were taken over already are found, and not taken twice. The old tree goes when all of it is on the medium.

use wire::address::ClientAddress;

use super::{Dates, Nonce, Spent, SpentChanges};
use crate::{disk_mailbox::databases::Database, mailbox::MailboxError};

const OLD_TREE: &str = "logins";
/// The byte behind the address in the keys that hold a nonce.
const BY_NONCE: u8 = 0;

/// Takes over the old tree, if there is one.
pub(in crate::disk_mailbox) fn take_over(database: &Database, spent: &Spent, dates: Dates) -> Result<(), MailboxError> {
    if !database.has_tree(OLD_TREE) {
        return Ok(());
    }
    let failed = |error| database.error(error);
    let old = database.tree(OLD_TREE)?;
    let (mut logins, mut last, mut changes) = (0_u64, None, SpentChanges::default());
    for key in old.iter().keys() {
        let key = key.map_err(failed)?;
        // A key of another form holds no nonce.
        let Some((client, [BY_NONCE, nonce @ ..])) = key.split_first_chunk::<{ ClientAddress::LEN }>() else {
            continue;
        };
        let client = ClientAddress(*client);
        if last.replace(client).is_some_and(|last| last != client) {
            let changes = std::mem::take(&mut changes);
            spent.tree.apply_batch(changes.batch).map_err(failed)?;
        }
        if spent.look_up(&client, nonce, dates).map_err(failed)? != Nonce::Shown {
            spent.spend(&client, nonce, dates, &mut changes).map_err(failed)?;
            logins += 1;
        }
    }
    spent.tree.apply_batch(changes.batch).map_err(failed)?;
    database.commit()?;
    drop(old);
    database.drop_tree(OLD_TREE)?;
    database.commit()?;
    tracing::info!(logins, "the logins that earlier versions remembered are kept in a form that takes less room");
    Ok(())
}
